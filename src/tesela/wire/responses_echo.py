"""What a response says again of its request, and the object around an output."""

from typing import Any

import msgspec

from tesela.wire.document import Document, value
from tesela.wire.responses_request import wants_logprobs
from tesela.wire.responses_tools import flat_tools

Item = dict[str, Any]


class Echo(msgspec.Struct, frozen=True):
    """The request as its response shows it: `fields` are keys of the response object, `model` is what was asked for."""

    model: str
    logprobs: bool
    fields: dict[str, Any]


def echo(document: Document) -> Echo:
    """Read it from the request that `to_chat` accepted, in its Responses form.

    A parameter that was not given is null and not OpenAI's default: the model behind decides, and we do not know.
    """
    text = value(document, "text") or {}
    reasoning = value(document, "reasoning") or {}
    asked = value(document, "model")
    fields = {name: value(document, name) for name in SHOWN}
    fields["metadata"] = value(document, "metadata") or {}
    parallel = value(document, "parallel_tool_calls")
    fields["parallel_tool_calls"] = True if parallel is None else parallel
    fields["reasoning"] = {"effort": reasoning.get("effort"), "summary": None}
    fields["text"] = {**text, "format": text.get("format") or {"type": "text"}}
    fields["tool_choice"] = value(document, "tool_choice") or "auto"
    fields["tools"] = [
        {"parameters": None, "strict": False, "description": None, **tool}
        for tool in flat_tools(value(document, "tools"))
    ]
    fields["top_logprobs"] = value(document, "top_logprobs") or 0
    return Echo(asked if isinstance(asked, str) else "", wants_logprobs(document), fields)


def response(
    request: Echo,
    *,
    id: str,
    created: int,
    model: str,
    status: str,
    output: list[Item],
    usage: Item | None = None,
    incomplete: str | None = None,
    error: Item | None = None,
) -> Item:
    """A Response object (https://platform.openai.com/docs/api-reference/responses/object)."""
    return {
        "id": f"resp_{id}",
        "object": "response",
        "created_at": created,
        "status": status,
        "background": False,
        "error": error,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "model": model,
        "output": output,
        "previous_response_id": None,
        "store": False,
        "truncation": "disabled",
        **request.fields,
        "usage": usage,
    }


SHOWN = ("instructions", "max_output_tokens", "max_tool_calls", "temperature", "top_p", "user")
"""Echoed as given, null when absent."""
