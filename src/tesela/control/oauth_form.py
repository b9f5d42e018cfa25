"""What is asked of OAuth's token endpoint, read from the form and checked (RFC 6749, RFC 9396).

Pure.  What is refused is refused in OAuth's own words, which are all that clients read there; no description repeats
what was sent, for it may hold a secret.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_plus

import msgspec

from tesela.signed import ALL, AT, QUERY, SERVING, WORKSPACE, Detail

Form = Mapping[str, str]

CLIENT_CREDENTIALS = "client_credentials"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GRANTS = (CLIENT_CREDENTIALS, JWT_BEARER)

FIELDS = 32
DETAILS_BYTES = 8 * 1024
"""With more the token would not fit into the heads that servers and proxies accept."""

SCOPES = frozenset({
    "all-apis", "offline_access", "openid", "profile", "email", "access-management", "alerts", "apps",
    "authentication", "billing", "clean-rooms", "cleanrooms", "clusters", "command-execution", "dashboards",
    "database", "dataclassification", "dataquality", "environments", "feature-store", "files", "forecasting",
    "genie", "global-init-scripts", "iam", "identity", "instance-pools", "instance-profiles", "jobs",
    "knowledge-assistants", "libraries", "marketplace", "mlflow", "model-serving", "model-serving-inference",
    "networking", "notebooks", "notifications", "pipelines", "policies", "postgres", "provisioning",
    "qualitymonitor", "query-history", "scim", "secrets", "settings", "sharing", "sql", "tags", "tokens",
    "unity-catalog", "vector-search", "workspace",
})  # fmt: skip
"""Names of https://docs.databricks.com/api/workspace/scopes.  What they allow here: `tesela.signed`."""


class Refused(Exception):
    """A refusal in OAuth's shape: a code of RFC 6749, section 5.2, or of RFC 9396, section 5.

    `challenge` is what goes into WWW-Authenticate: there when the client used that header.
    """

    def __init__(self, code: str, description: str, status: int = 400, challenge: str = "") -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.status = status
        self.challenge = challenge


class Shown(NamedTuple):
    """What a client says of itself.  `challenge` is for the answer when it is wrong."""

    client_id: str
    secret: str
    challenge: str = ""

    def __repr__(self) -> str:
        return f"Shown({self.client_id!r})"

    def refused(self) -> Refused:
        return wrong_client("the client id or secret is wrong, or the secret has expired", self.challenge)


def wrong_client(description: str, challenge: str = "") -> Refused:
    return Refused("invalid_client", description, 401, challenge)


def read(body: bytes) -> Form:
    """The parameters of a form.  Empty ones count as left out (RFC 6749, section 3.2).  Raises Refused."""
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS)
    except ValueError as exc:
        raise Refused(
            "invalid_request", f"the form cannot be read: it takes at most {FIELDS} parameters, in UTF-8"
        ) from exc
    form: dict[str, str] = {}
    for name, value in pairs:
        if name in form:
            raise Refused("invalid_request", "a parameter is given twice")
        form[name] = value
    return {name: value for name, value in form.items() if value}


def grant(form: Form) -> str:
    """The grant type.  Raises Refused."""
    found = form.get("grant_type")
    if found is None:
        raise Refused("invalid_request", "grant_type is missing: send it in a form (application/x-www-form-urlencoded)")
    if found not in GRANTS:
        raise Refused("unsupported_grant_type", f"grant_type can be {GRANTS[0]} or {GRANTS[1]} here")
    if "assume_group" in form:
        raise Refused("invalid_request", "assume_group is not possible here")
    return found


def client(authorization: str | None, form: Form) -> Shown | None:
    """The client that shows itself, by basic authentication or in the form; None when there is no secret in either."""
    scheme, _, rest = (authorization or "").strip().partition(" ")
    named, secret = form.get("client_id"), form.get("client_secret")
    if scheme.lower() != "basic":
        if secret is None:
            return None
        if named is None:
            raise wrong_client("client_id is missing")
        return Shown(named, secret)
    challenge = 'Basic realm="tesela"'
    try:
        user, colon, password = b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError) as exc:
        raise wrong_client("the Authorization header is not valid basic authentication", challenge) from exc
    if not (user and colon and password):
        raise wrong_client("basic authentication takes the client id and the client secret", challenge)
    # Both are written as in a form (RFC 6749, section 2.3.1).
    shown = Shown(unquote_plus(user), unquote_plus(password), challenge)
    if secret is not None:
        raise Refused("invalid_request", "the client shows itself twice: in the Authorization header and in the form")
    if named is not None and named != shown.client_id:
        raise Refused("invalid_request", "client_id is another one than in the Authorization header")
    return shown


def scope(form: Form) -> str:
    """The scopes asked for, with single spaces; all when none are named.  Raises Refused."""
    asked = form.get("scope", ALL).split()
    if not asked or not SCOPES.issuperset(asked):
        raise Refused("invalid_scope", "scope has a name that is not known here; all-apis is the one for everything")
    return " ".join(dict.fromkeys(asked))


def details(form: Form) -> tuple[Detail, ...]:
    """What the token is to be restricted to; empty for nothing.  Raises Refused."""
    text = form.get("authorization_details")
    if text is None:
        return ()
    if len(text) > DETAILS_BYTES:
        raise Refused("invalid_request", f"authorization_details is longer than {DETAILS_BYTES // 1024} KiB")
    try:
        found = msgspec.convert(msgspec.json.decode(text), tuple[Detail, ...])
    except msgspec.ValidationError as exc:
        says = "must be a list of objects with type, object_type, object_path and a list of actions"
        raise _wrong_details(says) from exc
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise Refused("invalid_request", "authorization_details is not valid JSON") from exc
    if not found:
        raise _wrong_details("is an empty list: name the endpoints")
    for one in found:
        for wrong, says in WRONG:
            if wrong(one):
                raise _wrong_details(says)
    return found


def _wrong_details(says: str) -> Refused:
    return Refused("invalid_authorization_details", f"authorization_details {says}")


WRONG: tuple[tuple[Callable[[Detail], bool], str], ...] = (
    (lambda one: one.type != WORKSPACE, f"has a type other than {WORKSPACE}"),
    (lambda one: one.object_type != SERVING, f"has an object_type other than {SERVING}"),
    (lambda one: not one.object_path.startswith(AT), f"has an object_path that does not begin with {AT}"),
    (lambda one: set(one.actions) != {QUERY}, f"has actions other than {QUERY}"),
)
