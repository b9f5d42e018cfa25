"""Any process that speaks the OpenAI protocol (vLLM, SGLang, llama-server), on a leash.

This process stays beside it: it says when the command is ready, hands it the signal to stop, and kills it with all
that it started when our parent is gone.
"""

import http.client
import os
import signal
import subprocess
import sys
import time

from tesela.engine.ask import connect
from tesela.engine.parent import kill_with_parent, on_orphaned
from tesela.engine.spec import Announce, EngineSpec
from tesela.errors import ConfigError

_POLL_S = 0.1


def serve(spec: EngineSpec, announce: Announce) -> int:
    on_orphaned(_kill_group)
    try:
        # The leash is a single thread until here but for the one that waits for the parent, which holds no lock.
        process = subprocess.Popen(  # noqa: S603  the command is the operator's own, from the configuration
            spec.argv,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            preexec_fn=kill_with_parent,
        )
    except OSError as exc:
        raise ConfigError(f"the command of {spec.name!r}, {spec.argv[0]!r}, cannot be started: {exc.strerror}") from exc
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while process.poll() is None and not _healthy(spec):
        time.sleep(_POLL_S)
    if process.returncode is None:
        announce({})
    status = process.wait()
    return 128 - status if status < 0 else status


def _healthy(spec: EngineSpec) -> bool:
    connection = connect(spec.base_url, spec.socket)
    try:
        connection.request("GET", "/health", headers={"Authorization": f"Bearer {spec.key}"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _kill_group() -> None:
    os.killpg(os.getpgid(0), signal.SIGKILL)
