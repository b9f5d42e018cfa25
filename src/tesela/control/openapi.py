"""An endpoint's queries as an OpenAPI 3.1 document: one path for each served entity.

Pure.  Requests list the fields that every model of the task knows; a model may take more, so other fields are allowed.
"""

from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tesela.control.answers import Handler
from tesela.control.facts import Facts, base_url, credential
from tesela.control.openapi_requests import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGE, RESPONSES, STRING
from tesela.control.serving_find import find, told
from tesela.wire.document import encode
from tesela.wire.tasks import Task

Json = dict[str, Any]


def handler_of(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal = credential(request).principal
        found = await run_in_threadpool(find, facts, principal, request.path_params["name"])
        shown = told(request, facts, found)
        entities = shown["config"]["served_entities"] or shown.get("pending_config", {}).get("served_entities", [])
        names = [str(one["name"]) for one in entities]
        made = describe(shown["name"], shown["description"], shown["task"], names, base_url(request, facts))
        return Response(encode(made), media_type="application/json")

    return handler


def describe(name: str, description: str, task: str, entities: Sequence[str], base: str) -> Json:
    """The document.  `base` is the address by which the caller reached us."""
    asked, answered = SCHEMAS.get(task, ("Any", "Any"))
    streams = task in STREAMING
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": "1", **({"description": description} if description else {})},
        "servers": [{"url": f"{base}/serving-endpoints/{name}"}],
        "security": [{"bearer": []}],
        "paths": {
            f"/served-models/{entity}/invocations": {"post": _query(entity, asked, answered, streams)}
            for entity in entities
        },
        "components": {
            "schemas": {key: COMPONENTS[key] for key in sorted({asked, answered, *PARTS.get(task, ()), "Error"})},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _query(entity: str, asked: str, answered: str, streams: bool) -> Json:
    content: Json = {"application/json": {"schema": _ref(answered)}}
    if streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {
        "operationId": f"query_{entity}",
        "summary": f"Query the served entity {entity}",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(asked)}}},
        "responses": {
            "200": {"description": "The model's answer", "content": content},
            "default": {
                "description": "What went wrong, and what to do",
                "content": {"application/json": {"schema": _ref("Error")}},
            },
        },
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(of: Json) -> Json:
    return {"type": "array", "items": of}


def _object(required: Sequence[str] = (), **properties: Json) -> Json:
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


INTEGER: Json = {"type": "integer"}
NUMBER: Json = {"type": "number"}

USAGE: Json = _object(prompt_tokens=INTEGER, completion_tokens=INTEGER, total_tokens=INTEGER)
ABOUT: dict[str, Json] = {"id": {"type": ["string", "null"]}, "object": STRING, "created": INTEGER, "model": STRING}

COMPONENTS: dict[str, Json] = {
    "Any": {"type": "object"},
    "Error": _object(["error_code", "message"], error_code=STRING, message=STRING),
    "Message": MESSAGE,
    "Usage": USAGE,
    "Reply": _object(
        ["role"],
        role=STRING,
        content={"anyOf": [STRING, _list({"type": "object"}), {"type": "null"}]},
        tool_calls=_list({"type": "object"}),
    ),
    "ChatRequest": CHAT,
    "ChatAnswer": _object(
        ["choices"],
        choices=_list(_object(index=INTEGER, message=_ref("Reply"), finish_reason={"type": ["string", "null"]})),
        usage=_ref("Usage"),
        **ABOUT,
    ),
    "CompletionsRequest": COMPLETIONS,
    "CompletionsAnswer": _object(
        ["choices"],
        choices=_list(_object(index=INTEGER, text=STRING, finish_reason={"type": ["string", "null"]})),
        usage=_ref("Usage"),
        **ABOUT,
    ),
    "EmbeddingsRequest": EMBEDDINGS,
    "ResponsesRequest": RESPONSES,
    "ResponsesAnswer": _object(["output"], output=_list({"type": "object"}), usage={"type": "object"}, **ABOUT),
    "EmbeddingsAnswer": _object(
        ["data"],
        data=_list(_object(["embedding"], index=INTEGER, object=STRING, embedding=_list(NUMBER))),
        object=STRING,
        model=STRING,
        usage=_ref("Usage"),
    ),
}
SCHEMAS: dict[str, tuple[str, str]] = {
    str(Task.CHAT): ("ChatRequest", "ChatAnswer"),
    str(Task.COMPLETIONS): ("CompletionsRequest", "CompletionsAnswer"),
    str(Task.EMBEDDINGS): ("EmbeddingsRequest", "EmbeddingsAnswer"),
    str(Task.RESPONSES): ("ResponsesRequest", "ResponsesAnswer"),
}
"""The request and the answer of each task."""
PARTS: dict[str, tuple[str, ...]] = {
    str(Task.CHAT): ("Message", "Reply", "Usage"),
    str(Task.COMPLETIONS): ("Usage",),
    str(Task.EMBEDDINGS): ("Usage",),
}
STREAMING = frozenset({str(Task.CHAT), str(Task.COMPLETIONS), str(Task.RESPONSES)})
