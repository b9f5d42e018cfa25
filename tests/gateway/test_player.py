"""A script played over time: the contract of a transport, on a clock that the test moves and on a real event loop."""

import asyncio
import heapq
import json
from collections.abc import Callable
from itertools import count
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import TeselaError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnavailable
from tesela.gateway.player import Player
from tesela.gateway.seams import Headers
from tesela.providers.scripted import script_from
from tesela.serving import Origin, Timeouts, Upstream

PATH = "/chat/completions"


class Timer:
    def __init__(self, then: Callable[[], None]) -> None:
        self.then: Callable[[], None] | None = then

    def cancel(self) -> None:
        self.then = None


class Clock:
    """As much of an event loop as a player uses; time passes when nothing is due."""

    def __init__(self) -> None:
        self.now = 100.0
        self.order = count()
        self.queue: list[tuple[float, int, Timer]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, then: Callable[[], None]) -> Timer:
        timer = Timer(then)
        heapq.heappush(self.queue, (when, next(self.order), timer))
        return timer

    def call_soon(self, then: Callable[[], None]) -> Timer:
        return self.call_at(self.now, then)

    def waiting(self) -> int:
        return sum(timer.then is not None for _, _, timer in self.queue)

    def step(self) -> bool:
        """The next call; False when there is none."""
        while self.queue:
            when, _, timer = heapq.heappop(self.queue)
            if timer.then is not None:
                self.now = max(self.now, when)
                timer.then()
                return True
        return False

    def run(self) -> None:
        while self.step():
            pass


