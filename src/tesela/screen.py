"""What `tesela serve` says to the person who started it.

The banner goes to standard output in lines that can be pasted; everything on the way goes to standard error.
"""

import os
import shlex
import shutil
import sys
from typing import TextIO

STAGES = {
    "resolve": "looking it up",
    "download": "fetching",
    "verify": "checking",
    "copy": "copying",
    "prepare": "preparing",
    "waiting": "waiting for another process that fetches it",
}


class Screen:
    """Writes for a terminal when there is one, and plain lines otherwise."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._last = ("", "")
        self._open = False

    def note(self, text: str) -> None:
        self._end_line()
        print(f"tesela: {text}", file=self._err, flush=True)

    def progress(self, name: str, stage: str, done: int, total: int) -> None:
        """One line for each stage; on a terminal it is drawn over with how far the stage has got."""
        word = STAGES.get(stage, stage)
        if self._last != (name, stage):
            self._end_line()
            self._last = (name, stage)
            if not self._err.isatty():
                size = f" ({total / 1e6:.0f} MB)" if total and stage == "download" else ""
                print(f"tesela: {name}: {word}{size}", file=self._err, flush=True)
        if self._err.isatty():
            self._open = True
            part = f" {_bar(done / total)} {done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else ""
            self._err.write(f"\r\x1b[Ktesela: {name}: {word}{part}")
            self._err.flush()

    def banner(self, version: str, url: str, access_token: str | None, models: list[str], page: str = "") -> None:
        self._end_line()
        program = "tesela" if shutil.which("tesela") else shlex.quote(os.path.abspath(sys.argv[0]))
        lines = [
            f"Tesela {version} is ready at {url}",
            "",
            *((f"  open {page}", "    (it signs you in once, within the hour)", "") if page else ()),
            f"  export DATABRICKS_HOST={url}",
            f"  export DATABRICKS_TOKEN={access_token}" if access_token else f"  # a token: {program} tokens create",
            "",
        ]
        if models:
            hint = f'  try: {program} query {models[-1]} "Hello"   (Ctrl-C here stops the server)'
            lines += ["  local models: " + ", ".join(models), hint, ""]
        print("\n".join(lines), file=self._out, flush=True)

    def stopping(self) -> None:
        self._end_line()
        print("tesela: stopping", file=self._err, flush=True)

    def _end_line(self) -> None:
        if self._open:
            self._open = False
            self._err.write("\n")
            self._err.flush()


def _bar(share: float, width: int = 24) -> str:
    full = int(min(1.0, share) * width)
    return "[" + "=" * full + " " * (width - full) + "]"
