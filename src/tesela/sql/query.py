"""ai_query: what its arguments mean for each task.

docs.databricks.com/aws/en/sql/language-manual/functions/ai_query
"""

from typing import Any

import msgspec
from msgspec import Struct
from sqlglot import exp

from tesela.errors import StatementError
from tesela.sql import types
from tesela.sql.arguments import Call
from tesela.sql.site import EndpointFacts
from tesela.wire.tasks import FIELD, Task


class Query(Struct, frozen=True):
    facts: EndpointFacts
    value: types.Type
    arguments: tuple[exp.Expr, ...]
    fail_on_error: bool
    body: dict[str, Any]
    constants: dict[str, Any]


OURS = {
    "model": "the endpoint decides it",
    "stream": "an answer comes as one value",
    "stream_options": "an answer comes as one value",
    "n": "an answer is one value",
    "response_format": "write responseFormat",
}
"""Body fields that modelParameters cannot have, and why."""


def query(call: Call) -> Query:
    name = call.text("endpoint", "the name of an endpoint, as in ai_query('my-endpoint', request)")
    facts = call.endpoint(name, call.expression("endpoint"))
    body = _parameters(call, facts)
    value, constants = _returned(call, facts, body)
    arguments = [call.expression("request")]
    if call.has("files"):
        if facts.task is not Task.CHAT:
            raise call.wrong(
                f"files can be given to chat endpoints, and {name!r} is for {facts.task}", call.expression("files")
            )
        if not facts.images:
            raise call.wrong(f"the model of endpoint {name!r} reads no images", call.expression("files"))
        arguments.append(call.expression("files"))
    if isinstance(call.expression("request"), exp.Struct):
        constants = constants | {"struct": True}
    return Query(facts, value, tuple(arguments), call.flag("failOnError", True), body, constants)


def _parameters(call: Call, facts: EndpointFacts) -> dict[str, Any]:
    if not call.has("modelParameters"):
        return {}
    example = "named_struct('max_tokens', 100, 'temperature', 0.7)"
    found = call.constant("modelParameters", example)
    node = call.expression("modelParameters")
    if not isinstance(found, dict):
        raise call.wrong(
            f"modelParameters must be a struct: write {example}", node,
            error_class="AI_FUNCTION_INVALID_MODEL_PARAMETERS", sql_state="22023",
        )  # fmt: skip
    refused = OURS | {FIELD[facts.task]: "it is the request"}
    for key in found:
        if key in refused:
            raise call.wrong(
                f"modelParameters cannot set {key!r}: {refused[key]}", node,
                error_class="AI_FUNCTION_INVALID_MODEL_PARAMETERS", sql_state="22023",
            )  # fmt: skip
    return found


def _returned(call: Call, facts: EndpointFacts, body: dict[str, Any]) -> tuple[types.Type, dict[str, Any]]:
    """The type of an answer, and how it is read.  returnType wins over responseFormat, and that over the task."""
    if call.has("returnType") and call.has("responseFormat"):
        raise call.wrong("ai_query takes returnType or responseFormat, not both", call.expression("responseFormat"))
    if call.has("returnType"):
        kind = _ddl(call, "returnType", call.text("returnType", "returnType => 'STRUCT<label: STRING>'"))
        if facts.task is Task.EMBEDDINGS and kind not in _VECTORS:
            raise call.wrong(
                f"an embedding is ARRAY<FLOAT> or ARRAY<DOUBLE>, not {types.write(kind)}", call.expression("returnType")
            )
        return kind, {"read": "text" if kind == types.STRING else "json"}
    if call.has("responseFormat"):
        if facts.task is not Task.CHAT:
            raise call.wrong(
                f"responseFormat is for chat endpoints, and {facts.name!r} is for {facts.task}",
                call.expression("responseFormat"), sql_state="0A000",
                error_class="AI_FUNCTION_INVALID_RESPONSE_FORMAT_TYPE",
            )  # fmt: skip
        return _formatted(call, body)
    if facts.task is Task.EMBEDDINGS:
        return _VECTORS[0], {"read": "json"}
    return types.STRING, {"read": "text"}


_VECTORS = (types.Type("ARRAY", (types.Type("FLOAT"),)), types.Type("ARRAY", (types.Type("DOUBLE"),)))
_FORMATS = ("text", "json_object", "json_schema")
_EXAMPLE = "responseFormat => 'STRUCT<result: STRUCT<title: STRING, year: INT>>'"


def _ddl(call: Call, name: str, text: str) -> types.Type:
    try:
        return types.read(text)
    except StatementError as exc:
        raise call.wrong(
            f"{name} of ai_query is not understood: {exc.message}", call.expression(name),
            error_class=exc.error_class, sql_state=exc.sql_state,
        ) from None  # fmt: skip


def _formatted(call: Call, body: dict[str, Any]) -> tuple[types.Type, dict[str, Any]]:
    text, node = call.text("responseFormat", _EXAMPLE), call.expression("responseFormat")
    if not text.lstrip().startswith("{"):
        kind = _ddl(call, "responseFormat", text)
        if kind.name != "STRUCT" or not kind.names:
            raise call.wrong(f"responseFormat must be a STRUCT with fields: write {_EXAMPLE}", node)
        name = kind.names[0] if len(kind.names) == 1 else "response"
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": _named(name), "schema": types.schema(kind), "strict": True},
        }
        return kind, {"read": "json"}
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as exc:
        raise call.wrong(
            f"responseFormat is not JSON: {exc}", node, error_class="AI_FUNCTION_JSON_PARSE_ERROR", sql_state="22000"
        ) from None
    if found.get("type") not in _FORMATS:
        raise call.wrong(
            f"the type of responseFormat must be one of {', '.join(_FORMATS)}: write {_EXAMPLE}", node,
            error_class="AI_FUNCTION_INVALID_RESPONSE_FORMAT_TYPE", sql_state="0A000",
        )  # fmt: skip
    if found["type"] == "json_schema" and not isinstance((found.get("json_schema") or {}).get("schema"), dict):
        raise call.wrong("responseFormat of type json_schema needs json_schema with name and schema", node)
    body["response_format"] = found
    return types.STRING, {"read": "text" if found["type"] == "text" else "checked"}


def _named(name: str) -> str:
    """A schema's name has letters, digits, _ and - only, as OpenAI has it."""
    return "".join(one if one.isascii() and (one.isalnum() or one in "_-") else "_" for one in name)[:64]
