"""One server: which one, with which token, and what its refusals mean.

Every failure becomes one sentence that says what to do.  Nothing is retried: that is for whoever knows what is asked.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import requests
import urllib3.exceptions
from requests.auth import AuthBase

from tesela.errors import (
    ConfigError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)

CONNECT_S = 10.0
READ_S = 600.0
READ_BYTES = 65536

LOOPBACK = {"localhost", "127.0.0.1", "::1"}

HINTS = {
    401: "Pass --token, or set DATABRICKS_TOKEN; `tesela tokens create` makes one.",
    429: "Try again a little later.",
    503: "Try again a little later.",
}
MISSING = (
    ("/api/2.0/preview/scim/", "`tesela principals list` shows who there is."),
    ("/api/2.0/secrets/", "`tesela secrets scopes list` shows what there is."),
    ("/api/2.0/permissions/", "`tesela principals list` shows who there is."),
    ("", "`tesela endpoints list` shows what there is."),
)
"""What to say when something is not there, by how the path begins."""


class Bearer(AuthBase):
    """As an object and not as a header, because requests lets an entry of ~/.netrc replace a header."""

    def __init__(self, access_token: str) -> None:
        if not (access_token.isascii() and access_token.isprintable() and " " not in access_token):
            raise ConfigError(
                "the access token holds a blank, a line break or characters beyond ASCII: it was copied wrongly"
            )
        self.access_token = access_token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.access_token}"
        return request


class Remote:
    """One server and the token to show it; `renew` gives another one when that has ended."""

    def __init__(self, host: str, access_token: str, renew: Callable[[], str | None] | None = None) -> None:
        self.host = host
        self.access_token = access_token
        self.session = session(host)
        self.session.auth = Bearer(access_token)
        self._renew = renew

    def get(self, path: str, **query: Any) -> Any:
        """The answer; what is None in the query is left out."""
        given = {name: found for name, found in query.items() if found is not None}
        return self.send("GET", f"{path}?{urlencode(given)}" if given else path)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self.send("POST", path, body)

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer, None when it has no body."""
        with self._call(method, path, body) as response:
            return None if response.status_code == requests.codes.no_content else _json(response)

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
        """The pieces of an answer's body as they arrive."""
        with self._call("POST", path, body) as response, plain_failures(self.host):
            yield _as_they_come(response)

    @contextmanager
    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Iterator[requests.Response]:
        response = self._answered(method, path, body)
        if response.status_code == requests.codes.unauthorized and self._renew is not None:
            response.close()
            self.access_token = self._renew() or self.access_token
            self.session.auth = Bearer(self.access_token)
            response = self._answered(method, path, body)
        with response:
            if response.status_code >= 400:
                raise _refusal(response)
            yield response

    def _answered(self, method: str, path: str, body: Mapping[str, Any] | None) -> requests.Response:
        with plain_failures(self.host):
            return self.session.request(
                method,
                self.host + path,
                json=body,
                timeout=(CONNECT_S, READ_S),
                stream=True,
            )


def session(host: str) -> requests.Session:
    made = requests.Session()
    # A proxy has no business between two programs on one machine.
    made.trust_env = urlsplit(host).hostname not in LOOPBACK
    return made


def _as_they_come(response: requests.Response) -> Iterator[bytes]:
    # Not iter_content: it waits for a full piece, or for the end, when the body has no chunks.
    while piece := response.raw.read1(READ_BYTES, decode_content=True):
        yield piece


def endpoint_path(name: str) -> str:
    return "/api/2.0/serving-endpoints/" + quote(name, safe="")


def invocations_path(name: str) -> str:
    return "/serving-endpoints/" + quote(name, safe="") + "/invocations"


