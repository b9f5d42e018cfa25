"""The load generator against the scripted upstream: real sockets, real processes, small numbers."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.generator import Generator
from bench.orders import Closed, Loop, Paced, Pairs, Streams, Target
from bench.process import Child, await_answer, free_port
from bench.wire import chat_body, http_request

ROOT = Path(__file__).resolve().parents[2]


def _target(port: int, chunks: int) -> Target:
    body = chat_body("m", stream=(chunks, 1000))
    return Target(port, http_request(port, "/v1/chat/completions", {}, body))


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    log = tmp_path_factory.mktemp("bench") / "upstream.log"
    with Child([sys.executable, "-m", "bench.upstream", str(port)], core=None, log=log, cwd=ROOT) as child:
        await_answer(child, port, _target(port, 1).request, limit_s=20)
        yield port


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    made = Generator(None, tmp_path_factory.mktemp("bench") / "load.log", ROOT)
    with made.child:
        yield made


def test_streams_are_followed_to_their_end(generator: Generator, upstream: int) -> None:
    report = generator.run(Streams(_target(upstream, 5), 12, 4, 5, 0.01, 20))
    figures = report.figures
    assert report.faults == {}
    assert (figures["complete"], figures["chunks"], figures["delay_count"]) == (12, 60, 60)
    assert 1 <= figures["peak"] <= 4


def test_missing_chunks_are_a_fault(generator: Generator, upstream: int) -> None:
    report = generator.run(Streams(_target(upstream, 4), 3, 3, 5, 0.01, 20))
    assert report.faults == {"chunks missing": 3}
    assert report.figures["complete"] == 0


def test_a_whole_answer_that_is_not_the_canned_one_is_a_fault(generator: Generator, upstream: int) -> None:
    target = _target(upstream, 1)
    paced = generator.run(Paced(target, 4, 500, 10))
    assert paced.figures["count"] == 10
    assert paced.faults == {"not the canned answer": 10}
    pairs = generator.run(Pairs(target, target, 5, 10))
    assert pairs.figures["direct_count"] == pairs.figures["through_count"] == 5
    closed = generator.run(Closed(target, 2, 0.05))
    assert closed.figures["count"] == closed.faults["not the canned answer"] > 0


def test_nobody_listening_is_reported_and_the_generator_lives_on(generator: Generator, upstream: int) -> None:
    report = generator.run(Closed(_target(free_port(), 1), 1, 0.05))
    assert list(report.faults) == ["ConnectionRefusedError: [Errno 111] Connection refused"]
    assert generator.run(Streams(_target(upstream, 1), 1, 1, 1, 0.01, 20)).faults == {}


def test_a_closed_loop_of_streams_has_one_chunk_of_each_under_way(generator: Generator) -> None:
    # The generator is its own upstream here: straight into its listening port.
    report = generator.run(Loop(_target(generator.port, 7), 3, 7))
    assert report.faults == {}
    assert (report.figures["complete"], report.figures["chunks"]) == (3, 21)
    assert generator.run(Loop(_target(generator.port, 7), 2, 4)).figures["complete"] == 2
