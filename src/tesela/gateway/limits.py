"""The numbers that bound one request and one connection, and the errors that name them."""

import msgspec

from tesela.errors import InvalidRequest, TooLarge


class Limits(msgspec.Struct, frozen=True):
    """`max_body` in bytes.  `head_s` and `receive_s`: from the first byte of a request to the end of its head, and to
    its last byte.  `keep_alive_s`: how long an idle connection is kept; longer than the 55 s of common client pools,
    so that the client closes first."""

    max_body: int = 32 * 1024 * 1024
    head_s: float = 20.0
    receive_s: float = 120.0
    keep_alive_s: float = 75.0

    def check(self, length: int) -> None:
        """Raises TooLarge for a declared length beyond the limit."""
        if length > self.max_body:
            raise self.too_large()

    def too_large(self) -> TooLarge:
        return TooLarge(f"the request body is larger than the {self.max_body} bytes that this server takes")

    def check_encoding(self, encoding: bytes | None) -> None:
        """Raises InvalidRequest for a compressed body."""
        if encoding is not None and encoding.lower() != b"identity":
            name = encoding.decode("latin-1")
            raise InvalidRequest(f"the request body is compressed ({name}): send it as it is, without content-encoding")
