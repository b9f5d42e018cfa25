"""One virtual environment per row, made by pip under `.conformance/` and kept until the row changes."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from conformance.rows import Row

INSTALL_S = 1800.0
STAMP = "made-from"


class Failed(Exception):
    """An environment could not be made; the text is pip's last line."""


def python_of(row: Row, folder: Path) -> Path:
    """The interpreter of the row's environment, which is made when it is not there or was made for something else.

    The stamp is written last, so that an environment whose making was cut short is made again.
    """
    place = folder / row.name
    python = place / "bin" / "python"
    wanted = hashlib.sha256("\n".join((sys.version, *row.requirements)).encode()).hexdigest()
    stamp = place / STAMP
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
        return python
    shutil.rmtree(place, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(place)], row)
    # The pip that comes with an older Python gives up on some of these resolutions.
    _run([str(python), "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1"], row)
    _run(
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--prefer-binary",
            *row.requirements,
        ],
        row,
    )
    stamp.write_text(wanted, encoding="ascii")
    return python


def _run(command: list[str], row: Row) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise Failed(f"{row.name}: {errors[-1] if errors else 'pip failed without a word'}")
