"""Prints, as JSON, what is sent to Anthropic for some requests, and what is made of its answers.

Run by the server's Python; the clients' environment has no Tesela.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.providers import test_anthropic_answer as answers
from tests.providers import test_anthropic_request as requests

from tesela.providers import anthropic

PASSED = {"temperature", "top_p"}
"""Fields of OpenAI's that Anthropic has under the same names."""
CACHED = {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}
IMAGES = [
    {"type": "text", "text": "See"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
]
THOUGHT = [
    {
        "type": "reasoning",
        "summary": [
            {"type": "summary_text", "text": "Hm.", "signature": "s"},
            {"type": "summary_encrypted_text", "data": "d"},
        ],
    },
    {"type": "text", "text": "Well."},
]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "place", "schema": requests.CITY, "strict": True}}
TOOLS = [requests.WEATHER, requests.CLOCK]

ASKED: dict[str, dict[str, Any]] = {
    "the least": {},
    "limits": {"max_completion_tokens": 5, "stop": ["a", "b"], "user": "u", "service_tier": "default"},
    "system": {"messages": [{"role": "system", "content": [CACHED]}, {"role": "developer", "content": "B"}]},
    "system in the middle": {"messages": [requests.HELLO, {"role": "developer", "content": "In verse."}]},
    "images and files": {"messages": [{"role": "user", "content": IMAGES}]},
    "tools": {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
    "a named tool": {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "clock"}}},
    "no tool": {"tools": TOOLS, "tool_choice": "none"},
    "calls, results and thoughts": {
        "messages": [
            requests.HELLO,
            {"role": "assistant", "content": THOUGHT, "tool_calls": requests.CALLS},
            {"role": "tool", "tool_call_id": "t1", "content": "18"},
            {"role": "tool", "tool_call_id": "t2", "content": [{"type": "text", "text": "noon"}]},
        ],
        "tools": TOOLS,
        "thinking": {"type": "enabled", "budget_tokens": 2000},
    },
    "a schema": {"response_format": SCHEMA, "reasoning_effort": "low"},
}


def example(blocks: tuple[answers.Block, ...]) -> dict[str, Any]:
    """One answer in Anthropic's form and in ours, whole and streamed."""
    return {
        "whole": answers.message(*blocks).decode(),
        "stream": b"".join(answers.stream(*blocks)).decode(),
        "answer": answers.whole(*blocks),
        "chunks": [json.loads(chunk) for chunk in answers.chunks(answers.stream(*blocks))],
    }


def main() -> None:
    sent = {name: requests.sent(*fields.pop("messages", ()), **fields) for name, fields in ASKED.items()}
    said = {name: example(blocks) for name, blocks in answers.SAID.items()}
    known = {
        name: sorted(fields.translated | fields.ignored.keys() | fields.refused.keys() | PASSED)
        for name, fields in (("chat", anthropic.CHAT), ("completions", anthropic.COMPLETIONS))
    }
    json.dump({"sent": sent, "said": said, "known": known}, sys.stdout)


if __name__ == "__main__":
    main()
