"""Prints Responses answers and event streams as JSON, for the tests that read them with a client's types.

Run by the server's Python; the clients' environment has no Tesela.  What is behind is the scripted model.
"""

import json
import sys
from typing import Any

from tesela.errors import UpstreamFailed
from tesela.providers.scripted import play, script_from
from tesela.wire.document import Document, decode, encode
from tesela.wire.responses import ResponseEvents, answer, echo, to_chat
from tesela.wire.sse import DONE, EventParser

LOOK = {
    "type": "function",
    "name": "look",
    "description": "Looks.",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    "strict": False,
}
SCHEMA = {"type": "json_schema", "name": "n", "schema": {"type": "object", "properties": {"a": {"type": "number"}}}}
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("echo", {"instructions": "Be short.", "metadata": {"a": "b"}, "store": False, "temperature": 0}),
    "logprobs": ("echo", {"include": ["message.output_text.logprobs"], "top_logprobs": 2}),
    "reasoning": ("reasoning", {"reasoning": {"effort": "low", "summary": "auto"}}),
    "refusal": ("refusal", {}),
    "call": ("tool-call+reasoning", {"tools": [LOOK], "parallel_tool_calls": False}),
    "forced call": ("m", {"tools": [LOOK], "tool_choice": {"type": "function", "name": "look"}}),
    "schema": ("m", {"text": {"format": SCHEMA}}),
    "cut short": ("m", {"max_output_tokens": 3}),
    "empty": ("empty", {}),
    "no usage": ("echo+no-usage", {}),
    "unicode": ("unicode", {}),
}


def chat(model: str, document: Document) -> list[bytes]:
    """What the scripted model answers: one body, or the chunks of a stream."""
    played = play(script_from(None, model), encode(to_chat(document)), "/chat/completions", 1)
    data = b"".join(part for _, part in played.parts)
    if document.get("stream") is None:
        return [data]
    return [event.data for event in EventParser().feed(data) if event.data != DONE]


def example(model: str, fields: dict[str, Any]) -> dict[str, Any]:
    asked = {"model": model, "input": "Hello there", **fields}
    document = decode(json.dumps(asked).encode())
    streamed = decode(json.dumps({**asked, "stream": True}).encode())
    events = ResponseEvents(echo(streamed), "x", 5)
    out = [event for chunk in chat(model, streamed) for event in events.feed(chunk)] + events.finish()
    body = answer(chat(model, document)[0], echo(document), "x", 5)
    return {"response": json.loads(body), "events": [json.loads(event) for event in out]}


def failure() -> list[Any]:
    document = decode(json.dumps({"model": "echo", "input": "Hello there", "stream": True}).encode())
    events = ResponseEvents(echo(document), "x", 5)
    out = [event for chunk in chat("echo", document)[:2] for event in events.feed(chunk)]
    return [json.loads(event) for event in out + events.failed(UpstreamFailed("the provider failed"))]


if __name__ == "__main__":
    made = {name: example(model, fields) for name, (model, fields) in ASKED.items()}
    json.dump({"made": made, "failure": failure()}, sys.stdout)
