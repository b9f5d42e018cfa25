"""From the caller's end to the provider's: a gateway with the real transport, whose upstream is a peer on loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from tests.fakes import ADMIN, FakeCaller, endpoint, snapshot
from tests.gateway.peers import Request, settled

from tesela.gateway import doors
from tesela.gateway.dial import Dialer
from tesela.gateway.invoke import Gateway
from tesela.gateway.transport import Pools
from tesela.providers.registry import PROVIDERS, ROWS, resolve
from tesela.serving import ExternalModel, ServedEntity, ServedEntityInput, Timeouts
from tesela.snapshot import Credential
from tesela.telemetry.tally import Tally

KEY = "sk-secret-0123456789"
SECRETS = {"env:KEY": KEY}


def served(
    provider: str, config: dict[str, Any], *, task: str = "llm/v1/chat", model: str = "m-1", name: str = "one"
) -> ServedEntity:
    """A served entity as a configuration makes it.  All but the one called `one` are there for fallback only."""
    fields = {"name": model, "provider": provider, "task": task, ROWS[provider].field: config}
    external = msgspec.convert(fields, ExternalModel)
    found = resolve(external, at="external_model", place=str, secrets=SECRETS, timeouts=Timeouts(connect_s=5.0))
    share = 100 if name == "one" else 0
    return ServedEntity(name, ServedEntityInput(name), found.provider, found.tasks, found.upstream, share, name)


class End:
    """A gateway with one endpoint, called `e`."""

    def __init__(self, *entities: ServedEntity) -> None:
        loop = asyncio.get_running_loop()
        self.pools = Pools(loop, Dialer(loop))
        one = endpoint("e", *entities, fallback=len(entities) > 1)
        self.gateway = Gateway(
            loop, snapshot(one), PROVIDERS, dict.fromkeys(("http", "https"), self.pools), Tally(), id_prefix="id-"
        )

    async def ask(self, body: dict[str, Any], path: str = "/v1/chat/completions") -> FakeCaller:
        """What the caller gets for a request, once it has all of it."""
        door = doors.find(path.encode())
        assert door is not None
        caller = FakeCaller()
        self.gateway.begin(caller, door, Credential(ADMIN), msgspec.json.encode({"model": "e", **body}))
        await settled(lambda: caller.state in ("answered", "closed", "aborted"))
        return caller


@contextlib.asynccontextmanager
async def ending(*entities: ServedEntity) -> AsyncIterator[End]:
    end = End(*entities)
    try:
        yield end
        assert not end.gateway.under_way
    finally:
        end.pools.close()
        await settled(lambda: True)


def events(body: bytes) -> list[Any]:
    """The data of a stream as the caller has it, without its end mark."""
    data = [part.removeprefix(b"data: ") for part in body.split(b"\n\n") if part]
    return [msgspec.json.decode(one) for one in data if one != b"[DONE]"]


def lines(request: Request) -> dict[str, str]:
    """The headers of a request that a peer has read, and its first line under the name of nothing."""
    first, *rest = request.head.decode("latin-1").rstrip().split("\r\n")
    found = {name.lower(): content for name, _, content in (line.partition(": ") for line in rest)}
    return {"": first, **found}


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunked(*pieces: bytes) -> bytes:
    """Pieces of a stream as chunks, with the last one (RFC 9112, section 7.1)."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
