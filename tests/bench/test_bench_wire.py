"""What the load generator accepts as an answer, fed in every cut."""

import json

import pytest
from bench.nginx import CANNED
from bench.upstream import http_chunk, numbered
from bench.wire import CANNED_MARK, StreamCheck, answer_end, chat_body, fault, http_request

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nServer: x\r\ncontent-LENGTH: %d\r\nX-A: b\r\n\r\n%b" % (status, len(body), body)


def _stream(*numbers: int) -> bytes:
    return HEAD + b"".join(numbered(number, 1000) for number in numbers)


def _check(data: bytes, expected: int, step: int) -> StreamCheck:
    check = StreamCheck(expected)
    for start in range(0, len(data), step):
        check.feed(data[start : start + step], 3000)
    return check


def test_the_canned_answer_is_a_chat_completion_of_a_usual_size() -> None:
    answer = json.loads(CANNED)
    assert answer["object"] == "chat.completion"
    assert 500 <= len(CANNED) <= 1024
    assert b"'" not in CANNED, "it stands between single quotes in the configuration of nginx"


def test_a_request_is_of_a_usual_size_and_has_no_mark_of_the_answer() -> None:
    body = chat_body("bench", stream=(32, 500))
    request = http_request(81, "/p", {"Authorization": "Bearer t"}, body)
    assert 300 <= len(body) <= 512
    assert json.loads(body)["stream"] is True
    assert b"chunks=32 gap_us=500" in body
    assert CANNED_MARK not in request
    assert request.startswith(b"POST /p HTTP/1.1\r\nHost: 127.0.0.1:81\r\n")
    assert b"\r\nContent-Length: %d\r\n\r\n{" % len(body) in request


def test_a_whole_answer_ends_where_its_length_says() -> None:
    answer = _answer(CANNED)
    assert all(answer_end(answer[:cut]) == -1 for cut in range(len(answer)))
    assert answer_end(answer) == len(answer)


def test_a_chunked_answer_ends_with_the_last_chunk() -> None:
    answer = HEAD + http_chunk(CANNED) + b"0\r\n\r\n"
    assert all(answer_end(answer[:cut]) == -1 for cut in range(len(answer)))
    assert answer_end(answer) == len(answer)


def test_an_answer_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="neither"):
        answer_end(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nabc")


def test_only_the_canned_answer_counts() -> None:
    assert fault(_answer(CANNED)) == ""
    assert fault(_answer(CANNED, b"503 Busy")) == "status 503"
    assert fault(_answer(b'{"object":"chat.completion"}')) == "not the canned answer"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 10_000])
def test_a_stream_in_order_is_complete_however_it_is_cut(step: int) -> None:
    check = _check(_stream(*range(12)) + DONE, 12, step)
    assert (check.finished, check.fault, check.seen, check.done) == (True, "", 12, True)
    assert check.delays == [2000] * 12


@pytest.mark.parametrize("step", [1, 10_000])
@pytest.mark.parametrize(
    ("data", "expected_fault"),
    [
        (_stream(0, 1, 3, 2) + DONE, "out of order"),
        (_stream(0, 1, 1, 2) + DONE, "out of order"),
        (_stream(0, 1, 2) + DONE, "chunks missing"),
        (_stream(0, 1, 2, 3) + b"0\r\n\r\n", "no [DONE]"),
        (_stream(0, 1, 2, 3).replace(b"200 OK", b"502 No") + DONE, "status 502"),
        (b"not http at all\r\n\r\n", "not HTTP"),
    ],
)
def test_a_damaged_stream_is_named(data: bytes, expected_fault: str, step: int) -> None:
    check = _check(data, 4, step)
    assert check.finished
    assert check.fault.startswith(expected_fault)


def test_a_gateway_may_write_the_json_anew() -> None:
    data = HEAD + http_chunk(b'data: {"choices": [{"delta": {"content": "#0:1000#"}}]}\n\n') + DONE
    assert _check(data, 1, 10_000).fault == ""
