"""The translations against the real engine and the real models, from the caller's request to the assembled answer."""

import base64
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from tesela.engine.ask import UnixConnection
from tesela.engine.models import engine_spec
from tesela.engine.placement import fill, place
from tesela.engine.pull import pull
from tesela.errors import UpstreamRejected
from tesela.providers.base import Call
from tesela.providers.local import LOCAL
from tesela.serving import Capabilities, Origin, Upstream
from tesela.wire import document
from tesela.wire.assemble import Assembler
from tesela.wire.sse import DONE, EventParser
from tesela.wire.tasks import Task

pytestmark = pytest.mark.slow

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SUM = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Get the weather", "parameters": CITY}},
    {"type": "function", "function": {"name": "add", "description": "Add two numbers", "parameters": SUM}},
]
WEATHER = {"role": "user", "content": "What is the weather in Paris?"}
SLOTS, CONTEXT = 3, 512


class Model:
    """A running engine behind the provider's translations, as the data plane would use it."""

    def __init__(self, socket: str, key: str, capabilities: Capabilities) -> None:
        self.socket, self.key = socket, key
        self.upstream = Upstream(Origin(unix=socket), "tiny", "/v1", capabilities=capabilities)
        self.chunks: list[Any] = []

    def ask(self, task: Task, **fields: Any) -> Any:
        translate = LOCAL.translations[task]
        assert translate is not None
        asked = document.decode(msgspec.json.encode(fields))
        exchange = translate(Call(task, asked, False, self.upstream, 5, "abc"))
        connection = UnixConnection(self.socket, 60)
        try:
            connection.request("POST", f"/v1{exchange.path}", exchange.body, {"Authorization": f"Bearer {self.key}"})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise LOCAL.failure(response.status, body, None)
        if exchange.answer is not None:
            return json.loads(exchange.answer(body))
        assert exchange.chunks is not None
        parser, assembler = EventParser(), Assembler(task)
        events = [event for event in parser.feed(body) + parser.finish() if event.data != DONE]
        made = [chunk for event in events for chunk in exchange.chunks.feed(event)] + exchange.chunks.finish()
        self.chunks = [json.loads(chunk) for chunk in made]
        for chunk in made:
            assembler.feed(chunk)
        return json.loads(assembler.finish())

    def chat(self, *messages: Any, **fields: Any) -> Any:
        return self.ask(Task.CHAT, messages=list(messages), **{"temperature": 0, **fields})

    def complete(self, prompt: Any, **fields: Any) -> Any:
        return self.ask(Task.COMPLETIONS, prompt=prompt, **{"temperature": 0, "max_tokens": 3, **fields})


@pytest.fixture(scope="module")
def models_home() -> Path:
    """A cache that outlives the run; the engine's own tests fill the same one."""
    home = Path(os.environ.get("TESELA_TEST_MODELS") or Path.home() / ".cache" / "tesela-tests")
    home.mkdir(parents=True, exist_ok=True)
    return home


