"""How a child ends with its parent: at once, and however the parent went."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """End this process when its parent is gone.

    On Linux the kernel does it (prctl(2), PR_SET_PDEATHSIG: the signal comes when the *thread* that started us ends,
    so the supervisor's loop must live as long as its process).  Elsewhere, and when the parent died before we asked,
    the end of standard input tells.
    """
    kill_with_parent()
    on_orphaned(lambda: os._exit(0))


def kill_with_parent() -> None:
    """Ask the kernel for SIGKILL at the parent's death; survives exec.  Does nothing where there is no such call."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def on_orphaned(action: Callable[[], None]) -> None:
    """Call `action` in a thread when standard input ends."""

    def watch() -> None:
        # Not sys.stdin.buffer: its lock would be held for ever, and the interpreter aborts on that when it exits.
        while os.read(0, 4096):
            pass
        action()

    threading.Thread(target=watch, name="parent", daemon=True).start()
