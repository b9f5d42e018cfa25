"""Amazon's signature of a request, version 4: pure arithmetic over what is sent and the time.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

import msgspec

ALGORITHM = "AWS4-HMAC-SHA256"
TYPE = ("content-type", "application/json")


class Signer(msgspec.Struct, frozen=True):
    """The access key of an account, and what its signatures are good for.  The secret half is never sent."""

    access_key: str
    secret_key: str
    region: str
    session_token: str | None = None
    service: str = "bedrock"

    def __repr__(self) -> str:
        return f"Signer({self.region}, {self.service})"

    def headers(self, host: str, path: str, body: bytes, now: int) -> tuple[tuple[str, str], ...]:
        """What a POST of JSON gets beside its usual headers.  `path` is as it is sent, `now` in seconds."""
        time = stamp(now)
        added = [("x-amz-date", time)]
        if self.session_token is not None:
            added.append(("x-amz-security-token", self.session_token))
        given = [("host", host), TYPE, *added]
        return (*added, ("authorization", self.authorization("POST", path, "", given, body, time)))

    def authorization(
        self, method: str, path: str, query: str, headers: Iterable[tuple[str, str]], body: bytes, time: str
    ) -> str:
        """The value of the `authorization` header.  `query` is in its canonical form, `headers` are those to sign."""
        named = sorted((name.lower(), " ".join(content.split())) for name, content in headers)
        names = ";".join(name for name, _ in named)
        request = canonical(method, path, query, named, names, body)
        place = f"{time[:8]}/{self.region}/{self.service}/aws4_request"
        text = f"{ALGORITHM}\n{time}\n{place}\n{sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self.key(time[:8]), text.encode(), "sha256").hex()
        return f"{ALGORITHM} Credential={self.access_key}/{place}, SignedHeaders={names}, Signature={signature}"

    def key(self, day: str) -> bytes:
        """The key of one day (YYYYMMDD), region and service."""
        found = f"AWS4{self.secret_key}".encode()
        for part in (day, self.region, self.service, "aws4_request"):
            found = hmac.digest(found, part.encode(), "sha256")
        return found


def stamp(now: int) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")


def canonical(method: str, path: str, query: str, headers: list[tuple[str, str]], names: str, body: bytes) -> str:
    """The request in the form that both sides hash.  The path, encoded already, is encoded once more."""
    lines = "".join(f"{name}:{content}\n" for name, content in headers)
    return "\n".join((method, quote(path, safe="/-._~"), query, lines, names, sha256(body).hexdigest()))
