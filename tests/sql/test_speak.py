"""How each function asks and reads its answer, as literals."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sql.engines import ENDPOINTS

from tesela.sql.plan import plan
from tesela.sql.site import PlanSettings, Site
from tesela.sql.speak.base import BrokenAnswer, Speaker, Unaskable
from tesela.sql.speak.speaker import speaker

SETTINGS = PlanSettings(warehouse="/nowhere", endpoints={"default": "chat", "llm/v1/embeddings": "emb"})


def site(call: str) -> Site:
    planned = plan(
        f"SELECT {call} FROM t", tag="t", endpoints=ENDPOINTS.get, settings=SETTINGS, catalog="c", schema="s"
    )
    return planned.sites[0]


def speaking(call: str) -> Speaker:
    return speaker(site(call))


def asked(call: str, *row: Any) -> Any:
    body = speaking(call).request(row)
    return None if body is None else json.loads(body)


def chat(content: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}).encode()


def test_a_text_is_a_users_message() -> None:
    assert asked("ai_query('chat', s)", "hi") == {"messages": [{"role": "user", "content": "hi"}]}
    assert asked("ai_query('chat', s, modelParameters => named_struct('max_tokens', 5))", "hi") == {
        "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5,
    }  # fmt: skip
    assert asked("ai_query('old', s)", "hi") == {"prompt": "hi"}
    assert asked("ai_query('emb', s)", "hi") == {"input": "hi"}
    assert asked("ai_gen(s)", "hi") == {"messages": [{"role": "user", "content": "hi"}]}


def test_a_struct_is_the_request_itself() -> None:
    assert asked("ai_query('chat', r)", {"messages": [{"role": "system", "content": "x"}], "seed": None}) == {
        "messages": [{"role": "system", "content": "x"}]
    }
    with pytest.raises(Unaskable, match="'model'"):
        asked("ai_query('chat', r)", {"model": "x"})


@pytest.mark.parametrize(
    "call", ["ai_query('chat', s)", "ai_query('emb', s)", "ai_gen(s)", "ai_summarize(s)", "ai_mask(s, array('x'))"]
)
def test_null_asks_nothing(call: str) -> None:
    assert asked(call, None) is None


def test_a_similarity_to_null_asks_nothing() -> None:
    assert asked("ai_similarity(a, b)", "x", None) is None
    assert asked("ai_similarity(a, b)", None, "x") is None
    assert asked("ai_translate(a, b)", "x", None) is None


def test_numbers_are_their_text_and_bytes_are_not() -> None:
    assert asked("ai_gen(s)", 5) == asked("ai_gen(s)", "5")
    assert asked("ai_gen(s)", True) == asked("ai_gen(s)", "true")
    with pytest.raises(Unaskable, match="CAST"):
        asked("ai_gen(s)", b"x")


@pytest.mark.parametrize(("start", "media"), [(b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff\xe0", "image/jpeg")])
def test_files_become_data_urls(start: bytes, media: str) -> None:
    [message] = asked("ai_query('chat', s, files => f)", "what?", start + b"x")["messages"]
    assert message["content"][0] == {"type": "text", "text": "what?"}
    assert message["content"][1]["image_url"]["url"].startswith(f"data:{media};base64,")


def test_files_that_are_no_images() -> None:
    for wrong in (b"GIF89a", b"", "text"):
        with pytest.raises(Unaskable, match="files must be"):
            asked("ai_query('chat', s, files => f)", "what?", wrong)
    assert asked("ai_query('chat', s, files => f)", "x", None) == {"messages": [{"role": "user", "content": "x"}]}


STRUCT = "ai_query('chat', s, responseFormat => 'STRUCT<out: STRUCT<a: STRING, n: INT>>')"


def test_a_format_is_a_schema_and_a_value() -> None:
    sent = asked(STRUCT, "x")["response_format"]["json_schema"]
    assert sent["name"] == "out"
    assert sent["schema"]["properties"]["out"]["properties"] == {"a": {"type": "string"}, "n": {"type": "integer"}}
    assert speaking(STRUCT).answer(chat('{"out": {"a": "b", "n": 3}}')) == {"out": {"a": "b", "n": 3}}
    assert speaking(STRUCT).answer(chat('```json\n{"out": {"a": "b"}}\n```')) == {"out": {"a": "b", "n": None}}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("sorry", "did not answer in JSON"),
        ('{"out": {"a": "b", "n": "many"}}', "out.n is 'many', which is no INT"),
        ('{"out": [1]}', "which is no STRUCT"),
        ('{"out": {"a": "b", "n": 99999999999}}', "which is no INT"),
        ("[1", "did not answer in JSON"),
    ],
)
def test_a_broken_format_keeps_what_the_model_said(said: str, why: str) -> None:
    with pytest.raises(BrokenAnswer, match=why) as raised:
        speaking(STRUCT).answer(chat(said))
    assert raised.value.raw == said


@pytest.mark.parametrize(
    ("kind", "said", "value"),
    [
        ("INT", " 5 ", 5),
        ("DOUBLE", "1.5", 1.5),
        ("BOOLEAN", "true", True),
        ("STRING", '{"a": 1}', '{"a": 1}'),
        ("ARRAY<STRING>", '["a", "b"]', ["a", "b"]),
        ("MAP<STRING, INT>", '{"a": 1}', [("a", 1)]),
        ("STRUCT<A: INT>", '{"a": 1}', {"A": 1}),
    ],
)
def test_return_types(kind: str, said: str, value: Any) -> None:
    assert speaking(f"ai_query('chat', s, returnType => '{kind}')").answer(chat(said)) == value


def test_json_formats_are_checked_text() -> None:
    one = speaking("ai_query('chat', s, responseFormat => '{\"type\": \"json_object\"}')")
    assert one.answer(chat('{"a": 1}')) == '{"a": 1}'
    with pytest.raises(BrokenAnswer):
        one.answer(chat("no"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"message": {}}]}',
        b'{"choices": [{"message": null}]}',
        b"\xff",
    ],
)
@pytest.mark.parametrize(
    "call",
    ["ai_query('chat', s)", "ai_query('old', s)", "ai_query('emb', s)", "ai_similarity(a, b)", "ai_gen(s)",
     "ai_classify(s, array('a', 'b'))"],
)  # fmt: skip
def test_answers_that_are_none(call: str, body: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        speaking(call).answer(body)


def test_content_in_parts_is_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "reasoning", "summary": []}, {"type": "text", "text": "b"}]
    assert speaking("ai_gen(s)").answer(chat(parts)) == "ab"


# ------------------------------------------------------------ embeddings


def vectors(*found: Any) -> bytes:
    return json.dumps({"data": [{"index": at, "embedding": one} for at, one in enumerate(found)]}).encode()


def test_embeddings() -> None:
    one = speaking("ai_query('emb', s)")
    assert one.batch > 1
    assert one.answer(vectors([0.5, 1])) == [0.5, 1.0]
    assert one.answer(vectors("AAAAPwAAgD8=")) == [0.5, 1.0]


@given(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=20))
def test_rows_share_a_request(texts: list[str]) -> None:
    one = speaking("ai_query('emb', s)")
    bodies = [one.request((text,)) or b"" for text in texts]
    sent = json.loads(one.join(bodies))["input"]
    assert sent == list(dict.fromkeys(texts))
    answer = vectors(*([float(ord(text[0])), float(len(text))] for text in sent))
    wanted = [[float(ord(text[0])), float(len(text))] for text in texts]
    assert [one.answer(body) for body in one.split(answer, bodies)] == wanted


def test_similarities_share_a_request() -> None:
    one = speaking("ai_similarity(a, b)")
    bodies = [one.request(row) or b"" for row in (("x", "k"), ("y", "k"), ("k", "k"))]
    assert json.loads(one.join(bodies)) == {"input": ["x", "k", "y"]}
    parts = one.split(vectors([1, 0], [1, 0], [0, 2]), bodies)
    assert [round(one.answer(part), 6) for part in parts] == [1.0, 0.0, 1.0]
    with pytest.raises(BrokenAnswer, match="3 texts were sent"):
        one.split(vectors([1, 0]), bodies)


# ------------------------------------------------------------ the small functions


@pytest.mark.parametrize(
    ("call", "said", "value"),
    [
        ("ai_classify(s, array('a', 'b'))", {"label": "a"}, "a"),
        ("ai_classify(s, '[\"a\", \"b\"]')", {"label": "b"}, '{"response":["b"],"error_message":null}'),
        ("ai_classify(s, '{\"a\": \"x\", \"b\": \"\"}', map('multilabel', 'true'))", {"labels": ["a", "b"]},
         '{"response":["a","b"],"error_message":null}'),
        ("ai_analyze_sentiment(s)", {"label": "mixed"}, "mixed"),
        ("ai_extract(s, array('who', 'where'))", {"who": "Ann", "where": None}, {"who": "Ann", "where": None}),
        ("ai_extract(s, '{\"n\": {\"type\": \"integer\"}}')", {"n": 3}, '{"response":{"n":3},"error_message":null}'),
        ("ai_summarize(s)", {"summary": " short "}, "short"),
        ("ai_translate(s, 'de')", {"translation": "hallo"}, "hallo"),
        ("ai_fix_grammar(s)", {"corrected": "ok"}, "ok"),
        ("ai_mask(s, array('name'))", {"masked": "[MASKED]"}, "[MASKED]"),
    ],
)  # fmt: skip
def test_small_functions(call: str, said: dict[str, Any], value: Any) -> None:
    one = speaking(call)
    row = ("some text", "de") if "translate" in call else ("some text",)
    body = json.loads(one.request(row) or b"")
    assert body["messages"][-1] == {"role": "user", "content": "some text"}
    assert body["response_format"]["type"] == "json_schema"
    assert body["temperature"] == 0.0
    assert one.answer(chat(json.dumps(said))) == value
    for wrong in ("", "no", "[]", "{}", '{"label": "other"}', json.dumps(said)[:-3]):
        if call.startswith("ai_extract(s, array") and wrong in ("{}", '{"label": "other"}'):
            continue
        if "integer" in call and wrong.startswith("{") and wrong.endswith("}"):
            continue
        with pytest.raises(BrokenAnswer):
            one.answer(chat(wrong))


def test_the_prompts_say_what_is_wanted() -> None:
    assert "French" in asked("ai_translate(s, t)", "x", "fr")["messages"][0]["content"]
    assert "Klingon" in asked("ai_translate(s, t)", "x", "Klingon")["messages"][0]["content"]
    assert "at most 7 words" in asked("ai_summarize(s, 7)", "x")["messages"][0]["content"]
    assert "words" not in asked("ai_summarize(s, 0)", "x")["messages"][0]["content"]
    assert "phone, name" in asked("ai_mask(s, array('phone', 'name'))", "x")["messages"][0]["content"]


@given(st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_broken(body: bytes) -> None:
    for call in ("ai_query('chat', s)", "ai_query('emb', s)", "ai_classify(s, array('a', 'b'))"):
        with pytest.raises(BrokenAnswer):
            speaking(call).answer(body)


@pytest.mark.slow
def test_a_long_prompt() -> None:
    assert len(asked("ai_summarize(s)", "x" * 100_000)["messages"][-1]["content"]) == 100_000


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ('{"summary": "The cat sat on the ma', "The cat sat on the …"),
        ('{ "summary" : "A \\"quoted\\" word and mo', 'A "quoted" word and …'),
        ('{"summary": "one', None),
        ('{"summary": "ends in an escape \\', None),
        ('{"summ', None),
    ],
)
def test_a_summary_that_runs_on_is_cut_at_a_word(said: str, value: str | None) -> None:
    speaks = speaking("ai_summarize(s, 5)")
    answer = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
    if value is None:
        with pytest.raises(BrokenAnswer):
            speaks.answer(answer)
    else:
        assert speaks.answer(answer) == value
