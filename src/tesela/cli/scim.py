"""Users, groups and service principals as a server tells them over SCIM: found by name, listed page by page."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tesela.client.remote import Remote
from tesela.errors import NotFound, UpstreamProtocolError

Json = dict[str, Any]

PATH = "/api/2.0/preview/scim/v2"
PAGE = 500
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class Kind(NamedTuple):
    """`called` is the field that holds the name, `found_by` those by which one may be named."""

    path: str
    called: str
    found_by: tuple[str, ...]
    words: str


KINDS = {
    "user": Kind("Users", "userName", ("userName",), "user"),
    "group": Kind("Groups", "displayName", ("displayName",), "group"),
    "service-principal": Kind(
        "ServicePrincipals", "applicationId", ("applicationId", "displayName"), "service principal"
    ),
}


def everyone(server: Remote, kind: str, wanted: str | None = None) -> Iterator[Json]:
    """All of a kind, or those that a filter is true of, however many the server gives at once."""
    start = 1
    while True:
        path = f"{PATH}/{KINDS[kind].path}"
        answer = server.get(path, filter=wanted, startIndex=start, count=PAGE)
        found = answer.get("Resources") or []
        yield from found
        start += len(found)
        if not found or start > answer.get("totalResults", 0):
            return


def find(server: Remote, kind: str, name: str) -> Json:
    """The one with this name.  Raises NotFound when there is none, or when it is not one."""
    words = KINDS[kind].words
    for field in KINDS[kind].found_by:
        found = list(everyone(server, kind, f"{field} eq {json.dumps(name, ensure_ascii=False)}"))
        if len(found) > 1:
            ids = ", ".join(str(one[KINDS[kind].called]) for one in found)
            raise NotFound(f"there is more than one {words} {name!r}; say which by its id: {ids}")
        if found:
            return dict(found[0])
    raise NotFound(f"there is no {words} {name!r}; `tesela principals list` shows who there is")


def create(server: Remote, kind: str, name: str, display_name: str) -> Json:
    """A service principal is given its application id by the server: its name is what it is shown as."""
    body = {"displayName": name} if kind != "user" else {"userName": name, "displayName": display_name}
    made = server.post(f"{PATH}/{KINDS[kind].path}", {key: value for key, value in body.items() if value})
    if not isinstance(made, dict) or not made.get("id"):
        raise UpstreamProtocolError(f"{server.host} made a {KINDS[kind].words} and did not tell its id")
    return made


def delete(server: Remote, kind: str, id: str) -> None:
    server.send("DELETE", f"{PATH}/{KINDS[kind].path}/{id}")


def add_members(server: Remote, group: Json, ids: list[str]) -> None:
    _patch(server, group, {"op": "add", "path": "members", "value": [{"value": one} for one in ids]})


def remove_members(server: Remote, group: Json, ids: list[str]) -> None:
    for one in ids:
        _patch(server, group, {"op": "remove", "path": f'members[value eq "{one}"]'})


def _patch(server: Remote, group: Json, operation: Json) -> None:
    server.send("PATCH", f"{PATH}/Groups/{group['id']}", {"schemas": [PATCH], "Operations": [operation]})
