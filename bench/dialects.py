"""The providers whose translations are measured: how Tesela is told of them, and the answers that stand for theirs.

Each answers below a path of its own, with the text that the pass-through's upstream gives, in as many chunks.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from struct import pack
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Struct

KEY = "sk-bench"


class Dialect(Struct, frozen=True):
    """One provider.

    `settings` are made for an upstream's port and that of the whole answers.  `opening`, `chunk` and `closing` are a
    stream's bytes, without transfer encoding, `chunk` for the text that it carries.
    """

    provider: str
    field: str
    model: str
    settings: Callable[[int, int], dict[str, Any]]
    whole: Callable[[str], Mapping[str, Any]]
    opening: bytes
    chunk: Callable[[bytes], bytes]
    closing: bytes
    kind: bytes = b"text/event-stream; charset=utf-8"


def base(name: str, port: int) -> str:
    return f"http://127.0.0.1:{port}/{name}"


def event(told: Mapping[str, Any], name: str = "") -> bytes:
    """A server-sent event."""
    data = f"data: {json.dumps(told, separators=(',', ':'))}\n\n"
    return (f"event: {name}\n{data}" if name else data).encode()


def frame(kind: str, told: bytes) -> bytes:
    """A message of Amazon's event streams."""
    headers = b""
    for name, value in ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event")):
        headers += pack(f"!B{len(name)}sBH{len(value)}s", len(name), name.encode(), 7, len(value), value.encode())
    start = pack("!II", len(headers) + len(told) + 16, len(headers))
    data = start + pack("!I", zlib.crc32(start)) + headers + told
    return data + pack("!I", zlib.crc32(data))


# ------------------------------------------------------------ Anthropic


def _anthropic_whole(text: str) -> Mapping[str, Any]:
    usage = {"input_tokens": 71, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 64}
    return {
        "id": "msg_bench000000000000000001", "type": "message", "role": "assistant", "model": "upstream-model",
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None, "usage": usage,
    }  # fmt: skip


_START = {**_anthropic_whole(""), "content": [], "stop_reason": None}
ANTHROPIC = Dialect(
    "anthropic",
    "anthropic_config",
    "claude-sonnet-5",
    lambda port, _: {"anthropic_api_key_plaintext": KEY, "anthropic_api_base": base("anthropic", port)},
    _anthropic_whole,
    event({"type": "message_start", "message": _START}, "message_start")
    + event(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        "content_block_start",
    ),
    lambda text: (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
        b'"text":"%b"}}\n\n' % text
    ),
    event({"type": "content_block_stop", "index": 0}, "content_block_stop")
    + event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 64},
        },
        "message_delta",
    )
    + event({"type": "message_stop"}, "message_stop"),
)

# ------------------------------------------------------------ Bedrock


def _bedrock_whole(text: str) -> Mapping[str, Any]:
    return {
        "metrics": {"latencyMs": 812},
        "output": {"message": {"content": [{"text": text}], "role": "assistant"}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 71, "outputTokens": 64, "totalTokens": 135},
    }


_METADATA = (
    b'{"metrics":{"latencyMs":812},"p":"abcdefgh","usage":{"inputTokens":71,"outputTokens":64,"totalTokens":135}}'
)
BEDROCK = Dialect(
    "amazon-bedrock",
    "amazon_bedrock_config",
    "amazon.nova-lite-v1:0",
    lambda port, _: {
        "aws_region": "us-east-1",
        "aws_access_key_id_plaintext": "AKIABENCH",
        "aws_secret_access_key_plaintext": KEY,
        "amazon_bedrock_api_base": base("bedrock", port),
    },
    _bedrock_whole,
    frame("messageStart", b'{"p":"abcdefghijkl","role":"assistant"}'),
    lambda text: frame(
        "contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"%b"},"p":"abcdefghijklmno"}' % text
    ),
    frame("contentBlockStop", b'{"contentBlockIndex":0,"p":"abc"}')
    + frame("messageStop", b'{"p":"abcdefghijklm","stopReason":"end_turn"}')
    + frame("metadata", _METADATA),
    b"application/vnd.amazon.eventstream",
)

# ------------------------------------------------------------ Vertex AI

_COUNTS = {"promptTokenCount": 71, "candidatesTokenCount": 64, "totalTokenCount": 135}


def _vertex_whole(text: str) -> Mapping[str, Any]:
    return {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "avgLogprobs": -0.2}
        ],
        "usageMetadata": _COUNTS,
        "modelVersion": "upstream-model",
        "createTime": "2026-01-01T00:00:00.000000Z",
        "responseId": "bench-0000000000000001",
    }


def _vertex_settings(port: int, issuer: int) -> dict[str, Any]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, way = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    account = {
        "type": "service_account", "client_email": "bench@bench.iam.gserviceaccount.com",
        "private_key": key.private_bytes(serialization.Encoding.PEM, form, way).decode(),
        "token_uri": base("token", issuer),
    }  # fmt: skip
    return {
        "project_id": "bench", "region": "us-central1", "private_key_plaintext": json.dumps(account),
        "google_api_base": base("vertex", port),
    }  # fmt: skip


TOKEN = {"access_token": "ya29.bench", "expires_in": 3599, "token_type": "Bearer"}
VERTEX = Dialect(
    "google-cloud-vertex-ai",
    "google_cloud_vertex_ai_config",
    "gemini-3-flash",
    _vertex_settings,
    _vertex_whole,
    b"",
    lambda text: (
        b'data: {"candidates": [{"content": {"role": "model","parts": [{"text": "%b"}]}}],"usageMetadata": '
        b'{"trafficType": "ON_DEMAND"},"modelVersion": "upstream-model","createTime": "2026-01-01T00:00:00.000000Z",'
        b'"responseId": "bench-0000000000000001"}\r\n\r\n' % text
    ),
    event(_vertex_whole("")),
)

# ------------------------------------------------------------ Cohere


def _cohere_usage() -> Mapping[str, Any]:
    counts = {"input_tokens": 71, "output_tokens": 64}
    return {"billed_units": counts, "tokens": counts}


def _cohere_whole(text: str) -> Mapping[str, Any]:
    return {
        "id": "00000000-0000-0000-0000-000000000001",
        "message": {"role": "assistant", "content": [{"type": "text", "text": text}]},
        "finish_reason": "COMPLETE",
        "usage": _cohere_usage(),
    }


_OPEN = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
COHERE = Dialect(
    "cohere",
    "cohere_config",
    "command-a-03-2025",
    lambda port, _: {"cohere_api_key_plaintext": KEY, "cohere_api_base": base("cohere", port)},
    _cohere_whole,
    event({"id": "0001", "type": "message-start", "delta": {"message": _OPEN}}, "message-start")
    + event(
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        "content-start",
    ),
    lambda text: (
        b'event: content-delta\ndata: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"%b"}}}}'
        b"\n\n" % text
    ),
    event({"type": "content-end", "index": 0}, "content-end")
    + event({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": _cohere_usage()}}, "message-end"),
)

DIALECTS: Mapping[str, Dialect] = {"anthropic": ANTHROPIC, "bedrock": BEDROCK, "vertex": VERTEX, "cohere": COHERE}


def asked(request: bytes) -> Dialect | None:
    """The provider that a request is for, by its path; None for the pass-through's."""
    name = request.partition(b"/")[2].partition(b"/")[0]
    return DIALECTS.get(name.decode("latin-1"))
