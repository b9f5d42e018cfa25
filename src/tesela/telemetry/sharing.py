"""Several workers' activity: each leaves what it remembers in a file of the run folder, and reads those of all."""

import asyncio
import logging
import threading
from pathlib import Path

import msgspec

from tesela.telemetry.activity import Activity, Series, merged

PACE_S = 2.0
PREFIX = "activity-"
SUFFIX = ".part"

_log = logging.getLogger("tesela.telemetry")
_decoder = msgspec.msgpack.Decoder(dict[str, Series])


class Shared:
    """The activity of this worker (`number`) and of its siblings."""

    def __init__(self, own: Activity, run_dir: Path, number: int, *, alone: bool) -> None:
        self._own = own
        self._run_dir = run_dir
        self._file = run_dir / f"{PREFIX}{number}"
        self._alone = alone
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Leave what is new in the file, from a thread.  Who is alone tells nobody."""
        if not self._alone:
            # One that was killed left what it knew under this number; what is told must not change with who is asked.
            self._file.unlink(missing_ok=True)
            self._thread = threading.Thread(target=self._publish, args=(loop,), name="activity", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._file.unlink(missing_ok=True)

    def of(self, endpoint: str) -> Series:
        """What all workers remember of an endpoint.  Reads files; `settle` the own activity first, on its loop."""
        own = self._own.series(endpoint)
        parts = [own] if own is not None else []
        if not self._alone:
            parts += [found for file in self._siblings() if (found := _read(file, endpoint)) is not None]
        return merged(parts)

    def settle(self) -> None:
        self._own.settle()

    def _siblings(self) -> list[Path]:
        found = self._run_dir.glob(f"{PREFIX}*")
        return [one for one in found if one != self._file and one.suffix != SUFFIX]

    def _publish(self, loop: asyncio.AbstractEventLoop) -> None:
        told = 0
        while not self._stop.wait(PACE_S):
            try:
                loop.call_soon_threadsafe(self._own.settle)
            except RuntimeError:
                return  # The loop has ended, and this worker with it.
            if self._own.changes == told:
                continue
            told = self._own.changes
            known = {name: one for name in self._own.endpoints() if (one := self._own.series(name)) is not None}
            part = self._file.with_suffix(SUFFIX)
            try:
                part.write_bytes(msgspec.msgpack.encode(known))
                part.replace(self._file)
            except OSError as exc:
                _log.warning("what this worker has done cannot be told to the others: %s", exc.strerror or exc)


def _read(file: Path, endpoint: str) -> Series | None:
    try:
        return _decoder.decode(file.read_bytes()).get(endpoint)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, ValueError) as exc:
        _log.warning("the activity of another worker cannot be read: %s", exc)
        return None
