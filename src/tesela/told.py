"""What the parent tells its workers: once at their start, and by files of the run folder while they live.

Apart from both, so that neither loads what only the other needs.
"""

import pickle
from pathlib import Path

import msgspec

from tesela.addresses import EngineAddress
from tesela.config import Config
from tesela.records import Contents
from tesela.wire.tasks import Task

STATE_FILE = "state"
TROUBLE_FILE = "trouble"
"""A sentence on what is wrong with the server, for `/health`; not there when all is well."""
SQL_SOCKET = "statements"
"""In the run folder: where the process that runs statements is asked.  What ends in `.sock` there is the engines'."""
READY = b"ready\n"
"""What a worker says on its standard output when it answers."""


class ServerState(msgspec.Struct, frozen=True):
    """What the parent tells its workers beside the store: the configuration in force, where engines answer, and the
    tasks of the models that could be started."""

    config: Config
    engines: dict[str, EngineAddress]
    models: dict[str, frozenset[Task]] = {}

    def __repr__(self) -> str:
        return f"ServerState({self.config!r})"


def write_state(run_dir: Path, state: ServerState) -> None:
    """Whole or not at all.  Keys are in it, and the folder is this user's alone."""
    part = run_dir / f"{STATE_FILE}.part"
    part.touch(mode=0o600)
    part.write_bytes(pickle.dumps(state))
    part.replace(run_dir / STATE_FILE)


def read_state(run_dir: Path) -> ServerState:
    # Only the parent can write in the run folder.
    state: ServerState = pickle.loads((run_dir / STATE_FILE).read_bytes())  # noqa: S301
    return state


class Start(msgspec.Struct, frozen=True):
    """What the parent tells a worker.

    `sound` is the bell's number of the state: a later one may be there before the worker listens.  `run_dir` is where
    the engines' states, the bell and the server's state are; `key` is the master key, and `secret` what the process
    that runs statements is shown.  `contents` are the store's, so that a worker can start, and answer, without it.
    """

    state: ServerState
    sound: int
    contents: Contents
    number: int
    descriptor: int
    run_dir: str
    key: bytes
    secret: str = ""

    def __repr__(self) -> str:
        return f"Start({self.number})"


class SqlStart(msgspec.Struct, frozen=True):
    """What the parent tells the process that runs statements.

    `host` and `port` are where the gateway answers on this machine; `descriptor` is the socket that workers ask on, and
    `secret` what they show; `key` is the master key.
    """

    config: Config
    host: str
    port: int
    descriptor: int
    run_dir: str
    key: bytes
    secret: str

    def __repr__(self) -> str:
        return "SqlStart(***)"
