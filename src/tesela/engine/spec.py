"""What an engine is, and what is known of it at a moment: two values that cross process borders as JSON.

Nothing here starts or asks anything.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

Kind = Literal["llama", "onnx", "command"]
#: Called by an engine, once, with what it knows of its model, when it can answer.
Announce = Callable[[dict[str, Any]], None]
Status = Literal["starting", "ready", "restarting", "failed", "stopped"]


class EngineSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One engine to run.

    `llama` and `onnx` listen on `socket` and ask for `key`.  `command` is any process that speaks the OpenAI
    protocol and answers 200 on /health when it is ready; in `argv` and `base_url` the words {port}, {socket} and {key}
    are replaced at each start, {port} by a free port of loopback.
    """

    name: str
    kind: Kind
    #: Path of the GGUF file (`llama`) or of the ONNX graph (`onnx`).
    model: str = ""
    #: Path of tokenizer.json; `onnx` only.
    tokenizer: str = ""
    #: Where callers connect.  "" means `<run_dir>/<name>.sock`.
    socket: str = ""
    key: str = ""
    #: Generations at the same time, and so the largest `n`; `llama` only.
    slots: int = 5
    #: Tokens for one request, prompt and answer together.  0 means what the model was trained for.
    context: int = 0
    #: Processor threads for one stream and for batches.  0 means half the cores, and all of them.
    threads: int = 0
    batch_threads: int = 0
    #: Resident memory above which the engine is replaced by a fresh one.  0 means no ceiling.
    memory_bytes: int = 0
    #: How long a stopping engine may finish what it has begun.
    drain_s: float = 30.0
    start_timeout_s: float = 120.0
    argv: tuple[str, ...] = ()
    #: Address of a `command`, without the path of the API: "http://127.0.0.1:{port}".  "" means `socket`.
    base_url: str = ""

    def __repr__(self) -> str:
        return f"EngineSpec(name={self.name!r}, kind={self.kind!r}, model={self.model!r}, key='***')"


class EngineState(Struct, frozen=True, kw_only=True):
    """What the supervisor knows of one engine.  `since` is the Unix time at which `status` began."""

    name: str
    status: Status
    since: float
    pid: int | None = None
    #: Times that a process of this engine had to be replaced unasked.
    restarts: int = 0
    #: Why it is not ready, or why it was last restarted; "" when there is nothing to say.
    message: str = ""
    rss_bytes: int = 0
    #: Socket to connect to; "" when `base_url` names a TCP address.
    socket: str = ""
    base_url: str = "http://localhost"
    key: str = ""
    #: Path of its log.
    log: str = ""
    #: What the child said of its model when it was ready: context, slots, dimensions …
    facts: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"EngineState(name={self.name!r}, status={self.status!r}, pid={self.pid}, message={self.message!r})"


def read_states(run_dir: Path) -> dict[str, EngineState]:
    """The engines as their supervisor last wrote them; none when it has not written yet."""
    try:
        raw = (run_dir / "engines.json").read_bytes()
    except FileNotFoundError:
        return {}
    return {state.name: state for state in msgspec.json.decode(raw, type=list[EngineState])}
