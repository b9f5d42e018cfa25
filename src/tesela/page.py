"""The session of the web pages: a cookie whose value is an access token, which counts only beside a header of theirs.
Here for all that have to do with them, as is the folder that they are built into.

A page of another site can make a browser send the cookie, but not the header: for that the browser would ask us first
(CORS), and we never say yes.  https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from pathlib import Path

STATIC = Path(__file__).parent / "static"
"""The web pages, as the package's build leaves them."""
HEADER = b"x-tesela-page"
SAME = (b"same-origin", b"none")
"""What a browser says of a request that no other site made (https://w3c.github.io/webappsec-fetch-metadata/)."""


def cookie_name(workspace_id: str) -> str:
    """Cookies know no ports: servers beside each other on one machine must not take each other's."""
    return f"tesela_session_{workspace_id}"


def bear(headers: dict[bytes, bytes], name: bytes) -> bool:
    """Whether there was a session's access token that became the bearer, which it does unless there is one."""
    if HEADER not in headers or b"authorization" in headers or headers.get(b"sec-fetch-site", SAME[0]) not in SAME:
        return False
    token = value(headers.get(b"cookie", b""), name)
    if token:
        headers[b"authorization"] = b"Bearer " + token
    return bool(token)


def value(cookies: bytes, name: bytes) -> bytes:
    """The value of one cookie of a Cookie header (RFC 6265, section 5.4); empty when it is not there."""
    for pair in cookies.split(b";"):
        key, found, content = pair.partition(b"=")
        if found and key.strip() == name:
            return content.strip()
    return b""
