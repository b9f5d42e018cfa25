"""What identities may be called, how many there may be and what their tokens may be: limits, and no database."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from tesela.errors import InvalidRequest
from tesela.snapshot import Kind

ADMINS = "admins"
USERS = "users"
FIXED = frozenset({ADMINS, USERS})
"""The groups that are always there."""

NAME_MAX = 256
DETAILS_MAX = 32 * 1024
MEMBERS_MAX = 10_000
MOST: dict[Kind, int] = {"user": 10_000, "service_principal": 10_000, "group": 5_000}
"""How many of each kind there may be: lists are made and filtered in memory."""

COMMENT_MAX = 1024
LIFETIME_MAX_S = 100 * 365 * 86_400
"""Of an access token."""

CALLED: dict[Kind, str] = {"user": "user", "service_principal": "service principal", "group": "group"}
NAMED_BY: dict[Kind, str] = {"user": "userName", "service_principal": "applicationId", "group": "displayName"}
"""The field of the API that holds the name."""

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)


def possible_id(value: str) -> bool:
    """Whether an id can be one at all: what cannot is not looked for, so no database has to cope with it."""
    return _ID.fullmatch(value) is not None


def possible_text(value: str) -> bool:
    return len(value) <= NAME_MAX and _UNPRINTABLE.search(value) is None


def text(value: str, field: str, most: int = NAME_MAX) -> str:
    """Text that can be kept and shown.  Raises InvalidRequest that names the field."""
    if len(value) > most:
        raise InvalidRequest(f"{field!r} has {len(value)} characters, and {most} are allowed", param=field)
    found = _UNPRINTABLE.search(value)
    if found is not None:
        raise InvalidRequest(f"{field!r} has a character that cannot be shown ({found[0]!r})", param=field)
    return value


def name(kind: Kind, value: str) -> str:
    """The name as it is kept.  Raises InvalidRequest."""
    field = NAMED_BY[kind]
    checked = text(value, field).strip()
    if not checked:
        raise InvalidRequest(f"{field!r} is missing: a {CALLED[kind]} needs one", param=field)
    return _FORMS[kind](checked)


def external_id(value: str | None) -> str | None:
    """Raises InvalidRequest."""
    return None if value is None else text(value, "externalId")


def same_name(kind: Kind, value: str) -> str:
    """The form in which a name is looked for; no error for one that cannot be."""
    return value if kind == "group" else value.lower()


def details(value: dict[str, Any]) -> str:
    """The rest of an identity as JSON.  Raises InvalidRequest."""
    encoded = msgspec.json.encode(value)
    if len(encoded) > DETAILS_MAX:
        raise InvalidRequest(
            f"emails, name, entitlements and roles together take {len(encoded)} bytes, and {DETAILS_MAX} are allowed"
        )
    return encoded.decode()


def _user_name(value: str) -> str:
    if _EMAIL.fullmatch(value) is None:
        raise InvalidRequest("'userName' must be an e-mail address, such as alice@example.com", param="userName")
    return value.lower()


def _application_id(value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError as exc:
        raise InvalidRequest(
            "'applicationId' must be a UUID; leave it out and one is made", param="applicationId"
        ) from exc


_FORMS: dict[Kind, Callable[[str], str]] = {"user": _user_name, "service_principal": _application_id, "group": str}