class Heard:
    """A listener that writes down what it hears, and when; `reaction` may act within a call."""

    def __init__(self, clock: Clock, reaction: Callable[[str], None] = lambda _: None) -> None:
        self.clock = clock
        self.reaction = reaction
        self.calls: list[tuple[str, float]] = []
        self.status = 0
        self.headers: Headers = {}
        self.data: list[bytes] = []
        self.error: TeselaError | None = None

    def hear(self, what: str) -> None:
        self.calls.append((what, round(self.clock.time() - 100, 6)))
        self.reaction(what)

    def on_answer(self, body: bytes) -> None:
        """The short form; a script is always played in the long one."""
        self.hear(f"answer of {len(body)} bytes")

    def on_head(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        self.hear("head")

    def on_data(self, data: bytes) -> None:
        self.data.append(data)
        self.hear("data")

    def on_end(self) -> None:
        self.hear("end")

    def on_failure(self, error: TeselaError) -> None:
        self.error = error
        self.hear("failure")


def upstream(model: str = "echo", config: Any = None, host: str = "a", **limits: Any) -> Upstream:
    script = script_from(config, model)
    return Upstream(Origin("scripted", host), model, timeouts=Timeouts(**limits), script=script)


def question(**fields: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": "a b"}], **fields}).encode()


def player(clock: Clock) -> Player:
    return Player(cast(asyncio.AbstractEventLoop, clock))


def heard(model: str = "echo", config: Any = None, fields: Any = None, **limits: Any) -> Heard:
    """All that a listener hears of one call."""
    clock = Clock()
    listener = Heard(clock)
    playing = player(clock)
    playing.send(upstream(model, config, **limits), PATH, (), question(**(fields or {})), listener)
    assert listener.calls == []
    clock.run()
    return listener


STREAM = {"stream": True}


def test_an_answer() -> None:
    listener = heard()
    assert listener.calls == [("head", 0), ("data", 0), ("end", 0)]
    assert listener.status == 200
    assert listener.headers[b"content-type"] == b"application/json"
    assert json.loads(b"".join(listener.data))["choices"][0]["message"]["content"] == "a b"


def test_an_error_answer_is_an_answer() -> None:
    listener = heard("error-429")
    assert (listener.status, listener.headers[b"retry-after"]) == (429, b"1")
    assert listener.calls[-1][0] == "end"


def test_a_stream_keeps_its_pace() -> None:
    listener = heard("slow-2s+drip-500ms+echo", fields=STREAM)
    assert listener.calls == [
        ("head", 2),
        ("data", 2),
        ("data", 2.5),
        ("data", 3),
        ("data", 3.5),
        ("data", 4),
        ("end", 4),
    ]
    assert listener.data[-1] == b"data: [DONE]\n\n"


def test_a_connection_that_breaks() -> None:
    listener = heard("cut-after-2", fields=STREAM)
    assert [what for what, _ in listener.calls] == ["head", "data", "data", "failure"]
    assert isinstance(listener.error, UpstreamProtocolError)
    before = heard("cut-after-0", fields=STREAM)
    assert [what for what, _ in before.calls] == ["failure"]
    assert isinstance(before.error, UpstreamUnavailable)


@pytest.mark.parametrize(
    ("model", "limits", "calls", "told"),
    [
        ("stall-after-1", {"idle_s": 7}, [("head", 0), ("data", 0), ("failure", 7)], "silent for 7 s"),
        ("stall-after-0", {"first_byte_s": 3}, [("failure", 3)], "within 3 s"),
        ("slow-4s", {"first_byte_s": 3}, [("failure", 3)], "within 3 s"),
        ("drip-4s", {"idle_s": 3}, [("head", 0), ("data", 0), ("failure", 3)], "silent for 3 s"),
        (
            "drip-2s+echo",
            {"total_s": 3},
            [("head", 0), ("data", 0), ("data", 2), ("failure", 3)],
            "not done within 3 s",
        ),
        ("slow-4s", {"total_s": 2}, [("failure", 2)], "not done within 2 s"),
    ],
)
def test_time_limits(model: str, limits: dict[str, float], calls: list[Any], told: str) -> None:
    listener = heard(model, fields=STREAM, **limits)
    assert listener.calls == calls
    assert isinstance(listener.error, UpstreamTimeout)
    assert told in listener.error.message


def test_calls_are_counted_per_origin_and_model() -> None:
    clock = Clock()
    playing = player(clock)

    def status(host: str) -> int:
        listener = Heard(clock)
        playing.send(upstream("flaky-2", host=host), PATH, (), question(), listener)
        clock.run()
        return listener.status

    assert [status("a") for _ in range(3)] == [503, 503, 200]
    assert status("b") == 503
    assert status("a") == 200


def test_a_paused_call_delivers_nothing_and_then_goes_on() -> None:
    clock = Clock()
    listener = Heard(clock)
    handle = player(clock).send(upstream("drip-1s+echo"), PATH, (), question(**STREAM), listener)
    assert clock.step()
    handle.pause()
    assert clock.waiting() == 0
    clock.now += 50
    assert len(listener.calls) == 2
    handle.resume()
    handle.resume()
    assert clock.waiting() == 1
    clock.run()
    # What was due in the meantime comes at once, the rest at its pace.
    assert listener.calls[2:4] == [("data", 50), ("data", 51)]
    assert listener.calls[-1][0] == "end"


def test_a_pause_does_not_use_up_patience() -> None:
    clock = Clock()
    listener = Heard(clock)
    handle = player(clock).send(upstream("drip-1s+echo", idle_s=2), PATH, (), question(**STREAM), listener)
    clock.step()
    handle.pause()
    clock.now += 500
    handle.resume()
    clock.run()
    assert listener.calls[-1][0] == "end"


@pytest.mark.parametrize("after", range(5))
def test_after_cancel_nothing_is_heard(after: int) -> None:
    clock = Clock()
    listener = Heard(clock)
    handle = player(clock).send(upstream(), PATH, (), question(**STREAM), listener)
    for _ in range(after):
        clock.step()
    before = list(listener.calls)
    handle.cancel()
    handle.resume()
    clock.run()
    assert listener.calls == before


@pytest.mark.parametrize("at", ["head", "data"])
def test_a_listener_may_cancel_within_a_call(at: str) -> None:
    clock = Clock()

    def leave(what: str) -> None:
        if what == at:
            handle.cancel()

    listener = Heard(clock, leave)
    handle = player(clock).send(upstream(), PATH, (), question(**STREAM), listener)
    clock.run()
    assert listener.calls[-1][0] == at


@pytest.mark.parametrize("at", ["head", "data"])
def test_a_listener_may_pause_within_a_call(at: str) -> None:
    clock = Clock()

    def react(what: str) -> None:
        if what == at:
            handle.pause()

    listener = Heard(clock, react)
    handle = player(clock).send(upstream(), PATH, (), question(**STREAM), listener)
    while clock.step():
        pass
    assert listener.calls[-1][0] == at
    while listener.calls[-1][0] not in ("end", "failure"):
        handle.resume()
        clock.run()
    whole = heard(fields=STREAM)
    assert listener.data == whole.data


@given(st.lists(st.sampled_from(["step", "pause", "resume", "wait", "both"]), max_size=40))
def test_any_pausing_leaves_the_answer_as_it_is(acts: list[str]) -> None:
    clock = Clock()
    listener = Heard(clock)
    handle = player(clock).send(
        upstream("unicode+drip-1s", {"default": {"reply": "é {last_user}", "cut_characters": True}}),
        PATH, (), question(**STREAM), listener,
    )  # fmt: skip
    paused = False
    for act in acts:
        if act == "step":
            seen = len(listener.calls)
            clock.step()
            assert not paused or len(listener.calls) == seen
        elif act == "wait":
            clock.now += 3
        elif act == "both":
            handle.pause()
            handle.resume()
            paused = False
        else:
            getattr(handle, act)()
            paused = act == "pause"
        assert clock.waiting() <= 1
    handle.resume()
    clock.run()
    assert [what for what, _ in listener.calls].count("end") == 1
    assert listener.calls[-1][0] == "end"
    plain = heard("m", {"default": {"reply": "é {last_user}"}}, STREAM)
    assert b"".join(listener.data).replace(b"unicode+drip-1s", b"m") == b"".join(plain.data)


def test_close_breaks_off_what_is_under_way() -> None:
    clock = Clock()
    listener = Heard(clock)
    playing = player(clock)
    playing.send(upstream("slow-5s"), PATH, (), question(), listener)
    playing.close()
    clock.run()
    assert listener.calls == []


def test_on_a_real_event_loop() -> None:
    async def main() -> list[bytes]:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        class Collect(Heard):
            def on_end(self) -> None:
                done.set_result(self.data)

            def on_failure(self, error: TeselaError) -> None:
                done.set_exception(error)

        listener = Collect(cast(Clock, loop))
        Player(loop).send(upstream("drip-1ms+long-50"), PATH, (), question(**STREAM), listener)
        assert listener.calls == []
        async with asyncio.timeout(10):
            found: list[bytes] = await done
            return found

    data = asyncio.run(main())
    assert len(data) == 53
    assert data[-1] == b"data: [DONE]\n\n"
