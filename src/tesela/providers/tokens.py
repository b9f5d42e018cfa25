"""Where short-lived tokens come from: the forms that issuers of access tokens take, and whom to send them to."""

import hashlib
from collections.abc import Mapping
from urllib.parse import urlencode

from tesela.serving import Origin, Timeouts, TokenSource, Upstream

FORM = ("content-type", "application/x-www-form-urlencoded")
LIMITS = Timeouts(connect_s=10.0, first_byte_s=30.0, idle_s=30.0, total_s=30.0)
"""An issuer answers in a second.  Calls wait for it, so it gets less time than a model."""


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
