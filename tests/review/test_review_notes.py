"""What a provider says goes to the log in one line, and the first byte's time runs from the connection on."""

import asyncio
import logging
from typing import Any

import pytest

from tesela.errors import UpstreamFailed
from tesela.gateway.dial import Dialer
from tesela.gateway.refusal import note
from tesela.gateway.transport import Pools
from tesela.serving import Origin, Timeouts, Upstream


@pytest.mark.parametrize("said", ["no\nERROR tesela: all tokens leaked", "a\r\x1b[2Kb", "x" * 5000 + "\n"])
def test_a_providers_message_is_one_line_of_the_log(said: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tesela.gateway"):
        note(UpstreamFailed(said), "r-1", "m", "e")
    line = caplog.records[0].getMessage()
    assert line.isprintable()
    assert len(line) < 2200


def test_a_plain_message_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tesela.gateway"):
        note(UpstreamFailed("höher als 3"), "r-1", "m", "e")
    assert caplog.records[0].getMessage().endswith(" höher als 3")


class Heard:
    def __init__(self) -> None:
        self.failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    def __getattr__(self, name: str) -> Any:
        return {"on_failure": self.failed.set_result}[name]


def test_a_long_limit_for_connecting_does_not_lengthen_the_first_bytes(received: Any) -> None:
    async def main() -> None:
        over = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await received(reader)
            await over.wait()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        loop = asyncio.get_running_loop()
        pools = Pools(loop, Dialer(loop))
        there = Origin("http", "127.0.0.1", server.sockets[0].getsockname()[1])
        heard = Heard()
        limits = Timeouts(connect_s=60.0, first_byte_s=0.3)
        pools.send(Upstream(there, "m", timeouts=limits), "/chat/completions", (), b"{}", heard)
        async with asyncio.timeout(20):
            assert "did not begin to answer within 0.3 s" in str(await heard.failed)
        over.set()
        server.close()

    asyncio.run(main())
