"""What the load generator says and how it checks the answers: bytes in, verdicts out.

A whole answer counts only when it is a 200 that carries the canned text. A stream counts only when every
numbered chunk came once and in order and `[DONE]` ended it. No sockets here.
"""

import re
from collections.abc import Mapping

import httptools
import msgspec

# In every canned answer and never in a request: an answer with it came from the upstream.
CANNED_MARK = b"the ship of Theseus"
# A chunk's text is `#<number>:<CLOCK_MONOTONIC in ns when it was written>#`.
NUMBERED = re.compile(rb"#(\d+):(\d+)#")

# What the official Python client sends beside the body (recorded with openai 2.x), but for `Accept-Encoding`:
# one of the systems would compress, and then it would no longer be the same work.
CLIENT_HEADERS = {
    "Accept-Encoding": "identity",
    "Connection": "keep-alive",
    "Accept": "application/json",
    "Content-Type": "application/json",
    "User-Agent": "OpenAI/Python 2.8.1",
    "X-Stainless-Lang": "python",
    "X-Stainless-Package-Version": "2.8.1",
    "X-Stainless-OS": "Linux",
    "X-Stainless-Arch": "x64",
    "X-Stainless-Runtime": "CPython",
    "X-Stainless-Runtime-Version": "3.11.7",
    "X-Stainless-Async": "false",
    "x-stainless-retry-count": "0",
    "x-stainless-read-timeout": "600",
}


def chat_body(model: str, *, stream: tuple[int, int] | None = None) -> bytes:
    """A chat request of about 400 bytes, as the client encodes it.

    `stream` is (chunks, gap in microseconds); the stream upstream reads both from the message, because a
    message is the one place that every gateway forwards untouched.
    """
    question = (
        "If every plank of a ship is replaced, one by one, over the years, is it still the same ship in the end? "
        "Give the two best known answers, one sentence each, and say which of them you would defend."
    )
    if stream is not None:
        question += f" chunks={stream[0]} gap_us={stream[1]} stream=0000"
    body: dict[str, object] = {
        "messages": [
            {
                "role": "system",
                "content": "You are a careful assistant. Answer briefly.",
            },
            {"role": "user", "content": question},
        ],
        "model": model,
        "max_tokens": 256,
        "temperature": 0.2,
    }
    if stream is not None:
        body["stream"] = True
    return msgspec.json.encode(body)


def http_request(port: int, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """One HTTP/1.1 POST, ready to be written."""
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name}: {value}" for name, value in {**CLIENT_HEADERS, **headers}.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def answer_end(data: bytes) -> int:
    """Length of the whole HTTP answer at the start of `data`, or -1 while it is incomplete.

    Reads no more than it must: the generator shares a core with the upstream. Raises ValueError when the
    answer has neither a length nor chunks.
    """
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return -1
    fields = data[:head].lower()
    at = fields.find(b"\r\ncontent-length:")
    if at >= 0:
        stop = fields.find(b"\r\n", at + 2)
        length = int(fields[at + 17 : stop if stop >= 0 else head])
        end = head + 4 + length
        return end if len(data) >= end else -1
    if b"\r\ntransfer-encoding: chunked" in fields:
        return len(data) if data.endswith(b"\r\n0\r\n\r\n") else -1
    raise ValueError("the answer has neither Content-Length nor chunked encoding")


def fault(answer: bytes) -> str:
    """What is wrong with a whole answer; empty when it is the canned one."""
    if not answer.startswith(b"HTTP/1.1 200"):
        return f"status {answer[9:12].decode('latin-1')}"
    return "" if CANNED_MARK in answer else "not the canned answer"


class StreamCheck:
    """Follows one streamed answer: numbers, order, end.

    `now` is handed to `feed`; `delays` collects, per chunk, the nanoseconds between the upstream's write and
    our read. After `finished`, `fault` says what was wrong, empty when nothing was.
    """

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.seen = 0
        self.status = 0
        self.done = False
        self.finished = False
        self.fault = ""
        self.delays: list[int] = []
        self._rest = b""
        self._now = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes, now: int) -> None:
        """Take bytes from the socket, read at `now` (CLOCK_MONOTONIC, ns)."""
        self._now = now
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self.fault, self.finished = f"not HTTP: {exc}", True

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        *events, self._rest = (self._rest + body).split(b"\n\n")
        for event in events:
            self._event(event)

    def on_message_complete(self) -> None:
        self.finished = True
        if self.fault:
            return
        if self.status != 200:
            self.fault = f"status {self.status}"
        elif self.seen != self.expected:
            self.fault = "chunks missing"
        elif not self.done or self._rest.strip():
            self.fault = "no [DONE]"

    def _event(self, event: bytes) -> None:
        found = NUMBERED.findall(event)
        for number, sent in found:
            if int(number) != self.seen:
                self.fault = self.fault or "out of order"
            self.seen += 1
            self.delays.append(self._now - int(sent))
        if not found and event.strip() == b"data: [DONE]":
            self.done = True
