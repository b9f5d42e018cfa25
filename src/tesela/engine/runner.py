"""The child process of one engine: `python -m tesela.engine.runner`.

It reads its spec (standard input's first line), hosts the engine, says so in one line of JSON on standard
output, and ends when its parent does: standard input at its end means that nobody is left to serve.  Everything else
that it or native code prints goes to standard error, which the supervisor keeps in a log.
"""

import os
import signal
import sys
from typing import Any

import msgspec

from tesela.engine.spec import EngineSpec
from tesela.errors import ConfigError


def main() -> int:
    answer = os.dup(1)
    os.dup2(2, 1)
    # Ctrl-C reaches every process of the terminal; what it means is decided by the parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)

    def say(**line: Any) -> None:
        os.write(answer, msgspec.json.encode(line) + b"\n")

    def announce(facts: dict[str, Any]) -> None:
        say(ready=True, pid=os.getpid(), facts=facts)

    try:
        spec = msgspec.json.decode(_first_line(0), type=EngineSpec)
        match spec.kind:
            case "llama":
                from tesela.engine import llama

                return llama.serve(spec, announce)
            case "onnx":
                from tesela.engine import onnx

                return onnx.serve(spec, announce)
            case "command":
                from tesela.engine import command

                return command.serve(spec, announce)
    except ConfigError as exc:
        # Starting again would end the same way, so the supervisor gets the sentence instead of a dead process.
        say(ready=False, error=exc.message)
        return 1


def _first_line(fd: int) -> bytes:
    """Read without a buffer: whatever follows belongs to the thread that waits for the end."""
    line = bytearray()
    while (byte := os.read(fd, 1)) not in (b"", b"\n"):
        line += byte
    return bytes(line)


if __name__ == "__main__":
    sys.exit(main())
