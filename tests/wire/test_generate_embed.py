"""embedContent and batchEmbedContents as requests for embeddings."""

import json
from typing import Any

import pytest

from tesela.errors import InvalidRequest
from tesela.wire import generate_embed
from tesela.wire.document import decode


def content(text: str) -> Any:
    return {"parts": [{"text": text}]}


def read(build: Any, body: Any) -> Any:
    return {name: json.loads(bytes(one)) for name, one in build(decode(json.dumps(body).encode())).items()}


def test_one_text() -> None:
    asked = {"model": "models/x", "content": content("a"), "outputDimensionality": 3, "task_type": "RETRIEVAL_QUERY"}
    found = read(generate_embed.one, asked)
    assert found == {"input": ["a"], "dimensions": 3, "task_type": "RETRIEVAL_QUERY"}
    inner = {"content": content("a"), "embedContentConfig": {"title": "t"}}
    assert read(generate_embed.one, inner) == {"input": ["a"], "title": "t"}


def test_several_texts() -> None:
    asked = [{"model": "models/x", "content": content(text), "outputDimensionality": 2} for text in "ab"]
    assert read(generate_embed.batch, {"requests": asked}) == {"input": ["a", "b"], "dimensions": 2}


@pytest.mark.parametrize(
    ("build", "body", "param"),
    [
        (generate_embed.batch, {}, "requests"),
        (generate_embed.batch, {"requests": []}, "requests"),
        (generate_embed.batch, {"requests": [1]}, "requests[0]"),
        (generate_embed.batch, {"requests": [{"content": {}}]}, "requests[0].content"),
        (
            generate_embed.batch,
            {"requests": [{"content": content("a")}, {"content": content("b"), "title": "t"}]},
            None,
        ),
        (generate_embed.one, {"content": content("a"), "documentOcr": True}, "documentOcr"),
        (generate_embed.one, {}, "content"),
        (generate_embed.one, {"content": {"parts": [{"inlineData": {}}]}}, "content"),
    ],
)
def test_what_cannot_be_asked(build: Any, body: Any, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(build, body)
    assert caught.value.param == param
