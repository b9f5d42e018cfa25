"""Room on the disk: asked for before something large is written, and named when it ran out all the same."""

import contextlib
import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tesela.errors import EngineError

#: (stage, done, total) in bytes; total 0 when it is not known.
Progress = Callable[[str, int, int], None]


def check_space(directory: Path, needed: int) -> None:
    """Raises EngineError when `directory` has not so many bytes free."""
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise EngineError(
            f"the disk is too full: {_mib(needed)} are needed in {directory}, {_mib(free)} are free; "
            "make room, or set TESELA_HOME to a larger disk"
        )


@contextlib.contextmanager
def explain_full_disk(directory: Path) -> Iterator[None]:
    """Turn the system's error for a full disk, which names no number, into one that does."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        free = shutil.disk_usage(directory).free
        raise EngineError(
            f"the disk became full while writing in {directory} ({_mib(free)} free); what came so far is kept: "
            "make room and run it again"
        ) from exc


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
