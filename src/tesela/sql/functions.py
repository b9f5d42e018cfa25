"""The AI functions: their signatures and what a call of each asks for.

Signatures and types are Databricks': docs.databricks.com/aws/en/sql/language-manual/functions/<name>.  Where a function
has a version 2 whose type is VARIANT, the answer here is the same JSON as STRING, which `:` paths and from_json read.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct, field
from sqlglot import exp

from tesela.errors import StatementError
from tesela.sql import types
from tesela.sql.arguments import Call, Signature
from tesela.sql.query import query
from tesela.sql.site import EndpointFacts
from tesela.wire.tasks import Task

DOCS = "docs.databricks.com/aws/en/sql/language-manual/functions/"


class Asked(Struct, frozen=True):
    """What a call comes to: `arguments` vary from row to row, everything else is known."""

    facts: EndpointFacts
    value: types.Type
    arguments: tuple[exp.Expr, ...]
    fail_on_error: bool = True
    body: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)


Build = Callable[[Call], Asked]

LABELS = 20
LABELS_2 = 500
FIELDS_2 = 128
DEEPEST_2 = 7
LONGEST_INSTRUCTIONS = 20_000
SENTIMENTS = ("positive", "negative", "neutral", "mixed")


def _ai_query(call: Call) -> Asked:
    asked = query(call)
    return Asked(asked.facts, asked.value, asked.arguments, asked.fail_on_error, asked.body, asked.constants)


def _text(call: Call) -> Asked:
    """A function of one text, whose answer is a text."""
    return Asked(call.default(Task.CHAT), types.STRING, (call.expression(call.signature.parameters[0]),))


def _summarize(call: Call) -> Asked:
    words = call.constant("max_words", "max_words => 50") if call.has("max_words") else 50
    if not isinstance(words, int) or isinstance(words, bool) or words < 0:
        raise call.wrong(
            "max_words of ai_summarize must be a whole number, and not below 0: 0 sets no limit",
            call.expression("max_words"), error_class="AI_FUNCTION_INVALID_MAX_WORDS", sql_state="22032",
        )  # fmt: skip
    return Asked(call.default(Task.CHAT), types.STRING, (call.expression("content"),), constants={"max_words": words})


def _translate(call: Call) -> Asked:
    """Any language: those of Databricks' page by their codes, others as they are named."""
    return Asked(call.default(Task.CHAT), types.STRING, (call.expression("content"), call.expression("to_lang")))


def _sentiment(call: Call) -> Asked:
    return Asked(
        call.default(Task.CHAT), types.STRING, (call.expression("content"),), constants={"labels": list(SENTIMENTS)}
    )


def _mask(call: Call) -> Asked:
    labels = call.strings("labels", 1, LABELS)
    return Asked(call.default(Task.CHAT), types.STRING, (call.expression("content"),), constants={"labels": labels})


def _similarity(call: Call) -> Asked:
    return Asked(
        call.default(Task.EMBEDDINGS), types.Type("FLOAT"), (call.expression("expr1"), call.expression("expr2"))
    )


_CLASSIFY_OPTIONS = frozenset({"version", "instructions", "multilabel"})
_EXTRACT_OPTIONS = frozenset({"version", "instructions"})


def _version(call: Call, options: dict[str, str]) -> None:
    if options.get("version", "2.0") not in ("2.0", "2", "2.1"):
        raise call.wrong(
            f"version {options['version']!r} of {call.signature.name} is not there: leave it out, or write '2.0'",
            call.expression("options"), error_class="UNSUPPORTED_FEATURE", sql_state="0A000",
        )  # fmt: skip
    if len(options.get("instructions", "")) > LONGEST_INSTRUCTIONS:
        raise call.wrong(f"instructions may have {LONGEST_INSTRUCTIONS} characters", call.expression("options"))


def _classify(call: Call) -> Asked:
    labels = call.constant("labels", "ARRAY('first', 'second')")
    content = (call.expression("content"),)
    if isinstance(labels, list):
        if call.has("options"):
            raise call.wrong(
                'with options, the labels of ai_classify are a JSON string: write \'["first", "second"]\'',
                call.expression("labels"),
            )
        return Asked(
            call.default(Task.CHAT), types.STRING, content, constants={"labels": call.strings("labels", 2, LABELS)}
        )
    options = call.options(_CLASSIFY_OPTIONS)
    _version(call, options)
    described = _described(call, labels)
    constants = {
        "labels": list(described), "descriptions": described, "version": 2,
        "instructions": options.get("instructions", ""), "multilabel": options.get("multilabel") == "true",
    }  # fmt: skip
    return Asked(call.default(Task.CHAT), types.STRING, content, constants=constants)


def _described(call: Call, labels: Any) -> dict[str, str]:
    """The labels of version 2, with what each means: a JSON array of names, or an object of descriptions."""
    example = '\'{"urgent": "wants an answer today", "later": ""}\''
    found = _json(call, "labels", labels, example)
    if isinstance(found, list):
        found = dict.fromkeys(found, "") if all(isinstance(one, str) for one in found) else None
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise call.wrong(
            f"labels of ai_classify must be names, or names with descriptions: write {example}",
            call.expression("labels"),
        )
    if not 2 <= len(found) <= LABELS_2 or not all(1 <= len(name) <= 100 for name in found):
        raise call.wrong(
            f"labels of ai_classify must be 2 to {LABELS_2} names of 1 to 100 characters", call.expression("labels")
        )
    return found


def _json(call: Call, name: str, text: Any, example: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, TypeError):
        raise call.wrong(
            f"{name} of {call.signature.name} must be JSON in a string: write {example}", call.expression(name),
            error_class="AI_FUNCTION_JSON_PARSE_ERROR", sql_state="22000",
        ) from None  # fmt: skip


