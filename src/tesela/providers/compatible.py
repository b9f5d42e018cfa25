"""Servers that speak OpenAI's form: OpenAI itself, and whatever a `custom` provider's URL points to.

Bytes pass both ways; all there is to know is where to send them and how the key is presented.
"""

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from tesela.errors import ConfigError
from tesela.providers.base import Call, Exchange, Provider
from tesela.providers.unified import exchange
from tesela.serving import Origin
from tesela.wire.tasks import PATH, Task

OPENAI_BASE = "https://api.openai.com/v1"

PORTS = {"http": 80, "https": 443, "http+unix": 0}
_HEADER_NAME = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


def address(url: str, place: str) -> tuple[Origin, str, str]:
    """(origin, path, query) of an API's URL.  A socket is written `http+unix://%2Fpath%2Fof%2Fthe.sock/v1`.

    `place` begins the sentence of the ConfigError that a useless URL raises.
    """
    if "@" in url.partition("//")[2].partition("/")[0]:
        raise ConfigError(f"{place}: a URL must not hold a user or password; give the key in its own field")
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as exc:
        raise ConfigError(f"{place}: {url!r} is not a URL: {exc}") from exc
    _check(parts, url, place)
    path = parts.path.rstrip("/")
    if parts.scheme == "http+unix":
        return Origin("http", "localhost", 80, unquote(parts.netloc)), path, parts.query
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    return Origin(scheme, parts.hostname or "", port or PORTS[scheme]), path, parts.query


def _check(parts: SplitResult, url: str, place: str) -> None:
    if parts.scheme not in PORTS or not parts.netloc:
        raise ConfigError(f"{place}: {url!r} must begin with http://, https:// or http+unix:// and name a host")
    if parts.fragment or any(c <= " " or c == "\x7f" for c in url.strip()):
        raise ConfigError(f"{place}: {url!r} holds a blank, a control character or a fragment")
    if parts.scheme != "http+unix" and not (parts.hostname and url.isascii()):
        raise ConfigError(f"{place}: {url!r} names no host, or one outside ASCII (write it in its xn-- form)")


def header(name: str, value: str, place: str) -> tuple[str, str]:
    """A header that can be sent.  Raises ConfigError for one that would break the request; never shows the value."""
    if not _HEADER_NAME.match(name):
        raise ConfigError(f"{place}: {name!r} is not the name of a header")
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise ConfigError(f"{place}: the key holds a line break, a blank at an end, or characters beyond ASCII")
    return name, value


def base(path: str) -> str | None:
    """The API's base path, from the path of the base or of one of its tasks; None for the path of something else.

    Users of `custom` write both `…/v1` and `…/v1/chat/completions`, and the path of another workspace's
    `…/invocations`, which has no base.
    """
    for tail in TAILS:
        if path.endswith(tail):
            return path.removesuffix(tail)
    return None if path.endswith("/invocations") else path


# The longest first: `/chat/completions` also ends in `/completions`.
TAILS = sorted(PATH.values(), key=len, reverse=True)


def verbatim(call: Call) -> Exchange:
    """Send to the upstream's URL itself, with no path of the task behind it."""
    found = exchange(call.task, call.document, call.streaming, call.upstream)
    found.path = ""
    return found


_PASS: Mapping[Task, None] = {Task.CHAT: None, Task.COMPLETIONS: None, Task.EMBEDDINGS: None}

OPENAI = Provider("openai", {**_PASS, Task.RESPONSES: None})
CUSTOM = Provider("custom", _PASS)
CUSTOM_VERBATIM = Provider("custom-verbatim", dict.fromkeys(_PASS, verbatim))
