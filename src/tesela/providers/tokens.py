"""Where short-lived tokens come from: the forms that issuers take, whom to send them to, and what they answer."""

import hashlib
from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from tesela.errors import TeselaError, UpstreamProtocolError, UpstreamUnauthorized, UpstreamUnavailable
from tesela.serving import Asking, Granted, Origin, Step, Timeouts, TokenSource, Upstream

FORM = ("content-type", "application/x-www-form-urlencoded")
LIMITS = Timeouts(connect_s=10.0, first_byte_s=30.0, idle_s=30.0, total_s=30.0)
"""An issuer answers in a second.  Calls wait for it, so it gets less time than a model."""
USUAL_S = 300.0
"""How long a token is good for when its issuer does not say (RFC 6749, section 5.1, only recommends that)."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Told(msgspec.Struct):
    access_token: str
    expires_in: float = USUAL_S


class _Refusal(msgspec.Struct):
    error: str = ""


_told = msgspec.json.Decoder(_Told, strict=False)
_refusal = msgspec.json.Decoder(_Refusal)


def asking(source: TokenSource, now: int) -> Asking:
    """The conversation that leads to a token of this source."""
    return _posted(source, now) if source.ask is None else source.ask(now)


def _posted(source: TokenSource, now: int) -> Asking:
    status, body = yield Step(source.upstream, source.form(now))
    if status != 200:
        raise objection(source.issuer, status, _word(body))
    try:
        told = _told.decode(body)
    except UNREADABLE:
        text = f"{source.issuer} was asked for a token and answered without one"
        raise UpstreamProtocolError(text) from None
    if not sendable(told.access_token):
        raise UpstreamProtocolError(f"{source.issuer} gave a token that cannot be sent")
    return Granted(told.access_token, told.expires_in)


def _word(body: bytes) -> str:
    try:
        return _refusal.decode(body).error
    except UNREADABLE:
        return ""


def sendable(token: str) -> bool:
    """Whether a token can stand in a header."""
    return token.isascii() and token.isprintable() and bool(token.strip())


def objection(issuer: str, status: int, word: str = "") -> TeselaError:
    """A 4xx is about the credentials, whatever else the issuer means: the request is always the same."""
    if 400 <= status < 500 and status not in (408, 429):
        named = f"status {status}, {word[:100]}" if word.isprintable() and word else f"status {status}"
        text = f"{issuer} refused this endpoint's credentials ({named}); the endpoint's owner must mend them"
        return UpstreamUnauthorized(text, upstream_status=status)
    text = f"{issuer} gave no token for this endpoint (status {status})"
    return UpstreamUnavailable(text, retry_after_s=1, upstream_status=status)


def issuer_at(origin: Origin, path: str, *headers: tuple[str, str]) -> Upstream:
    """The address of an issuer, for a `TokenSource`."""
    return Upstream(origin, "", path, (FORM, *headers), LIMITS)


def client_credentials(
    issuer: str, origin: Origin, path: str, fields: Mapping[str, str], headers: tuple[tuple[str, str], ...] = ()
) -> TokenSource:
    """A token for a client's id and secret (RFC 6749, section 4.4), which stand in the form or in a header."""
    form = urlencode({"grant_type": "client_credentials", **fields}).encode()
    return TokenSource(
        issuer_at(origin, path, *headers), lambda _: form, fingerprint(origin, path, form, headers), issuer
    )


def fingerprint(origin: Origin, path: str, *secrets: object) -> str:
    """Equal for equal credentials at one issuer, and nothing that could be turned back into them."""
    told = repr((origin.scheme, origin.authority, path, *secrets)).encode()
    return hashlib.blake2b(told, digest_size=16).hexdigest()