def _extract(call: Call) -> Asked:
    labels = call.constant("schema", "ARRAY('person', 'place')")
    content = (call.expression("content"),)
    if isinstance(labels, list):
        if call.has("options"):
            raise call.wrong("with options, the schema of ai_extract is a JSON string", call.expression("schema"))
        labels = call.strings("schema", 1, LABELS_2)
        if len({one.lower() for one in labels}) != len(labels):
            raise call.wrong("two labels of ai_extract differ only in case", call.expression("schema"))
        value = types.Type("STRUCT", (types.STRING,) * len(labels), tuple(labels))
        return Asked(call.default(Task.CHAT), value, content, constants={"labels": labels})
    options = call.options(_EXTRACT_OPTIONS)
    _version(call, options)
    found = _json(call, "schema", labels, '\'{"invoice": {"type": "string"}}\'')
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        found = {one: {"type": "string"} for one in found}
    try:
        schema, count = extraction(found, 1)
    except ValueError as exc:
        raise call.wrong(f"the schema of ai_extract cannot be used: {exc}", call.expression("schema")) from None
    if count > FIELDS_2:
        raise call.wrong(f"the schema of ai_extract has {count} fields: at most {FIELDS_2}", call.expression("schema"))
    constants = {"schema": schema, "version": 2, "instructions": options.get("instructions", "")}
    return Asked(call.default(Task.CHAT), types.STRING, content, constants=constants)


_SCALARS = frozenset({"string", "integer", "number", "boolean"})


def extraction(fields: Any, depth: int) -> tuple[dict[str, Any], int]:
    """A version 2 schema as JSON schema, and how many fields it has.  Raises ValueError."""
    if depth > DEEPEST_2:
        raise ValueError(f"it is nested deeper than {DEEPEST_2}")
    if not isinstance(fields, dict) or not fields:
        raise ValueError("it must be an object of fields, each with a type")
    properties: dict[str, Any] = {}
    count = 0
    for name, one in fields.items():
        kind = {"type": one} if isinstance(one, str) else one
        if not isinstance(kind, dict):
            raise ValueError(f"the field {name!r} must have a type")  # noqa: TRY004
        properties[name], inner = _field_schema(name, kind, depth)
        count += 1 + inner
    return (
        {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False},
        count,
    )


def _field_schema(name: str, kind: dict[str, Any], depth: int) -> tuple[dict[str, Any], int]:
    told = {"description": kind["description"]} if isinstance(kind.get("description"), str) else {}
    match kind.get("type"):
        case "enum":
            labels = kind.get("labels")
            if not isinstance(labels, list) or not labels or not all(isinstance(one, str) for one in labels):
                raise ValueError(f"the enum {name!r} must have labels")
            return {"anyOf": [{"type": "string", "enum": labels}, {"type": "null"}]} | told, 0
        case "array":
            items = kind.get("items")
            if not isinstance(items, dict):
                raise ValueError(f"the array {name!r} must have items")  # noqa: TRY004
            schema, count = _field_schema(name, items, depth + 1)
            return {"type": "array", "items": schema} | told, count
        case "object":
            schema, count = extraction(kind.get("properties"), depth + 1)
            return schema | told, count
        case scalar if scalar in _SCALARS:
            return {"type": [scalar, "null"]} | told, 0
    raise ValueError(
        f"the type {kind.get('type')!r} of {name!r} is none of string, integer, number, boolean, enum, array, object"
    )


def _signature(name: str, parameters: str, required: int) -> Signature:
    return Signature(name, tuple(parameters.split()), required, DOCS + name)


FUNCTIONS: dict[str, tuple[Signature, Build]] = {
    one.name: (one, build)
    for one, build in (
        (
            _signature("ai_query", "endpoint request returnType failOnError modelParameters responseFormat files", 2),
            _ai_query,
        ),
        (_signature("ai_gen", "prompt", 1), _text),
        (_signature("ai_classify", "content labels options", 2), _classify),
        (_signature("ai_extract", "content schema options", 2), _extract),
        (_signature("ai_summarize", "content max_words", 1), _summarize),
        (_signature("ai_translate", "content to_lang", 2), _translate),
        (_signature("ai_analyze_sentiment", "content", 1), _sentiment),
        (_signature("ai_fix_grammar", "content", 1), _text),
        (_signature("ai_mask", "content labels", 2), _mask),
        (_signature("ai_similarity", "expr1 expr2", 2), _similarity),
    )
}
"""Under their names in lower case: names are read in any letter case."""

ABSENT: dict[str, str] = {
    "ai_forecast": "forecasts need a time series model, which no endpoint here has",
    "vector_search": "there is no vector index here: use ai_similarity, and ORDER BY … LIMIT",
    "ai_parse_document": "documents are not parsed here: give pages as images to ai_query(…, files => content)",
    "ai_prep_search": "documents are not parsed here",
    "ai_decide": "it is not there: use ai_classify, or ai_query with responseFormat",
    "ai_generate_text": "it is deprecated: use ai_query or ai_gen",
    "ai_top_drivers": "it is not there",
    "ai_complete": "it is another system's: use ai_query",
    "http_request": "a statement can call endpoints only",
}
"""Functions of Databricks' pages that are not there, and what to do instead."""


def absent(name: str) -> StatementError | None:
    why = ABSENT.get(name.lower())
    if why is None:
        return None
    return StatementError(f"{name} is not available: {why}", error_class="UNSUPPORTED_FEATURE", sql_state="0A000")
