"""`tesela endpoints permissions`: who may see, query and manage an endpoint."""

from typing import Any, NamedTuple
from urllib.parse import quote

import click

from tesela.cli import connection, screen
from tesela.client import remote
from tesela.errors import NotFound, Unsupported

PATH = "/api/2.0/permissions/serving-endpoints/"
FIELDS = {"user": "user_name", "group": "group_name", "service-principal": "service_principal_name"}
LEVELS = ("CAN_VIEW", "CAN_QUERY", "CAN_MANAGE")


class Who(NamedTuple):
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


class Someone(click.ParamType[Who]):
    """`user:ann@example.com`."""

    name = "kind:name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Who:
        kind, _, name = str(value).partition(":")
        if kind not in FIELDS or not name:
            self.fail(f"{value!r} must be like user:ann@example.com, group:NAME or service-principal:ID", param, ctx)
        return Who(kind, name)


class Grant(click.ParamType[tuple[Who, str]]):
    """`user:ann@example.com=CAN_QUERY`."""

    name = "kind:name=level"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Who, str]:
        who, _, level = str(value).rpartition("=")
        if level not in LEVELS:
            self.fail(f"{value!r} must end with one of ={', ='.join(LEVELS)}", param, ctx)
        return Someone().convert(who, param, ctx), level


@click.command("permissions")
@click.argument("name")
@click.option("--grant", "grants", type=Grant(), multiple=True, help="Give a level, such as group:users=CAN_QUERY.")
@click.option("--revoke", "revoked", type=Someone(), multiple=True, help="Take what somebody was given directly.")
@click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
@connection.options
def command(
    name: str,
    grants: tuple[tuple[Who, str], ...],
    revoked: tuple[Who, ...],
    as_json: bool,
    host: str | None,
    token: str | None,
) -> None:
    """Show who may see, query and manage an endpoint, after giving or taking what --grant and --revoke say.

    A user is named by user name, a group by name, a service principal by application id. The levels are CAN_VIEW,
    CAN_QUERY and CAN_MANAGE, each with those before it.

    \b
    Examples:
      tesela endpoints permissions mine
      tesela endpoints permissions mine --grant user:ann@example.com=CAN_QUERY --grant group:ops=CAN_MANAGE
      tesela endpoints permissions mine --revoke user:ann@example.com
    """
    server = remote.connect(host, token)
    # The paths of permissions go by the id, which a workspace wants and the name is not.
    id = server.get(remote.endpoint_path(name)).get("id")
    if not id:
        raise Unsupported(f"endpoint {name!r} has no id at {server.host}, so its permissions cannot be told")
    path = PATH + quote(id, safe="")
    answer = server.get(path)
    if grants or revoked:
        answer = _change(server, path, _given(answer), dict(grants), revoked, name)
    if as_json:
        screen.show_json(answer)
        return
    rows = []
    for line in answer.get("access_control_list", ()):
        kind, who = _who(line)
        for one in line.get("all_permissions", ()):
            shown = line.get("display_name") or ""
            inherited = "inherited" if one.get("inherited") else ""
            rows.append((kind, who, shown if shown != who else "", one["permission_level"], inherited))
    screen.show_table(("Kind", "Name", "Display name", "Level", ""), rows, empty="Nobody was given anything.")


def _change(
    server: remote.Remote,
    path: str,
    given: dict[Who, str],
    grants: dict[Who, str],
    revoked: tuple[Who, ...],
    endpoint: str,
) -> Any:
    """Adds where that is enough, which leaves alone what others change meanwhile; else says anew what everyone has."""
    missing = [who for who in revoked if who not in given]
    if missing:
        raise NotFound(f"{missing[0]} was not given anything on endpoint {endpoint!r} directly")
    lowered = [who for who, level in grants.items() if who in given and LEVELS.index(level) < LEVELS.index(given[who])]
    if not (revoked or lowered):
        return server.send("PATCH", path, _list(grants))
    kept = {who: level for who, level in given.items() if who not in revoked}
    return server.send("PUT", path, _list(kept | grants))


def _list(levels: dict[Who, str]) -> dict[str, Any]:
    entries = [{FIELDS[who.kind]: who.name, "permission_level": level} for who, level in levels.items()]
    return {"access_control_list": entries}


def _given(answer: dict[str, Any]) -> dict[Who, str]:
    """What was given directly."""
    out: dict[Who, str] = {}
    for line in answer.get("access_control_list", ()):
        direct = [one["permission_level"] for one in line.get("all_permissions", ()) if not one.get("inherited")]
        known = [level for level in direct if level in LEVELS]
        if known:
            out[_who(line)] = max(known, key=LEVELS.index)
    return out


def _who(line: dict[str, Any]) -> Who:
    return next((Who(kind, line[field]) for kind, field in FIELDS.items() if line.get(field)), Who("", ""))
