"""An engine's log: what native code printed, within a limit, and its last words for the error message."""

import contextlib
import os
import shutil
from pathlib import Path

LIMIT_BYTES = 4 * 2**20
_TAIL_BYTES = 4096
_LONGEST_LINE = 300


def open_log(path: Path) -> int:
    """A descriptor that appends to `path`.  What an earlier run left is kept beside it, as `<path>.1`, when large."""
    path.parent.mkdir(parents=True, exist_ok=True)
    trim(path)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def trim(path: Path, limit: int = LIMIT_BYTES) -> None:
    """Start the file anew when it is above `limit`.

    Copied and cut, not renamed: a running engine keeps its descriptor, and appending follows the cut.
    """
    if path.exists() and path.stat().st_size > limit:
        # On a full disk the copy fails, and cutting is what helps.
        with contextlib.suppress(OSError):
            shutil.copyfile(path, path.with_name(path.name + ".1"))
        os.truncate(path, 0)


def last_line(path: Path, offset: int) -> str:
    """The last line after `offset` that is not empty, cut to 300 characters; "" when there is none."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(min(offset, end), end - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip()[:_LONGEST_LINE] for line in reversed(lines) if line.strip()), "")
