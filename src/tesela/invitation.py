"""One-time codes: the address that `tesela serve` prints signs its reader in, once.

A code is a file of the run folder, named by the code's digest.  Whoever removes the file has used the code: of two who
try at once, one gets it, in whichever worker.
"""

import hashlib
import secrets
from pathlib import Path

import msgspec

LIFETIME_S = 3600.0
PREFIX = "invitation-"


class Invitation(msgspec.Struct, frozen=True):
    """Whom a code signs in, and until when (seconds since the epoch)."""

    principal_id: str
    expires: float


def invite(run_dir: Path, principal_id: str, now: float) -> str:
    """A new code.  The code itself is kept nowhere."""
    code = secrets.token_urlsafe(24)
    file = _file(run_dir, code)
    part = file.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_bytes(msgspec.json.encode(Invitation(principal_id, now + LIFETIME_S)))
    part.replace(file)
    return code


def take(run_dir: Path, code: str, now: float) -> str | None:
    """The id of the principal whom the code signs in; None for one that was used, is too old or never was."""
    file = _file(run_dir, code)
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Invitation)
        file.unlink()
    except FileNotFoundError:
        return None
    return found.principal_id if now < found.expires else None


def _file(run_dir: Path, code: str) -> Path:
    return run_dir / (PREFIX + hashlib.sha256(code.encode()).hexdigest())
