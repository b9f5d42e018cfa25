"""The parts of requests to models of ours, as typed values.  `check` fills them; nothing else does.

They hold what a translation has to look at.  Fields that go on as they came stay in the document.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class CalledFunction(Struct):
    name: str
    arguments: str = ""


class ToolCall(Struct):
    """A call that the model made earlier.  `arguments` are JSON in a string, as the model wrote them."""

    id: str
    function: CalledFunction
    type: str = "function"


class Message(Struct, forbid_unknown_fields=True):
    """One turn.  The fields from `name` on tell the model nothing; they are taken so that answers can be sent back."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    name: Any = None
    id: Any = None
    type: Any = None
    status: Any = None
    annotations: Any = None
    reasoning: Any = None
    reasoning_content: Any = None
    cache_control: Any = None
    audio: None = None
    function_call: None = None


class Function(Struct, omit_defaults=True):
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct, omit_defaults=True):
    type: str
    function: Function | None = None


class JsonSchema(Struct):
    name: str
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct):
    type: str
    json_schema: JsonSchema | None = None


class Chat(Struct):
    """A chat request that may be sent.  `tools` are those that the model may call now, after `tool_choice`."""

    messages: list[Message]
    tools: list[Tool]
    choice: Literal["none", "auto", "required"]
    format: ResponseFormat | None
    stop: list[str]
    n: int
    max_tokens: int | None
    logprobs: bool
    top_logprobs: int


class Completions(Struct):
    """A completions request that may be sent.  `prompts` are texts or lists of token ids, never both."""

    prompts: list[str] | list[list[int]]
    stop: list[str]
    n: int
    max_tokens: int | None
    echo: bool
    logprobs: int | None


class Embeddings(Struct):
    inputs: list[str]
    encoding_format: str
    dimensions: int | None
    instruction: str | None
