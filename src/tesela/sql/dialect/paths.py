"""Where a statement may read and write: below the roots that the server allows, and nowhere else.

A local path counts where it really leads, after `..` and links.  What is not clearly below a root is refused.
"""

import os
import posixpath
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tesela.sql.site import PlanSettings

GLOB = re.compile(r"[*?\[{]")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")
REMOTE = frozenset(
    {"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "az", "azure", "wasb", "wasbs", "hdfs", "oss", "cos"}
)


S3 = frozenset({"s3", "s3a", "s3n"})
"""Names of one and the same store."""


class Outside(ValueError):
    """The path does not lie below a root; the message is the rest of a sentence that begins with the path."""


def allowed(path: str, settings: PlanSettings) -> str:
    """The path as the engine gets it.  Raises Outside."""
    if not path or "\x00" in path or any(ord(one) < 32 for one in path):
        raise Outside("is no path")
    if _SCHEME.match(path):
        return _with_scheme(path, settings)
    return _local(path, settings)


def _with_scheme(path: str, settings: PlanSettings) -> str:
    parts = urlsplit(path)
    scheme = parts.scheme.lower()
    if scheme == "dbfs" and not parts.netloc:
        raise Outside("is in DBFS, which is not there: name a folder of the server, or a URL of an object store")
    if scheme == "file":
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
            raise Outside("is a file URL that names more than a path")
        return _local(unquote(parts.path), settings)
    if scheme not in REMOTE:
        raise Outside(f"begins with {scheme}:, which is no file system that is read here")
    if "?" in path or "#" in path or "%" in path or "\\" in path or "@" in parts.netloc.rpartition("@")[0]:
        raise Outside("has characters that a path in an object store cannot have here: one of ? # % \\")
    if "{" in path:
        # An engine spells the alternatives out before it reads the path: {..,x} is a way up.
        raise Outside("has braces, which match several paths: read them one by one")
    if any(part in ("..", ".") for part in parts.path.split("/")):
        raise Outside("has .. in it: name the place itself")
    plain = f"{scheme}://{parts.netloc}{posixpath.normpath(parts.path) if parts.path else ''}"
    for root in settings.roots:
        if _SCHEME.match(root) and below(one_scheme(plain), one_scheme(root.rstrip("/"))):
            return plain
    raise Outside(told(settings))


def in_store(path: str) -> bool:
    """Whether it is a URL of an object store."""
    return bool(_SCHEME.match(path)) and urlsplit(path).scheme.lower() in REMOTE


def one_scheme(url: str) -> str:
    scheme, colon, rest = url.partition(":")
    return f"s3{colon}{rest}" if scheme.lower() in S3 else url


def _local(path: str, settings: PlanSettings) -> str:
    if path.startswith("~"):
        raise Outside("begins with ~: name the folder itself")
    if "{" in path:
        raise Outside("has braces, which match several paths: read them one by one")
    whole = Path(path) if path.startswith("/") else Path(settings.warehouse) / path
    if ".." in whole.parts:
        raise Outside("has .. in it: name the place itself")
    fixed = fixed_part(whole)
    real = fixed.resolve()
    roots = [Path(one).resolve() for one in (settings.warehouse, *settings.roots) if not _SCHEME.match(one)]
    if not within(real, roots):
        raise Outside(told(settings))
    if fixed != whole or real.is_dir():
        no_way_out(real, roots)
    rest = whole.parts[len(fixed.parts) :]
    return str(real.joinpath(*rest))


def fixed_part(path: Path) -> Path:
    """The folders before the first wildcard."""
    out = Path(path.parts[0])
    for part in path.parts[1:]:
        if GLOB.search(part):
            break
        out = out / part
    return out


MOST = 100_000


def no_way_out(folder: Path, roots: Sequence[Path]) -> None:
    """Look at all links below a folder, and below the folders that they lead to.  Raises Outside.

    The engine follows links: a link below a root is a way out of it.
    """
    count, seen, left = 0, {str(folder)}, [str(folder)]
    while left:
        # What this user cannot list, the engine cannot either.
        with suppress(OSError), os.scandir(left.pop()) as entries:
            for one in entries:
                count += 1
                if count > MOST:
                    raise Outside(f"has more than {MOST} files below it: name a narrower path")
                if one.is_symlink():
                    real = os.path.realpath(one.path)
                    if not within(Path(real), roots):
                        raise Outside(f"leads through a link out of the roots, to {real}")
                    if real not in seen and os.path.isdir(real):
                        seen.add(real)
                        left.append(real)
                elif one.is_dir(follow_symlinks=False) and one.path not in seen:
                    seen.add(one.path)
                    left.append(one.path)


def within(path: Path, roots: Sequence[Path]) -> bool:
    return any(path == root or root in path.parents for root in roots)


def below(path: str, root: str) -> bool:
    return path == root or path.startswith(root + "/")


def told(settings: PlanSettings) -> str:
    roots = ", ".join([settings.warehouse, *settings.roots])
    return f"is not below a folder that statements may use: they are {roots} (the server's setting is sql.roots)"
