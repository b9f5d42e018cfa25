"""The kinds of model call, and the request field by which each is known."""

from enum import StrEnum


class Task(StrEnum):
    """What kind of model call.  The values are those of `task` in an endpoint and of `external_model.task`."""

    CHAT = "llm/v1/chat"
    COMPLETIONS = "llm/v1/completions"
    EMBEDDINGS = "llm/v1/embeddings"
    RESPONSES = "llm/v1/responses"

    # Enum's own hash is a Python function; a task is a dictionary key several times on every request.
    __hash__ = str.__hash__


class Native(StrEnum):
    """A call of a provider's own API that callers may make as it is, whatever stands behind the endpoint."""

    MESSAGES = "anthropic/messages"
    COUNT_MESSAGE_TOKENS = "anthropic/messages/count_tokens"
    GENERATE = "gemini/generateContent"
    STREAM_GENERATE = "gemini/streamGenerateContent"
    COUNT_CONTENT_TOKENS = "gemini/countTokens"
    EMBED = "gemini/embedContent"
    BATCH_EMBED = "gemini/batchEmbedContents"

    __hash__ = str.__hash__


FIELD: dict[Task, str] = {
    Task.CHAT: "messages",
    Task.COMPLETIONS: "prompt",
    Task.EMBEDDINGS: "input",
    Task.RESPONSES: "input",
}
"""The one field without which a request of the task means nothing."""

PATH: dict[Task, str] = {
    Task.CHAT: "/chat/completions",
    Task.COMPLETIONS: "/completions",
    Task.EMBEDDINGS: "/embeddings",
    Task.RESPONSES: "/responses",
}
"""OpenAI's path of the task, below the API's base."""
