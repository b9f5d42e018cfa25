"""One file over HTTP: resumed where it stopped, checked before it counts, never half there under its real name."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import requests
import urllib3
from msgspec import Struct

from tesela.engine.disk import Progress, check_space, explain_full_disk
from tesela.errors import EngineError

_CHUNK_BYTES = 256 * 1024
_TIMEOUT_S = (20.0, 60.0)
_ATTEMPTS = 5


class Fetch(Struct, frozen=True, kw_only=True):
    """What to get.  Every digest in `sha256` must fit; `verify` is a file of certificates, "" for the usual ones."""

    url: str
    sha256: frozenset[str]
    verify: str = ""
    proxy: str = ""


class _Mark(Struct):
    """Beside a partial file: which file it is a part of."""

    url: str
    tag: str = ""


class _Retry(Exception):
    """The connection ended early; what came so far is kept."""


def download(fetch: Fetch, target: Path, progress: Progress, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Raises EngineError when it cannot be had, is not what was promised, or the disk is full.

    A partial file stays for the next time in every case but a wrong digest.
    """
    partial = target.with_name(target.name + ".partial")
    with explain_full_disk(target.parent):
        for attempt in range(_ATTEMPTS):
            resumed = partial.exists()
            try:
                digest = _attempt(fetch, partial, progress)
            except _Retry as exc:
                if attempt == _ATTEMPTS - 1:
                    raise EngineError(f"{fetch.url} could not be had: {exc}; run it again to go on") from exc
                pause(0.5 * 2**attempt)
                continue
            if all(digest == wanted for wanted in fetch.sha256):
                os.replace(partial, target)
                _mark(partial).unlink(missing_ok=True)
                return
            partial.unlink()
            # A part of an older file glued to a newer one: worth one more try from the start.
            if not resumed:
                raise EngineError(
                    f"{fetch.url} is not the file that was promised: its sha256 is {digest}, expected "
                    f"{' and '.join(sorted(fetch.sha256))}; it was thrown away"
                )
    raise EngineError(f"{fetch.url} could not be had in {_ATTEMPTS} attempts")


def _attempt(fetch: Fetch, partial: Path, progress: Progress) -> str:
    """Get what is missing.  Returns the sha256 of the whole."""
    have = partial.stat().st_size if partial.exists() else 0
    mark = _read_mark(partial)
    if mark.url != fetch.url:
        have = 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if mark.tag:
            headers["If-Range"] = mark.tag
    try:
        with requests.get(
            fetch.url,
            headers=headers,
            stream=True,
            timeout=_TIMEOUT_S,
            verify=fetch.verify or True,
            proxies={"http": fetch.proxy, "https": fetch.proxy} if fetch.proxy else None,
        ) as response:
            return _take(fetch, response, partial, have, progress)
    except requests.exceptions.SSLError as exc:
        raise EngineError(f"the certificate of {fetch.url} is not trusted: {exc}; see pip's setting 'cert'") from exc
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as exc:
        raise _Retry(str(exc)) from exc


def _take(fetch: Fetch, response: requests.Response, partial: Path, have: int, progress: Progress) -> str:
    status = response.status_code
    if status == requests.codes.requested_range_not_satisfiable:
        partial.unlink()
        raise _Retry("the server has not the part that is missing")
    if status >= 500 or status == requests.codes.too_many_requests:
        raise _Retry(f"the server answered {status}")
    if status not in (requests.codes.ok, requests.codes.partial_content):
        raise EngineError(f"{fetch.url} could not be had: the server answered {status} {response.reason}")
    begins = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if status == requests.codes.ok or begins != str(have):
        if status == requests.codes.partial_content:
            partial.unlink(missing_ok=True)
            raise _Retry("the server sent another part than was asked for")
        have = 0
    total = have + int(response.headers.get("Content-Length", 0))
    check_space(partial.parent, total - have)
    tag = response.headers.get("ETag", "")
    if not tag or tag.startswith("W/"):
        tag = response.headers.get("Last-Modified", "")
    _mark(partial).write_bytes(msgspec.json.encode(_Mark(fetch.url, tag)))
    digest = hashlib.sha256()
    with partial.open("r+b" if have else "wb") as file:
        while chunk := file.read(_CHUNK_BYTES) if have else b"":
            digest.update(chunk)
        # read1 gives what has come; the reads of requests wait for a full chunk and lose it when the connection ends.
        while chunk := response.raw.read1(_CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            have += len(chunk)
            progress("download", have, total)
        file.flush()
        os.fsync(file.fileno())
    if total > have:
        raise _Retry(f"it ended after {have} of {total} bytes")
    return digest.hexdigest()


def _mark(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _read_mark(partial: Path) -> _Mark:
    try:
        return msgspec.json.decode(_mark(partial).read_bytes(), type=_Mark)
    except (FileNotFoundError, msgspec.DecodeError):
        return _Mark("")
