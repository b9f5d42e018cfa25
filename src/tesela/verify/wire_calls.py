"""The HTTP calls of each official client, byte for byte as far as it matters, made without the client.

So any server can be checked from a machine that has none of the clients installed.  What each client sends and needs
was recorded from the clients themselves.
"""

import base64
import json
import struct
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from tesela.verify.outcome import Call, Target, chat_of, embeddings_of, require
from tesela.verify.questions import QUESTION, SCHEMA, SHORT, TOOL

TIMEOUT_S = (10.0, 300.0)


class NoAuth(AuthBase):
    """Sends nothing, not even what ~/.netrc has for the host."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.pop("Authorization", None)
        return request


class Bearer(NoAuth):
    def __init__(self, access_token: str) -> None:
        self.access_token = access_token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.access_token}"
        return request


def call(
    target: Target,
    method: str,
    path: str,
    body: Any = None,
    *,
    status: int = 200,
    auth: AuthBase | None = None,
) -> requests.Response:
    """One request.  Raises when the status is not the expected one."""
    answer = requests.request(
        method,
        target.host + path,
        json=body,
        auth=auth or Bearer(target.access_token),
        headers={"Accept": "application/json"},
        timeout=TIMEOUT_S,
        allow_redirects=False,
    )
    require(
        answer.status_code == status,
        f"{method} {path} answered {answer.status_code}, not {status}: {answer.text}",
    )
    return answer


def decoded(answer: requests.Response) -> dict[str, Any]:
    value = answer.json()
    require(
        isinstance(value, dict),
        f"the answer is a JSON {type(value).__name__}, not an object",
    )
    return dict(value)


def invocations(name: str) -> str:
    return f"/serving-endpoints/{quote(name, safe='')}/invocations"


def events(answer: requests.Response) -> list[dict[str, Any]]:
    """The chunks of a stream, read as strictly as MLflow does."""
    found: list[dict[str, Any]] = []
    done = False
    for line in answer.content.decode().split("\n"):
        if not line.strip():
            continue
        field, _, data = line.partition(":")
        require(field == "data", f"the stream holds a line that MLflow refuses: {line!r}")
        if data.strip() == "[DONE]":
            done = True
        else:
            found.append(json.loads(data))
    require(done, "the stream ends without data: [DONE]")
    require(found, "the stream is empty")
    return found


def chat_answer(answer: dict[str, Any]) -> None:
    require(answer.get("object") == "chat.completion", f"object is {answer.get('object')!r}")
    message = answer["choices"][0]["message"]
    require(message.get("role") == "assistant", "the message has no role assistant")
    require(isinstance(message.get("content"), str), "the message has no text")
    counted(answer)


def counted(answer: dict[str, Any]) -> None:
    usage = answer.get("usage") or {}
    require(
        usage.get("total_tokens", 0) > 0,
        "the answer counts no tokens in usage.total_tokens",
    )
    parts = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
    require(parts == usage["total_tokens"], f"usage does not add up: {usage}")


# openai ---------------------------------------------------------------------------------------------------------------


def openai_chat(base: str) -> Callable[[Target], None]:
    def run(target: Target) -> None:
        body = {"messages": QUESTION, "model": chat_of(target), **SHORT}
        chat_answer(decoded(call(target, "POST", base + "/chat/completions", body)))

    return run


def openai_stream(target: Target) -> None:
    body = {"messages": QUESTION, "model": chat_of(target), "stream": True, **SHORT}
    chunks = events(call(target, "POST", "/serving-endpoints/chat/completions", body))
    require(
        all(chunk.get("choices") for chunk in chunks),
        "a chunk has no choices, though usage was not asked for",
    )
    require(
        chunks[-1]["choices"][0].get("finish_reason"),
        "the last chunk has no finish_reason",
    )


def openai_stream_usage(target: Target) -> None:
    body = {
        "messages": QUESTION,
        "model": chat_of(target),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    chunks = events(call(target, "POST", "/serving-endpoints/chat/completions", {**body, **SHORT}))
    require(
        chunks[-1].get("choices") == [],
        "the chunk with the usage is not the last, or has choices",
    )
    counted(chunks[-1])
    require(
        not any(chunk.get("usage") for chunk in chunks[:-1]),
        "usage comes more than once",
    )


def openai_tools(target: Target) -> None:
    choice = {"type": "function", "function": {"name": "weather"}}
    body = {
        "messages": QUESTION,
        "model": chat_of(target),
        "tools": [TOOL],
        "tool_choice": choice,
        "max_tokens": 64,
    }
    answer = decoded(call(target, "POST", "/serving-endpoints/chat/completions", body))
    calls = answer["choices"][0]["message"].get("tool_calls") or []
    require(calls, "a forced tool was not called")
    require(
        calls[0]["function"]["name"] == "weather",
        f"another tool was called: {calls[0]['function']['name']!r}",
    )
    require(
        "city" in json.loads(calls[0]["function"]["arguments"]),
        "the arguments do not follow the tool's schema",
    )


def openai_schema(target: Target) -> None:
    form = {
        "type": "json_schema",
        "json_schema": {"name": "Answer", "strict": True, "schema": SCHEMA},
    }
    body = {
        "messages": QUESTION,
        "model": chat_of(target),
        "response_format": form,
        "max_tokens": 64,
    }
    answer = decoded(call(target, "POST", "/serving-endpoints/chat/completions", body))
    found = json.loads(answer["choices"][0]["message"]["content"])
    require(
        found.get("answer") in ("yes", "no"),
        f"the answer does not follow the schema: {found}",
    )


def openai_embeddings(target: Target) -> None:
    body = {
        "input": "hello",
        "model": embeddings_of(target),
        "encoding_format": "base64",
    }
    data = decoded(call(target, "POST", "/serving-endpoints/embeddings", body))["data"]
    vector = data[0]["embedding"]
    if isinstance(vector, str):
        raw = base64.b64decode(vector, validate=True)
        vector = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    require(len(vector) > 1 and any(vector), "the vector is empty or all zero")


def openai_responses(target: Target) -> None:
    body = {"input": "Say hello.", "model": chat_of(target), "max_output_tokens": 16}
    answer = decoded(call(target, "POST", "/serving-endpoints/responses", body))
    require(answer.get("object") == "response", f"object is {answer.get('object')!r}")
    parts = [part for item in answer["output"] if item["type"] == "message" for part in item["content"]]
    require(any(part["type"] == "output_text" for part in parts), "the output holds no text")


def openai_models(target: Target) -> None:
    answer = decoded(call(target, "GET", "/serving-endpoints/models"))
    require(answer.get("object") == "list", f"object is {answer.get('object')!r}")
    require(
        chat_of(target) in {one["id"] for one in answer["data"]},
        "the chat endpoint is not among the models",
    )


# databricks-sdk -------------------------------------------------------------------------------------------------------


def sdk_discovery(target: Target) -> None:
    answer = decoded(call(target, "GET", "/.well-known/databricks-config", auth=NoAuth()))
    endpoint = answer.get("oidc_endpoint", "")
    require(
        endpoint.startswith(("http://", "https://")),
        f"oidc_endpoint must be an absolute URL: {endpoint!r}",
    )


def sdk_me(target: Target) -> None:
    answer = call(target, "GET", "/api/2.0/preview/scim/v2/Me")
    require(decoded(answer).get("userName"), "the answer has no userName")
    identity = answer.headers.get("X-Databricks-Org-Id", "")
    require(
        identity.isdigit(),
        f"the header X-Databricks-Org-Id is not a number: {identity!r}",
    )


def sdk_query(target: Target) -> None:
    body = {"messages": QUESTION, "n": 1, "temperature": 0.2, **SHORT}
    answer = call(target, "POST", invocations(chat_of(target)), body)
    chat_answer(decoded(answer))
    require(
        answer.json()["choices"][0].get("finishReason"),
        "the choice has no finishReason in camel case",
    )
    require(
        answer.headers.get("served-model-name"),
        "the header served-model-name is missing",
    )


def sdk_list(target: Target) -> None:
    answer = decoded(call(target, "GET", "/api/2.0/serving-endpoints"))
    require(isinstance(answer.get("endpoints"), list), "the answer has no list of endpoints")


def sdk_get(target: Target) -> None:
    name = chat_of(target)
    answer = decoded(call(target, "GET", f"/api/2.0/serving-endpoints/{quote(name, safe='')}"))
    require(answer.get("name") == name, f"name is {answer.get('name')!r}")
    require(
        (answer.get("state") or {}).get("config_update"),
        "state.config_update is missing: waiters need it",
    )


def served_model(target: Target) -> None:
    name = quote(chat_of(target), safe="")
    entity = decoded(call(target, "GET", f"/api/2.0/serving-endpoints/{name}"))["config"]["served_entities"][0]["name"]
    path = f"/serving-endpoints/{name}/served-models/{quote(entity, safe='')}/invocations"
    chat_answer(decoded(call(target, "POST", path, {"messages": QUESTION, **SHORT})))


# mlflow ---------------------------------------------------------------------------------------------------------------


def mlflow_stream(target: Target) -> None:
    chunks = events(
        call(
            target,
            "POST",
            invocations(chat_of(target)),
            {"messages": QUESTION, "stream": True, **SHORT},
        )
    )
    require(all("choices" in chunk for chunk in chunks), "a chunk has no choices")
    first = chunks[0]["choices"][0]["delta"]
    require(
        first.get("role") == "assistant",
        "the first delta has no role: the old ChatDatabricks needs it",
    )
    last = [chunk for chunk in chunks if chunk["choices"]][-1]
    require(last["choices"][0].get("finish_reason"), "the last choice has no finish_reason")
    counted(last)


def mlflow_list(target: Target) -> None:
    answer = call(target, "GET", "/api/2.0/serving-endpoints/")
    require("endpoints" in decoded(answer), "the answer has no endpoints")


def mlflow_gateway(target: Target) -> None:
    name = quote(chat_of(target), safe="")
    endpoint = decoded(call(target, "GET", f"/api/2.0/endpoints/{name}"))
    missing = [key for key in ("name", "endpoint_type", "model", "endpoint_url", "limit") if key not in endpoint]
    require(not missing, f"the endpoint lacks {', '.join(missing)}")
    require(
        "endpoints" in decoded(call(target, "GET", "/api/2.0/endpoints/")),
        "the list has no endpoints",
    )
    chat_answer(
        decoded(
            call(
                target,
                "POST",
                f"/endpoints/{name}/invocations",
                {"messages": QUESTION, **SHORT},
            )
        )
    )


# langchain ------------------------------------------------------------------------------------------------------------


def langchain_chat(target: Target) -> None:
    body = {"messages": QUESTION, "temperature": 0.0, "n": 1, **SHORT}
    chat_answer(decoded(call(target, "POST", invocations(chat_of(target)), body)))


def langchain_embeddings(target: Target) -> None:
    texts = [f"text {i}" for i in range(20)]
    answer = decoded(call(target, "POST", invocations(embeddings_of(target)), {"input": texts}))
    vectors = [one["embedding"] for one in answer["data"]]
    require(len(vectors) == len(texts), f"{len(texts)} texts gave {len(vectors)} vectors")
    require(
        all(isinstance(one, list) for one in vectors),
        "vectors on invocations must be lists of numbers",
    )


# curl and refusals ----------------------------------------------------------------------------------------------------


def curl_basic(target: Target) -> None:
    auth = HTTPBasicAuth("token", target.access_token)
    chat_answer(
        decoded(
            call(
                target,
                "POST",
                invocations(chat_of(target)),
                {"messages": QUESTION, **SHORT},
                auth=auth,
            )
        )
    )


def refused(answer: requests.Response, code: str) -> None:
    body = decoded(answer)
    require(
        body.get("error_code") == code,
        f"error_code is {body.get('error_code')!r}, not {code}",
    )
    require(isinstance(body.get("message"), str), "the error has no message")
    bad = [key for key in ("error", "detail", "status", "scimType") if key in body]
    require(
        not bad,
        f"the error has {', '.join(bad)} at the top level, which the SDK takes for the message",
    )


def no_credential(target: Target) -> None:
    refused(
        call(target, "GET", "/api/2.0/serving-endpoints", status=401, auth=NoAuth()),
        "UNAUTHENTICATED",
    )


def wrong_credential(target: Target) -> None:
    answer = call(
        target,
        "GET",
        "/api/2.0/serving-endpoints",
        status=401,
        auth=Bearer("dapi" + "0" * 32),
    )
    refused(answer, "UNAUTHENTICATED")


def unknown_endpoint(target: Target) -> None:
    path = invocations("no-such-endpoint-anywhere")
    refused(
        call(target, "POST", path, {"messages": QUESTION}, status=404),
        "RESOURCE_DOES_NOT_EXIST",
    )


def bad_request(target: Target) -> None:
    answer = call(
        target,
        "POST",
        invocations(chat_of(target)),
        {"messages": "not a list"},
        status=400,
    )
    require(
        answer.json().get("error_code") in {"BAD_REQUEST", "INVALID_PARAMETER_VALUE"},
        f"the body is {answer.text}",
    )


CALLS = [
    Call("openai", "chat", openai_chat("/serving-endpoints")),
    Call("openai", "stream", openai_stream),
    Call("openai", "stream with usage", openai_stream_usage),
    Call("openai", "tools", openai_tools),
    Call("openai", "structured output", openai_schema),
    Call("openai", "embeddings", openai_embeddings),
    Call("openai", "responses", openai_responses),
    Call("openai", "models", openai_models),
    Call("databricks-sdk", "start-up", sdk_discovery),
    Call("databricks-sdk", "current_user.me", sdk_me),
    Call("databricks-sdk", "query", sdk_query),
    Call("databricks-sdk", "list", sdk_list),
    Call("databricks-sdk", "get", sdk_get),
    Call("mlflow", "predict_stream", mlflow_stream),
    Call("mlflow", "list_endpoints", mlflow_list),
    Call("mlflow", "gateway client", mlflow_gateway),
    Call("langchain", "invoke", langchain_chat),
    Call("langchain", "embed_documents", langchain_embeddings),
    Call("databricks-openai", "use_ai_gateway", openai_chat("/ai-gateway/mlflow/v1")),
    Call(
        "databricks-openai",
        "use_ai_gateway_native_api",
        openai_chat("/ai-gateway/openai/v1"),
    ),
    Call("curl", "invocations with -u token:", curl_basic),
    Call("curl", "one served model", served_model),
    Call("every client", "no credential", no_credential),
    Call("every client", "wrong credential", wrong_credential),
    Call("every client", "unknown endpoint", unknown_endpoint),
    Call("every client", "bad request", bad_request),
]