def _model(name: str, home: Path, capabilities: Capabilities, **spec: Any) -> Iterator[Model]:
    installed = pull(home, name)
    with tempfile.TemporaryDirectory(prefix="tesela-t") as run_dir:
        made = fill(place(engine_spec(installed, **spec), Path(run_dir)), 1)
        command = [sys.executable, "-m", "tesela.engine.runner", "--spec", "-"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(msgspec.json.encode(made) + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["ready"]
            yield Model(made.socket, made.key, capabilities)
            process.kill()


@pytest.fixture(scope="module")
def model(models_home: Path) -> Iterator[Model]:
    can = Capabilities(
        tools=False,
        images=False,
        echo=False,
        n_max=SLOTS,
        context=CONTEXT,
        system="You are a helpful assistant.",
        defaults=(("temperature", 0.2), ("top_p", 0.9)),
    )
    yield from _model("smollm2-135m-instruct", models_home, can, context=CONTEXT, slots=SLOTS)


@pytest.fixture(scope="module")
def embedder(models_home: Path) -> Iterator[Model]:
    yield from _model("all-minilm-l6-v2", models_home, Capabilities(dimensions=384))


def test_chat(model: Model) -> None:
    answer = model.chat({"role": "user", "content": "What is the capital of France?"}, max_tokens=20)
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert set(answer) == {"id", "object", "created", "model", "choices", "usage"}
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    assert model.chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk for chunk in model.chunks if "usage" in chunk] == [model.chunks[-1]]
    extras = {"timings", "system_fingerprint", "__verbose"}
    assert not any(extras & set(chunk) for chunk in model.chunks)


def test_several_choices_are_all_counted(model: Model) -> None:
    answer = model.chat(WEATHER, n=3, max_tokens=4, temperature=1, seed=7, ignore_eos=True)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 12
    again = model.chat(WEATHER, max_tokens=4, temperature=1, seed=7, ignore_eos=True)
    assert again["choices"][0]["message"] == answer["choices"][0]["message"]


def test_stop_and_finish_reasons(model: Model) -> None:
    first = model.chat(WEATHER, max_tokens=12)["choices"][0]
    assert first["finish_reason"] == "length"
    word = first["message"]["content"].split()[2]
    stopped = model.chat(WEATHER, max_tokens=12, stop=word)["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert stopped["message"]["content"] == first["message"]["content"].split(word)[0]


@pytest.mark.parametrize("tops", [None, 0, 2])
def test_log_probabilities(model: Model, tops: int | None) -> None:
    answer = model.chat(WEATHER, max_tokens=3, logprobs=True, top_logprobs=tops)
    entries = answer["choices"][0]["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == answer["choices"][0]["message"]["content"]
    assert all(set(entry) == {"token", "logprob", "bytes", "top_logprobs"} for entry in entries)
    assert [len(entry["top_logprobs"]) for entry in entries] == [tops or 0] * 3


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_forced_call(model: Model, choice: Any) -> None:
    answer = model.chat(WEATHER, tools=TOOLS, tool_choice=choice)["choices"][0]
    assert answer["finish_reason"] == "tool_calls"
    (call,) = answer["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}


def test_the_named_function_is_called_and_no_other(model: Model) -> None:
    named = {"type": "function", "function": {"name": "add"}}
    for choice in model.chat(WEATHER, tools=TOOLS, tool_choice=named, n=2, temperature=1, seed=1)["choices"]:
        arguments = json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])
        assert {type(arguments[name]) for name in ("a", "b")} <= {int, float}


def test_auto_calls_or_replies_and_the_result_ends_the_round(model: Model) -> None:
    asked = model.chat(WEATHER, tools=TOOLS)["choices"][0]
    assert asked["finish_reason"] == "tool_calls"
    call = asked["message"]["tool_calls"][0]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "18 degrees, sunny"}
    told = model.chat(WEATHER, asked["message"], result, tools=TOOLS, max_tokens=60)["choices"][0]
    assert told["finish_reason"] == "stop"
    assert "18 degrees" in told["message"]["content"]
    replied = model.chat({"role": "user", "content": "Tell me a joke."}, tools=TOOLS, max_tokens=30)["choices"][0]
    assert replied["finish_reason"] in ("stop", "length", "tool_calls")


def test_a_call_that_is_cut(model: Model) -> None:
    answer = model.chat(WEATHER, tools=TOOLS, tool_choice="required", max_tokens=9)["choices"][0]
    assert answer["finish_reason"] == "length"


def test_arguments_whose_schema_refers_to_itself(model: Model) -> None:
    parameters = {
        "type": "object",
        "properties": {"place": {"$ref": "#/$defs/Place"}},
        "required": ["place"],
        "$defs": {
            "Place": {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}
        },
    }
    tool = {"type": "function", "function": {"name": "where", "parameters": parameters}}
    answer = model.chat(
        WEATHER, tools=[TOOLS[1], tool], tool_choice={"type": "function", "function": {"name": "where"}}
    )
    call = answer["choices"][0]["message"]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"])["place"]["city"] in ("Paris", "Rome")


def test_structured_output(model: Model) -> None:
    schema = {
        "type": "object",
        "properties": {"mood": {"enum": ["good", "bad"]}},
        "required": ["mood"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "mood", "strict": True, "schema": schema}}
    answer = model.chat({"role": "user", "content": "I am happy."}, response_format=wanted, max_tokens=60)["choices"][0]
    assert json.loads(answer["message"]["content"])["mood"] in ("good", "bad")
    assert answer["finish_reason"] == "stop"
    wanted = {"type": "json_object"}
    text = model.chat(WEATHER, response_format=wanted, max_tokens=5)["choices"][0]["message"]["content"]
    assert text.lstrip().startswith("{")


def formed(model: Model, schema: Any) -> Any:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = model.chat(WEATHER, response_format=wanted, max_tokens=200, temperature=0)["choices"][0]
    return json.loads(answer["message"]["content"])


def test_a_schema_that_the_engine_cannot_take(model: Model) -> None:
    with pytest.raises(UpstreamRejected, match="Invalid pattern"):
        formed(model, {"type": "string", "pattern": "^(ab$"})
    with pytest.raises(UpstreamRejected, match="'grammar', or a 'pattern'"):
        model.chat(WEATHER, grammar="root ::= (")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"const": 1}, "b": False}, "required": ["a"]},
        {"type": "object", "properties": {"a": True, "b": {"const": 1}}, "required": ["b"]},
        {"type": "object", "properties": {"b": {"const": 1}}, "required": ["b"], "additionalProperties": {}},
        {"type": "array", "items": False},
        {"type": "array", "prefixItems": [{"const": 1}, {"const": "x"}], "items": False, "minItems": 2},
        {"$defs": {"n": {"enum": [1, 2]}, "any": True}, "$ref": "#/$defs/n"},
        {"enum": [1, "two", None]},
        {"anyOf": [{"const": 1}, {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}]},
    ],
)
def test_schemas_as_json_schema_has_them(model: Model, schema: Any) -> None:
    answer = formed(model, schema)
    jsonschema.Draft202012Validator(schema).validate(answer)


