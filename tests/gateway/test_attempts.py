"""What follows a failure before the caller has its first byte: again, elsewhere, nothing; and what is told of it."""

import logging
from email.utils import formatdate
from time import time
from typing import Any

import msgspec
import pytest
from tests.fakes import SSE, Sending, World, endpoint, entity
from tests.gateway.test_invocation import ANSWER, FAILED, GOOD, Query, three

from tesela.errors import (
    InvalidRequest,
    TeselaError,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tesela.providers.base import Call, Exchange, Provider
from tesela.serving import Endpoint, Origin, Retries, ServedEntity, Timeouts, Upstream
from tesela.wire.tasks import Task

GONE = UpstreamUnavailable("gone", retry_after_s=1)


def patient(name: str = "one", percentage: int = 100, count: int = 2, **limits: Any) -> ServedEntity:
    """An entity that is asked again."""
    timeouts = Timeouts(retries=Retries(count), **limits)
    return entity(
        name, percentage, upstream=Upstream(Origin("http", f"{name}.test"), f"{name}-model", timeouts=timeouts)
    )


def hosts(world: World) -> list[str]:
    return [sent.upstream.origin.host.removesuffix(".test") for sent in world.transport.sent]


def busy(sent: Sending, after: object = None, status: int = 429) -> None:
    sent.whole(FAILED, status, {} if after is None else {b"retry-after": str(after).encode()})


# ------------------------------------------------------------ the same entity again


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    "failure",
    [
        lambda sent: sent.whole(FAILED, 500),
        lambda sent: sent.whole(FAILED, 503),
        lambda sent: sent.whole(FAILED, 429),
        lambda sent: sent.whole(FAILED, 408),
        lambda sent: sent.fail(UpstreamUnavailable("gone", retry_after_s=1)),
        lambda sent: sent.fail(UpstreamTimeout("late")),
        lambda sent: sent.head(200, {**SSE, b"content-encoding": b"gzip"}),
    ],
)
def test_a_failure_that_may_pass_is_repeated(failure: Any, streaming: bool) -> None:
    world = World(endpoint("chat", patient(), entity("two", 0), fallback=True))
    query = Query(world, stream=streaming, seed=7)
    first = world.transport.last
    for tries in (1, 2):
        failure(world.transport.last)
        assert query.state == "waiting"
        assert len(world.transport.sent) == tries, "there is a pause"
        world.clock.move(0.5 * 2 ** (tries - 1))
        assert len(world.transport.sent) == tries + 1
    assert hosts(world) == ["one"] * 3
    assert [sent.body for sent in world.transport.sent] == [first.body] * 3
    if streaming:
        world.transport.last.stream(*GOOD)
        assert query.events[-1] == "[DONE]"
    else:
        world.transport.last.whole(ANSWER)
        assert query.body == ANSWER
    assert query.headers["x-tesela-attempts"].endswith("one=200")
    assert query.headers["x-tesela-attempts"].count("one=") == 3
    assert world.at_rest()


def test_then_the_next_entity_which_has_repeats_of_its_own() -> None:
    world = World(endpoint("chat", patient(count=1), patient("two", 0, count=2), entity("three", 0), fallback=True))
    query = Query(world)
    for _ in range(6):
        world.transport.last.whole(FAILED, 500)
        world.clock.move(8)
    assert hosts(world) == ["one", "one", "two", "two", "two", "three"]
    assert query.status == 502
    assert query.headers["x-tesela-attempts"] == "one=500, one=500, two=500, two=500, two=500, three=500"
    assert world.at_rest()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_would_fail_again_is_not_repeated(status: int) -> None:
    world = World(endpoint("chat", patient()))
    query = Query(world)
    world.transport.last.whole(FAILED, status)
    assert query.state == "answered"
    assert "x-tesela-attempts" not in query.headers
    assert world.clock.waiting() == 0


def test_nothing_is_repeated_after_the_first_byte() -> None:
    world = World(endpoint("chat", patient()))
    query = Query(world, stream=True)
    world.transport.last.head(200, SSE).data(GOOD[0]).fail(UpstreamTimeout("late"))
    assert query.state == "closed"
    assert len(world.transport.sent) == 1
    assert world.clock.waiting() == 0


def test_nothing_is_repeated_unless_somebody_asks_for_it() -> None:
    world = World()
    query = Query(world)
    world.transport.last.whole(FAILED, 500)
    assert (query.status, len(world.transport.sent)) == (502, 1)


