"""Messages of a chat in the few forms that every chat template can carry: a role and a text.

Content in parts becomes one text, tool calls and their results become text where the template knows no tools, and a
system message is put in front where a model needs one.  An image for a model without eyes is refused by name.
"""

from typing import Any

from tesela.errors import InvalidRequest, Unsupported
from tesela.providers import local_tools
from tesela.serving import Capabilities
from tesela.wire.forms import Chat, Message

TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
SILENT = frozenset({"reasoning", "thinking", "redacted_thinking"})
"""Parts that a caller sends back from an earlier answer and may as well leave out."""


def render(chat: Chat, capabilities: Capabilities, *, native: bool) -> list[dict[str, Any]]:
    """The messages to send.  With `native` tools the template renders calls and results itself."""
    out: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for position, message in enumerate(chat.messages):
        names.update({call.id: call.function.name for call in message.tool_calls or ()})
        content = _content(message, f"messages[{position}]", images=capabilities.images)
        if native and (message.role == "tool" or message.tool_calls):
            out.append(_native(message, content))
        elif message.role == "tool":
            _append_result(out, local_tools.result(names[message.tool_call_id or ""], _text(content)))
        else:
            out.append({"role": ROLE.get(message.role, message.role), "content": _spoken(message, content)})
    _instruct(out, chat, capabilities, native=native)
    return out


ROLE = {"developer": "system"}


def _spoken(message: Message, content: Any) -> Any:
    if not message.tool_calls:
        return content if content is not None else message.refusal
    calls = local_tools.called(message)
    said = _text(content)
    return f"{said}\n{calls}" if said else calls


def _append_result(out: list[dict[str, Any]], text: str) -> None:
    """Results of one turn share one message: many templates want user and assistant to take turns."""
    if out and out[-1].get("results"):
        out[-1]["content"] += f"\n{text}"
    else:
        out.append({"role": "user", "content": text, "results": True})


def _native(message: Message, content: Any) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": _text(content)}
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in message.tool_calls or ()
    ]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def _instruct(out: list[dict[str, Any]], chat: Chat, capabilities: Capabilities, *, native: bool) -> None:
    for message in out:
        message.pop("results", None)
    own = any(message["role"] == "system" for message in out)
    if not own and capabilities.system:
        out.insert(0, {"role": "system", "content": capabilities.system})
    if native or chat.choice == "none":
        return
    text = local_tools.instructions(chat.tools, forced=chat.choice == "required")
    if out[0]["role"] == "system":
        out[0]["content"] = f"{_text(out[0]['content'])} {text}"
    else:
        out.insert(0, {"role": "system", "content": text})


def _text(content: Any) -> str:
    return content if isinstance(content, str) else ""


def _content(message: Message, at: str, *, images: bool) -> Any:
    """A text, or a list of parts when there are images and the model can see them."""
    if message.content is None or isinstance(message.content, str):
        return message.content
    parts: list[dict[str, Any]] = []
    for position, part in enumerate(message.content):
        where = f"{at}.content[{position}]"
        kind = part.get("type")
        if kind in TEXTS:
            text = part.get(TEXTS[kind])
            if not isinstance(text, str):
                raise InvalidRequest(f"'{where}.{TEXTS[kind]}' must be a string", param=f"{where}.{TEXTS[kind]}")
            parts.append({"type": "text", "text": text})
        elif kind == "image_url" and images and message.role == "user":
            parts.append(part)
        elif kind == "image_url":
            raise Unsupported(f"'{where}' is an image_url: this model cannot see images", param=where)
        elif not isinstance(kind, str):
            raise InvalidRequest(f"'{where}.type' must be a string", param=f"{where}.type")
        elif not (kind in SILENT and message.role == "assistant"):
            raise Unsupported(f"'{where}.type': this model cannot read content of type {kind!r}", param=f"{where}.type")
    if any(part["type"] != "text" for part in parts):
        return parts
    return "\n".join(part["text"] for part in parts)