def connect(host: str | None, access_token: str | None, environ: Mapping[str, str] = os.environ) -> Remote:
    """The server that the flags name, else the local one with the access token that `tesela serve` keeps at home.

    A service principal's id and secret in the environment come before that token, and after one that was given.
    """
    from tesela.client import oauth
    from tesela.config import load

    if host and access_token:
        return Remote(_with_scheme(host), access_token)
    config = load(None, environ, {})
    configured = _local_address(config.settings.host, config.settings.port)
    chosen = _with_scheme(host) if host else _kept(config.home, "address") or configured
    renew: Callable[[], str | None] | None = None
    if not access_token:
        access_token = oauth.access_token(chosen, environ)
        renew = (lambda: oauth.access_token(chosen, environ)) if access_token else None
    if not access_token and urlsplit(chosen).hostname in LOOPBACK:
        access_token = _kept(config.home, "token")
    if not access_token:
        raise ConfigError(
            f"there is no access token for {chosen}: pass --token or set DATABRICKS_TOKEN, "
            "or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET"
        )
    return Remote(chosen, access_token, renew)


def _local_address(host: str, port: int) -> str:
    """Where a client on this machine finds a server that listens on `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound here
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _with_scheme(host: str) -> str:
    """As the Databricks SDK reads it: an address without a scheme is https, but on this machine, where `serve` speaks
    http."""
    host = host.rstrip("/")
    if "://" in host:
        return host
    return ("http://" if urlsplit("//" + host).hostname in LOOPBACK else "https://") + host


def _kept(home: Path, name: str) -> str | None:
    """What a server on this machine left in its home: `address` while it runs, `token` when it listens on loopback."""
    try:
        return (home / name).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError(f"{home / name} cannot be read: {exc.strerror}") from exc


def _json(response: requests.Response) -> Any:
    with plain_failures(response.url):
        body = response.content
    try:
        return response.json()
    except requests.JSONDecodeError as exc:
        raise UpstreamProtocolError(
            f"{response.url} answered {len(body)} bytes that are not JSON: is this the address of a serving host?"
        ) from exc


@contextmanager
def plain_failures(host: str) -> Iterator[None]:
    try:
        yield
    except requests.exceptions.SSLError as exc:
        raise UpstreamUnavailable(
            f"{host} does not offer a valid TLS certificate: {_innermost(exc)}; a server without TLS wants http://"
        ) from exc
    except (
        requests.exceptions.ReadTimeout,
        urllib3.exceptions.ReadTimeoutError,
    ) as exc:
        raise UpstreamTimeout(f"{host} sent nothing for {READ_S:.0f} seconds") from exc
    except (
        requests.exceptions.ChunkedEncodingError,
        urllib3.exceptions.HTTPError,
    ) as exc:
        raise UpstreamProtocolError(f"{host} ended the answer in the middle") from exc
    except requests.exceptions.ConnectionError as exc:
        hint = "is `tesela serve` running?" if urlsplit(host).hostname in LOOPBACK else "is the address right?"
        raise UpstreamUnavailable(f"cannot reach {host} ({_innermost(exc)}): {hint}") from exc
    except requests.exceptions.RequestException as exc:
        raise ConfigError(f"{host!r} cannot be called: {exc}") from exc


def _innermost(exc: BaseException) -> str:
    """The operating system's own words, out of the layers that requests and urllib3 wrap around them."""
    seen: BaseException = exc
    while True:
        reason = getattr(seen, "reason", None)
        inner = reason if isinstance(reason, BaseException) else seen.__cause__ or seen.__context__
        if inner is None or (isinstance(seen, OSError) and seen.strerror):
            break
        seen = inner
    return (seen.strerror if isinstance(seen, OSError) and seen.strerror else str(seen)).lower()


def _refusal(response: requests.Response) -> UpstreamError:
    sentence = message_of(response.content, response.reason)
    address = response.url.partition("?")[0]
    hint = HINTS.get(response.status_code, "")
    if response.status_code == requests.codes.not_found:
        path = urlsplit(address).path
        hint = next(text for start, text in MISSING if path.startswith(start))
    text = f"{address} answered {response.status_code}: {sentence}"
    if hint:
        text = f"{text.rstrip('.')}. {hint}"
    return UpstreamRejected(text, upstream_status=response.status_code)


def message_of(body: bytes, otherwise: str) -> str:
    """The sentence in an error's body: Databricks' `message`, or OpenAI's `error.message`."""
    try:
        decoded = json.loads(body)
    except ValueError:
        return otherwise
    if not isinstance(decoded, dict):
        return otherwise
    inner = decoded.get("error")
    found = inner.get("message") if isinstance(inner, dict) else decoded.get("message") or inner
    return str(found) if found else otherwise