def test_a_caller_that_leaves_ends_the_pause() -> None:
    world = World(endpoint("chat", patient()))
    query = Query(world)
    world.transport.last.whole(FAILED, 500)
    assert query.invocation is not None
    assert world.clock.waiting() == 1
    query.invocation.pause()
    query.invocation.resume()
    query.invocation.cancel()
    assert world.clock.waiting() == 0
    world.clock.move(100)
    assert len(world.transport.sent) == 1
    assert world.at_rest()


def test_a_server_that_ends_does_not_wait_for_the_pause() -> None:
    world = World(endpoint("chat", patient(), entity("two", 0), fallback=True))
    query = Query(world)
    world.transport.last.whole(FAILED, 500)
    world.gateway.abandon()
    assert query.status == 503
    world.clock.move(100)
    assert len(world.transport.sent) == 1
    assert world.at_rest()


def test_a_provider_that_asks_for_time_gets_it() -> None:
    world = World(endpoint("chat", patient()))
    Query(world)
    busy(world.transport.last, 3)
    world.clock.move(2.9)
    assert len(world.transport.sent) == 1
    world.clock.move(0.1)
    assert len(world.transport.sent) == 2


def test_one_that_asks_for_too_much_is_left_for_the_next() -> None:
    world = World(endpoint("chat", patient(), entity("two", 0), fallback=True))
    query = Query(world)
    busy(world.transport.last, 9)
    assert hosts(world) == ["one", "two"]
    world.transport.last.whole(ANSWER)
    assert query.status == 200


def test_and_when_there_is_no_next_the_caller_hears_when_to_come_back() -> None:
    world = World(endpoint("chat", patient()))
    query = Query(world)
    busy(world.transport.last, 60)
    assert (query.status, query.headers["retry-after"]) == (429, "60")
    assert "x-tesela-attempts" not in query.headers


def test_all_attempts_at_an_entity_share_its_time() -> None:
    world = World(endpoint("chat", patient(count=5, total_s=10.0)))
    query = Query(world)
    world.clock.move(4)
    busy(world.transport.last, 2)
    world.clock.move(2)
    sent = world.transport.last
    assert len(world.transport.sent) == 2
    assert sent.upstream.timeouts.total_s == pytest.approx(4.0)
    world.clock.move(3)
    busy(sent, 2)
    assert query.status == 429, "in two seconds there would be no time left"
    assert world.at_rest()


def test_a_place_under_a_limit_is_given_back_in_the_pause() -> None:
    one = patient()
    limited = msgspec.structs.replace(one, upstream=msgspec.structs.replace(one.upstream, limit=1))
    world = World(endpoint("chat", limited))
    first = Query(world)
    world.transport.last.whole(FAILED, 500)
    second = Query(world)
    taken = world.transport.last
    assert Query(world).status == 429
    world.clock.move(1)
    assert first.status == 429, "its place is taken, and there is nowhere else to go"
    taken.whole(ANSWER)
    assert second.status == 200
    assert world.at_rest()


# ------------------------------------------------------------ what is told


def test_one_attempt_says_nothing_of_attempts() -> None:
    world = World(three())
    query = Query(world)
    world.transport.last.whole(ANSWER)
    assert "x-tesela-attempts" not in query.headers


def test_more_are_in_a_header_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    world = World(three())
    query = Query(world, stream=True)
    with caplog.at_level(logging.INFO, "tesela.gateway"):
        world.clock.move(0.25)
        world.transport.last.fail(UpstreamTimeout("late"))
        world.transport.last.head(200, SSE).fail(UpstreamProtocolError("garbage"))
        world.clock.move(1)
        world.transport.last.stream(*GOOD)
    assert query.headers["x-tesela-attempts"] == "one=timeout, two=broken, three=200"
    assert caplog.messages == [
        "request id-00000001: endpoint chat: one timeout after 250 ms, two broken after 0 ms, three 200 after 1000 ms"
    ]


def test_when_all_fail_the_header_says_so_and_a_caller_that_left_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(three())
    query, other = Query(world), Query(world)
    for _ in range(3):
        world.transport.last.whole(FAILED, 500)
    assert other.headers["x-tesela-attempts"] == "one=500, two=500, three=500"
    with caplog.at_level(logging.INFO, "tesela.gateway"):
        world.transport.sent[0].fail(GONE)
        assert query.invocation is not None
        query.invocation.cancel()
    assert caplog.messages[-1].endswith("one unavailable after 0 ms, two cancelled after 0 ms")


