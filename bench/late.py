"""An upstream of one model that answers after a while: `python -m bench.late`.  It prints its port.

How long is decided by the request itself, so that what is best possible can be computed: 50 ms for all, or, where the
prompt says `skewed`, drawn from a lognormal distribution with that median by a digest of the prompt.
"""

import asyncio
import hashlib
import json
import math
import re
import statistics
from typing import Any

import uvloop

from bench.upstream import body_end

MEDIAN_S = 0.05
SIGMA = 1.0
_KIND = re.compile(rb"(at-once|steady|skewed) (\d+)")
_NORMAL = statistics.NormalDist()


def late_s(kind: bytes, number: bytes) -> float:
    """Seconds until the answer to this prompt."""
    if kind == b"at-once":
        return 0.0
    if kind == b"steady":
        return MEDIAN_S
    digest = hashlib.blake2b(number, digest_size=8).digest()
    uniform = (int.from_bytes(digest, "big") + 1) / (2**64 + 2)
    return MEDIAN_S * math.exp(SIGMA * _NORMAL.inv_cdf(uniform))


def answer() -> bytes:
    told = {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello " * 20}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50},
    }  # fmt: skip
    body = json.dumps(told).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


ANSWER = answer()


class Late(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := body_end(self._read)) >= 0:
            found = _KIND.search(self._read, 0, end)
            self._read = self._read[end:]
            wait = late_s(found[1], found[2]) if found else MEDIAN_S
            if wait:
                self._loop.call_later(wait, self._transport.write, ANSWER)
            else:
                self._transport.write(ANSWER)


async def play() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Late(loop), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(play())