def test_a_prompt_beyond_the_context(model: Model) -> None:
    with pytest.raises(UpstreamRejected, match=r"has \d+ tokens and this model's context holds 512") as caught:
        model.chat({"role": "user", "content": "word " * 600})
    assert caught.value.reason == "context_length_exceeded"
    with pytest.raises(UpstreamRejected, match="context holds 512"):
        model.complete(["short", "word " * 600])


def test_completions(model: Model) -> None:
    answer = model.complete("The sky is", echo=True)
    assert answer["choices"][0]["text"].startswith("The sky is ")
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (3, 3)
    assert set(answer) == {"id", "object", "created", "model", "choices", "usage"}
    several = model.complete(["The sky is", "A"], n=2)
    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2, 3]
    assert (several["usage"]["prompt_tokens"], several["usage"]["completion_tokens"]) == (4, 12)
    assert several["choices"][0]["text"] == answer["choices"][0]["text"].removeprefix("The sky is")


def test_completions_of_token_ids(model: Model) -> None:
    assert model.complete([504, 5000])["usage"]["prompt_tokens"] == 2
    assert len(model.complete([[504, 5000], [504]])["choices"]) == 2


def test_no_tokens_at_all(model: Model) -> None:
    answer = model.complete("The sky is", max_tokens=0)
    assert answer["choices"] == [{"text": "", "index": 0, "logprobs": None, "finish_reason": "length"}]
    assert answer["usage"]["completion_tokens"] == 0
    assert model.complete("The sky is", max_tokens=0, echo=True)["choices"][0]["text"] == "The sky is"


@pytest.mark.parametrize("asked", [0, 2])
def test_the_older_log_probabilities(model: Model, asked: int) -> None:
    choice = model.complete("The sky is", logprobs=asked)["choices"][0]
    columns = choice["logprobs"]
    assert "".join(columns["tokens"]) == choice["text"]
    assert columns["text_offset"] == [choice["text"].index(token) for token in columns["tokens"]]
    assert [len(tops) for tops in columns["top_logprobs"]] == [max(1, asked)] * 3
    assert all(
        columns["top_logprobs"][i][token] == columns["token_logprobs"][i] for i, token in enumerate(columns["tokens"])
    )


def test_embeddings(embedder: Model) -> None:
    plain = embedder.ask(Task.EMBEDDINGS, input=["a cat", ""])
    assert (plain["model"], plain["object"], len(plain["data"])) == ("tiny", "list", 2)
    vector = plain["data"][0]["embedding"]
    assert len(vector) == 384
    packed = embedder.ask(Task.EMBEDDINGS, input="a cat", encoding_format="base64")["data"][0]["embedding"]
    assert struct.unpack("<384f", base64.b64decode(packed)) == pytest.approx(vector, abs=1e-6)
    assert len(embedder.ask(Task.EMBEDDINGS, input="a cat", dimensions=10)["data"][0]["embedding"]) == 10
    told = embedder.ask(Task.EMBEDDINGS, input="cat", instruction="a")["data"][0]["embedding"]
    assert told == pytest.approx(vector, abs=1e-5)
