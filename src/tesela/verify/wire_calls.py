"""The HTTP calls of each official client, byte for byte as far as it matters, made without the client.

So any server can be checked from a machine that has none of the clients installed.  What each client sends and needs
was recorded from the clients themselves.
"""

from urllib.parse import quote

import requests
from requests.auth import HTTPBasicAuth

from tesela.verify import wire_openai
from tesela.verify.outcome import Call, Target, chat_of, embeddings_of, require
from tesela.verify.questions import QUESTION, SHORT
from tesela.verify.wire_http import Bearer, NoAuth, call, chat_answer, counted, decoded, events, invocations
from tesela.verify.wire_openai import openai_chat

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
    *wire_openai.CALLS,
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
