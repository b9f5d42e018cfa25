"""The owner's access token for as long as a statement takes.

A personal access token is good until it is revoked.  An OAuth token ends after an hour and statements run for longer,
so one of the same content and a new time is signed before it does: it ends with the principal, and with the client
secret that the first was got with, like any other.
"""

import secrets
from base64 import urlsafe_b64decode
from collections.abc import Callable

import msgspec

from tesela import signed
from tesela.signed import Claims

RENEW_S = 300
"""A token is replaced so long before its end."""
_claims = msgspec.json.Decoder(Claims).decode


class Bearers:
    """`sign` signs claims; `now` is in seconds since the epoch.  What is renewed was checked by a worker."""

    def __init__(self, sign: Callable[[Claims], str], now: Callable[[], float]) -> None:
        self._sign = sign
        self._now = now
        self._renewed: dict[str, tuple[str, Claims]] = {}

    def current(self, bearer: str) -> str:
        """The token to present instead of the one that the statement came with."""
        if "." not in bearer:
            return bearer
        token, claims = self._renewed.get(bearer) or (bearer, _read(bearer))
        if claims is None or claims.exp - self._now() > RENEW_S:
            return token
        now = int(self._now())
        fresh = msgspec.structs.replace(claims, iat=now, exp=now + signed.LIFETIME_S, jti=secrets.token_hex(16))
        token = self._sign(fresh)
        self._renewed[bearer] = (token, fresh)
        for old in [key for key, (_, kept) in self._renewed.items() if kept.exp < now - signed.LIFETIME_S]:
            del self._renewed[old]
        return token


def _read(token: str) -> Claims | None:
    part = token.split(".")[1]
    try:
        return _claims(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, msgspec.DecodeError):
        return None
