"""Three numbers that all processes of one server share, so that each sees at once that something has changed.

They lie in a file of the run folder that everyone maps.  Reading them costs a memory access, so a worker may look as
often as it likes, and no database is asked on the path of a request.  The parent, which polls the store, puts right
what two writers at once got wrong.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

FILE = "bell"
_NUMBERS = struct.Struct("=qqq")


class Sound(NamedTuple):
    """The store's version, the number of the server's own state (its file and engines), and whether the store answers
    (1) or does not (0)."""

    version: int
    state: int
    well: int


class Bell:
    """`create` makes the file anew: the parent does that once."""

    def __init__(self, run_dir: Path, *, create: bool = False) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        descriptor = os.open(run_dir / FILE, flags, 0o600)
        try:
            if create:
                os.ftruncate(descriptor, _NUMBERS.size)
            self._memory = mmap.mmap(descriptor, _NUMBERS.size)
        finally:
            os.close(descriptor)
        if create:
            _NUMBERS.pack_into(self._memory, 0, 0, 0, 1)

    def hear(self) -> Sound:
        return Sound(*_NUMBERS.unpack_from(self._memory))

    def ring(self, version: int) -> None:
        """The store has reached this version."""
        if version > self.hear().version:
            struct.pack_into("=q", self._memory, 0, version)

    def next_state(self) -> None:
        """The server's own state has changed.  Only the parent says so."""
        struct.pack_into("=q", self._memory, 8, self.hear().state + 1)

    def well(self, well: bool) -> None:
        """Whether the store answers.  Only the parent says so."""
        struct.pack_into("=q", self._memory, 16, int(well))

    def close(self) -> None:
        self._memory.close()