# ------------------------------------------------------------ one that asked to be left alone


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", [lambda seconds: seconds, lambda seconds: formatdate(time() + seconds, usegmt=True)])
def test_it_is_not_the_first_to_be_asked_until_then(status: int, form: Any) -> None:
    world = World(three())
    Query(world)
    busy(world.transport.last, form(100), status)
    world.transport.last.whole(ANSWER)
    Query(world)
    assert hosts(world) == ["one", "two", "two"]
    busy(world.transport.last, form(500), status)
    assert hosts(world)[-1] == "three", "those that asked come last"
    world.transport.last.whole(FAILED, 500)
    assert hosts(world)[-1] == "one"
    world.transport.last.whole(ANSWER)
    world.clock.move(102)
    Query(world)
    assert hosts(world)[-1] == "one"


def test_without_another_it_is_asked_all_the_same() -> None:
    for point in (endpoint("chat"), endpoint("chat", entity("one"), entity("two", 0))):
        world = World(point)
        for _ in range(2):
            query = Query(world)
            busy(world.transport.last, 100)
            assert (query.status, query.headers["retry-after"]) == (429, "100")
        assert hosts(world) == ["one", "one"]


def test_what_was_asked_for_is_forgotten_when_it_is_over() -> None:
    world = World(three())
    Query(world)
    busy(world.transport.last, 5)
    world.transport.last.whole(ANSWER)
    assert len(world.gateway.ailing) == 1
    world.clock.move(6)
    Query(world)
    world.transport.last.whole(ANSWER)
    assert not world.gateway.ailing


# ------------------------------------------------------------ the breaker


def broken(world: World, count: int = 5) -> None:
    for _ in range(count):
        query = Query(world)
        world.transport.last.whole(FAILED, 500)
        if query.state == "waiting":
            world.transport.last.whole(ANSWER)


def test_an_upstream_that_fails_and_fails_is_not_called_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    broken(world)
    assert "the provider at one.test, model one-model: the breaker is open for 10 s" in caplog.messages[-2]
    assert "5 of 5 calls failed, the last one: status 500" in caplog.messages[-2]
    assert world.gateway.health.breakers(world.gateway.snapshot.endpoints["chat"]) == {"one": True}
    world.clock.move(4)
    query = Query(world)
    assert len(world.transport.sent) == 5
    assert (query.status, query.headers["retry-after"]) == (503, "6")
    assert query.error["error_code"] == "TEMPORARILY_UNAVAILABLE"
    for part in ("one.test", "open for 4 s", "5 of 5 calls failed", "status 500", "in 6 s"):
        assert part in query.error["message"]
    assert "it broke" not in query.error["message"], "what a provider said to one caller is not another's to read"
    assert world.at_rest()
    # One at a time may look whether it is well again.
    world.clock.move(6)
    probe, other = Query(world), Query(world)
    assert (probe.state, other.status, other.headers["retry-after"]) == ("waiting", 503, "1")
    world.transport.last.whole(FAILED, 500)
    assert "stays open" in caplog.text
    assert Query(world).status == 503
    world.clock.move(10)
    Query(world)
    world.transport.last.whole(ANSWER)
    assert caplog.messages[-1].endswith("the breaker is closed again")
    assert world.gateway.health.breakers(world.gateway.snapshot.endpoints["chat"]) == {"one": False}
    assert not world.gateway.ailing
    assert Query(world).state == "waiting"


def test_it_is_passed_over_for_the_next_and_does_not_count_as_one() -> None:
    names = ("one", "two", "three", "four", "five")
    world = World(endpoint("chat", *(entity(name, 0 if name != "one" else 100) for name in names), fallback=True))
    broken(world)
    world.transport.sent.clear()
    query = Query(world)
    for _ in range(3):
        world.transport.last.whole(FAILED, 503)
    assert hosts(world) == ["two", "three", "four"]
    assert query.headers["x-tesela-attempts"] == "two=503, three=503, four=503"


def test_when_all_are_open_the_one_that_is_tried_first_says_so() -> None:
    world = World(endpoint("chat", entity("one"), entity("two", 0), fallback=True))
    for _ in range(5):
        Query(world)
        world.transport.last.whole(FAILED, 500)
        world.clock.move(0.5)
        world.transport.last.whole(FAILED, 500)
    query = Query(world)
    assert (query.status, query.headers["retry-after"]) == (503, "10")
    assert "one.test" in query.error["message"]
    assert len(world.transport.sent) == 10


