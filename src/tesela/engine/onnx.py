"""Embeddings: onnxruntime behind a small ASGI application on a Unix socket."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn

from tesela.engine.embeddings import MAX_INPUTS, Application
from tesela.engine.encoder import Batcher, Encoder
from tesela.engine.parent import die_with_parent
from tesela.engine.spec import Announce, EngineSpec

#: The gateway decides when an idle connection closes; this only has to be longer.
_KEEP_ALIVE_S = 600
_BACKLOG = 1024


def serve(spec: EngineSpec, announce: Announce) -> int:
    die_with_parent()
    # numpy's own algebra is not used; its library would start a thread for each core when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    encoder = Encoder(spec)
    # The first run plans memory and starts threads; a caller should not wait for that.
    encoder.embed(encoder.tokenise(["ready"]))
    facts = {"context": encoder.context, "dimensions": encoder.dimensions, "max_inputs": MAX_INPUTS}
    config = uvicorn.Config(
        Application(spec.name, spec.key, Batcher(encoder)),
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(spec.drain_s)),
    )
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(spec.socket)
    listener.listen(_BACKLOG)
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_Server(config, announce, facts).serve([listener]))
    return 0


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


class _Server(uvicorn.Server):
    """Says when it is ready, and leaves Ctrl-C to the parent."""

    def __init__(self, config: uvicorn.Config, announce: Announce, facts: dict[str, int]) -> None:
        super().__init__(config)
        self._announce = announce
        self._facts = facts

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._end)
        yield

    def _end(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.should_exit:
            sys.exit(1)
        self._announce(self._facts)
