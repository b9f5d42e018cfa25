"""Seals what must not lie in the database in plain: AES-256-GCM with the master key.

A sealed value is bound to its place (`context`), so it cannot be moved to another row and be opened there.
"""

import hmac
import os
from typing import Any

from tesela.errors import ConfigError

KEY_BYTES = 32
NONCE_BYTES = 12
FORMAT = b"\x01"
"""The first byte of a sealed value: how it was made."""
OVERHEAD = len(FORMAT) + NONCE_BYTES + 16
"""Bytes that a sealed value is longer; the last 16 are GCM's tag."""


class Vault:
    """Seals and opens with one key of 32 bytes."""

    __slots__ = ("_key", "_made")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ConfigError(f"the master key must have {KEY_BYTES} bytes, and this one has {len(key)}")
        self._key = key
        self._made: Any = None

    @property
    def _cipher(self) -> Any:
        """Loaded when it is needed: it takes 60 ms and 9 MB, which a process that seals nothing need not pay."""
        if self._made is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._made = AESGCM(self._key)
        return self._made

    def seal(self, value: bytes, context: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return FORMAT + nonce + bytes(self._cipher.encrypt(nonce, value, context.encode()))

    def unseal(self, sealed: bytes, context: str) -> bytes:
        """Raises ConfigError when it was sealed with another key, for another place, or was changed since."""
        from cryptography.exceptions import InvalidTag

        if sealed[:1] != FORMAT:
            raise ConfigError("a sealed value has a form that this version does not know")
        start = 1 + NONCE_BYTES
        try:
            return bytes(self._cipher.decrypt(sealed[1:start], sealed[start:], context.encode()))
        except (InvalidTag, ValueError) as exc:  # ValueError: it was cut short within the nonce
            raise ConfigError(
                "a sealed value cannot be opened: the master key is not the one it was sealed with"
            ) from exc

    def __repr__(self) -> str:
        return "Vault(***)"


def mark(key: bytes) -> bytes:
    """What tells a master key from another and says nothing of either: keys are random, so this cannot be guessed."""
    return hmac.digest(key, b"tesela master key", "sha256")