def test_one_that_opens_meanwhile_is_passed_over_too() -> None:
    world = World(endpoint("chat", entity("one"), entity("two", 0), fallback=True), endpoint("other", entity("two")))
    query = Query(world)
    first = world.transport.last
    for _ in range(5):
        Query(world, model="other")
        world.transport.last.fail(GONE)
    first.whole(FAILED, 500)
    assert (query.status, query.error["message"]) == (502, "it broke"), "what went wrong is told, not who was not asked"
    assert world.at_rest()


def test_a_pause_ends_at_a_breaker_that_opened_in_it() -> None:
    world = World(endpoint("chat", patient(), entity("two", 0), fallback=True))
    queries = [Query(world) for _ in range(5)]
    for sent in list(world.transport.sent):
        sent.whole(FAILED, 500)
    world.clock.move(8)
    assert hosts(world) == ["one"] * 5 + ["two"] * 5
    for sent in world.transport.sent[5:]:
        sent.whole(ANSWER)
    assert all(query.status == 200 for query in queries)


@pytest.mark.parametrize("status", [429, 401, 403, 400, 404])
def test_what_a_healthy_provider_answers_opens_nothing(status: int) -> None:
    world = World()
    broken(world, 0)
    for _ in range(20):
        Query(world)
        world.transport.last.whole(FAILED, status)
    assert len(world.transport.sent) == 20
    assert not world.gateway.ailing


def test_a_probe_that_is_refused_shows_that_somebody_is_there() -> None:
    world = World()
    broken(world)
    world.clock.move(10)
    Query(world)
    world.transport.last.whole(FAILED, 400)
    assert not world.gateway.ailing


def test_a_stream_closes_it_with_its_first_event() -> None:
    world = World()
    broken(world)
    world.clock.move(10)
    query = Query(world, stream=True)
    assert Query(world).status == 503
    world.transport.last.head(200, SSE).data(GOOD[0])
    assert Query(world).state == "waiting"
    world.transport.sent[5].data(GOOD[1]).data(GOOD[2]).data(GOOD[3])
    assert query.state == "closed"


def test_a_probe_gives_its_place_up_whatever_becomes_of_it() -> None:
    def refuses(call: Call) -> Exchange:
        if call.streaming:
            raise InvalidRequest("no")
        return Exchange("/x", b"{}", False)

    def leaves(query: Query) -> None:
        assert query.invocation is not None
        query.invocation.cancel()

    def faults(query: Query) -> None:
        query.invocation.on_failure(TeselaError("a fault of ours"))  # type: ignore[union-attr]

    for end in (leaves, faults):
        world = World()
        broken(world)
        world.clock.move(10)
        probe = Query(world)
        assert Query(world).status == 503
        end(probe)
        assert Query(world).state == "waiting"
    world = World(endpoint("chat", entity(provider="odd")), providers={"odd": Provider("odd", {Task.CHAT: refuses})})
    broken(world)
    world.clock.move(10)
    assert Query(world, stream=True).status == 400
    assert Query(world).state == "waiting"


def test_endpoints_share_an_upstream_and_its_breaker_but_not_with_another_key() -> None:
    def keyed(name: str, key: str) -> Endpoint:
        upstream = Upstream(Origin("https", "api.test", 443), "m", headers=(("authorization", f"Bearer {key}"),))
        return endpoint(name, entity("e", upstream=upstream))

    world = World(keyed("chat", "k1"), keyed("same", "k1"), keyed("other", "k2"))
    broken(world)
    assert Query(world, model="same").status == 503
    assert Query(world, model="other").state == "waiting"
    assert "k1" not in Query(world, model="same").body.decode()


@pytest.mark.parametrize("origin", [Origin(unix="/run/x.sock"), Origin("scripted", "s")])
def test_local_engines_and_scripted_models_have_none(origin: Origin) -> None:
    world = World(endpoint("chat", entity(upstream=Upstream(origin, "m"))))
    for _ in range(20):
        Query(world)
        world.transport.last.whole(FAILED, 503, {b"retry-after": b"9"})
    assert len(world.transport.sent) == 20
    assert not world.gateway.ailing
    assert world.gateway.health.breakers(world.gateway.snapshot.endpoints["chat"]) == {}


def test_upstreams_that_nobody_calls_any_more_are_forgotten() -> None:
    world = World(*(endpoint(f"e{i}", entity(f"one{i}")) for i in range(50)))
    for i in range(50):
        Query(world, model=f"e{i}")
        world.transport.last.fail(GONE)
        world.clock.move(31)
    assert len(world.gateway.ailing) == 1
