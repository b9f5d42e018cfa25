"""`databricks-sdk`: 0.38 and newer make the same calls; the OpenAI client comes through it where openai is there."""

from typing import Any

from tesela.verify.clients.installed import client, is_importable, raises
from tesela.verify.outcome import Absent, Call, Target, chat_of, embeddings_of, require
from tesela.verify.questions import QUESTION


def connect(target: Target, access_token: str = "") -> Any:
    return client("databricks.sdk").WorkspaceClient(
        host=target.host, token=access_token or target.access_token, auth_type="pat"
    )


def messages() -> list[Any]:
    serving = client("databricks.sdk.service.serving")
    return [serving.ChatMessage(role=serving.ChatMessageRole.USER, content="Say hello.")]


def query(target: Target) -> None:
    answer = connect(target).serving_endpoints.query(chat_of(target), messages=messages(), max_tokens=8)
    require(answer.choices[0].message.content, "the message has no text")
    require(
        answer.choices[0].finish_reason,
        "finish_reason is empty: the SDK reads finishReason",
    )
    require(answer.served_model_name, "the header served-model-name is missing")
    require(answer.usage.total_tokens > 0, "no tokens were counted")


def query_embeddings(target: Target) -> None:
    answer = connect(target).serving_endpoints.query(embeddings_of(target), input=["one", "two"])
    require(
        len(answer.data) == 2 and len(answer.data[0].embedding) > 1,
        "two texts must give two vectors",
    )


def openai_client(target: Target) -> None:
    if not is_importable("openai"):
        raise Absent("openai is not installed")
    chat = connect(target).serving_endpoints.get_open_ai_client().chat.completions
    answer = chat.create(model=chat_of(target), messages=QUESTION, max_tokens=8)
    require(answer.choices[0].message.content, "the message has no text")


def list_and_get(target: Target) -> None:
    serving = connect(target).serving_endpoints
    names = [one.name for one in serving.list()]
    require(chat_of(target) in names, "the chat endpoint is not in the list")
    endpoint = serving.get(chat_of(target))
    require(
        endpoint.state.ready and endpoint.state.config_update,
        "the endpoint has no state",
    )
    require(endpoint.config.served_entities, "the endpoint has no served entities")


def me(target: Target) -> None:
    server = connect(target)
    require(server.current_user.me().user_name, "the caller has no name")
    require(isinstance(server.get_workspace_id(), int), "the workspace has no number")


def errors(target: Target) -> None:
    found = client("databricks.sdk.errors")
    query = connect(target).serving_endpoints.query
    raises(found.NotFound, query, "no-such-endpoint-anywhere", messages=messages())
    raises(found.BadRequest, query, chat_of(target), messages=messages(), max_tokens=-1)
    stranger = connect(target, "dapi" + "0" * 32).serving_endpoints
    raises(found.Unauthenticated, stranger.query, chat_of(target), messages=messages())


CALLS = [
    Call("databricks-sdk", "query", query),
    Call("databricks-sdk", "query embeddings", query_embeddings),
    Call("databricks-sdk", "get_open_ai_client", openai_client),
    Call("databricks-sdk", "list and get", list_and_get),
    Call("databricks-sdk", "current_user.me", me),
    Call("databricks-sdk", "errors", errors),
]
