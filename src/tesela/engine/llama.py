"""Chat and completions: llama.cpp's own HTTP server, hosted by xllamacpp on a Unix socket.

Every setting below was measured (docs/concepts/engine.md).  Nothing here touches what is asked or answered: that is
the work of the gateway's provider.
"""

import os
import re
import signal
import socket
import threading
import time
from typing import Any, NoReturn

from tesela.engine.gguf import GGUFFacts, read_facts
from tesela.engine.parent import die_with_parent
from tesela.engine.spec import Announce, EngineSpec
from tesela.errors import ConfigError

#: llama.cpp prints its whole load at level 3, and several lines for every request; 2 leaves warnings and errors.
_VERBOSITY = 2
#: Each open or queued stream holds one HTTP thread; beyond those of the slots, so many wait or ask for /tokenize.
_SPARE_HTTP_THREADS = 32
_BUSY = re.compile(rb"^llamacpp:requests_(?:processing|deferred) ([1-9]\d*)", re.MULTILINE)
_POLL_S = 0.1
_ASK_S = 5.0


def serve(spec: EngineSpec, announce: Announce) -> NoReturn:
    die_with_parent()
    try:
        import xllamacpp
    except ImportError as exc:
        raise ConfigError(f"{spec.name!r} needs the local engine: pip install 'tesela[local]' ({exc})") from exc
    facts = read_facts(spec.model)
    server = xllamacpp.Server(_parameters(xllamacpp.CommonParams(), spec, facts))
    stop = threading.Event()
    # Only now: during the load there is nothing to finish, and a signal may end the process as it is.
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    announce(_announcement(spec, facts))
    stop.wait()
    _drain(spec)
    # The server's destructor waits for open requests without end: the process ends with the object alive.
    os._exit(0 if server else 1)


def _parameters(p: Any, spec: EngineSpec, facts: GGUFFacts) -> Any:
    cores = os.cpu_count() or 1
    p.model.path = spec.model
    p.model_alias = {spec.name}
    p.n_parallel = spec.slots
    # A total over the slots.  Each slot has its own part: with one common part (kv_unified) a request reads past
    # everyone's old tokens, and when the part is full every stream fails at once.
    p.n_ctx = (spec.context or facts.context_length) * spec.slots
    p.kv_unified = False
    # Fitting reads the model once more to see what a graphics card has room for; a warm-up clears all slots' memory
    # a second time, and the first request is as quick without it.
    p.fit_params = False
    p.warmup = False
    # More threads than this for a single stream collapse as soon as something else wants the processor.
    p.cpuparams.n_threads = spec.threads or max(1, cores // 2)
    p.cpuparams_batch.n_threads = spec.batch_threads or cores
    # The default is a cache of 8 GiB, and it fills.
    p.cache_ram_mib = 0
    p.n_threads_http = spec.slots + _SPARE_HTTP_THREADS
    # A path in place of a host: the server then opens a Unix socket and no TCP port at all.
    p.hostnames = [spec.socket]
    p.api_keys = [spec.key]
    p.endpoint_metrics = True
    p.ui = False
    p.verbosity = _VERBOSITY
    return p


def _announcement(spec: EngineSpec, facts: GGUFFacts) -> dict[str, Any]:
    return {
        "context": spec.context or facts.context_length,
        "slots": spec.slots,
        "architecture": facts.architecture,
        "model_name": facts.name,
        "parameters": facts.parameters,
        "chat_template": bool(facts.chat_template),
    }


def _drain(spec: EngineSpec) -> None:
    """Take no new connections, and wait until nothing runs or waits, at most `drain_s`."""
    deadline = time.monotonic() + spec.drain_s
    private = spec.socket + ".d"
    os.rename(spec.socket, private)
    try:
        while time.monotonic() < deadline and _BUSY.search(_metrics(private, spec.key)):
            time.sleep(_POLL_S)
    except OSError:
        # A server that no longer answers has nothing left to finish.
        return
    finally:
        os.unlink(private)


def _metrics(path: str, key: str) -> bytes:
    """By hand: an HTTP client would be imported at each start for this one question at the end."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ASK_S)
        connection.connect(path)
        connection.sendall(f"GET /metrics HTTP/1.0\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))
