"""`tesela principals`: users, groups and service principals of a server, over its SCIM paths."""

import shlex
from typing import Any

import click

from tesela.cli import ask, connection, scim, screen
from tesela.cli.tokens import Duration
from tesela.client import remote
from tesela.client.remote import Remote
from tesela.errors import TeselaError, UpstreamProtocolError

Json = dict[str, Any]

SECRETS = "/api/2.0/accounts/servicePrincipals/{id}/credentials/secrets"

kind_argument = click.argument("kind", type=click.Choice(list(scim.KINDS)))
names_argument = click.argument("names", metavar="NAME...", nargs=-1, required=True)
lifetime_option = click.option(
    "--lifetime", type=Duration(), help="How long the secret is valid, such as 90d. Default: 730d."
)


@click.group("principals")
def command() -> None:
    """Show, make and delete users, groups and service principals.

    A user is named by user name, a group by name, a service principal by application id or by the name that it is
    shown under, when only one has it. Changes are for admins.

    \b
    Examples:
      tesela principals list
      tesela principals create user ann@example.com --group admins
      tesela principals create service-principal nightly --secret
    """


@command.command("list")
@click.argument("kind", type=click.Choice(list(scim.KINDS)), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@connection.options
def list_(kind: str | None, as_json: bool, host: str | None, token: str | None) -> None:
    """List who there is, or those of one KIND: their names and groups. --json has their ids too.

    \b
    Examples:
      tesela principals list
      tesela principals list service-principal --json
    """
    server = remote.connect(host, token)
    found = {one: list(scim.everyone(server, one)) for one in ([kind] if kind else scim.KINDS)}
    if as_json:
        screen.show_json({scim.KINDS[one].path: resources for one, resources in found.items()})
        return
    rows = [_row(one, resource) for one, resources in found.items() for resource in resources]
    columns = ("Kind", "Name", "Shown as", "State", "Groups")
    screen.show_table(columns, rows, empty="There is nobody.")


@command.command("create")
@kind_argument
@click.argument("name")
@click.option("--display-name", default="", help="What a user is shown as. Default: the user name.")
@click.option("--group", "groups", multiple=True, help="Group to add it to. May be given several times.")
@click.option("--secret", is_flag=True, help="Make an OAuth secret for a service principal, and print it.")
@lifetime_option
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON, the secret with it.")
@connection.options
def create(
    kind: str,
    name: str,
    display_name: str,
    groups: tuple[str, ...],
    secret: bool,
    lifetime: int | None,
    as_json: bool,
    host: str | None,
    token: str | None,
) -> None:
    """Make a user, a group or a service principal.

    With --secret a service principal is given an OAuth secret, and the lines are printed that a program needs to sign
    in as it. The secret is shown this once and cannot be had again.

    \b
    Examples:
      tesela principals create user ann@example.com --display-name "Ann"
      tesela principals create group data-scientists
      tesela principals create service-principal nightly --secret --lifetime 90d --group data-scientists
    """
    if secret and kind != "service-principal":
        raise click.UsageError(f"--secret is for service principals; a {kind} has none")
    if lifetime is not None and not secret:
        raise click.UsageError("--lifetime is that of a secret: pass --secret with it")
    if display_name and kind != "user":
        raise click.UsageError(f"--display-name is for users; NAME is what a {scim.KINDS[kind].words} is shown as")
    server = remote.connect(host, token)
    found = [scim.find(server, "group", group) for group in groups]
    made = scim.create(server, kind, name, display_name)
    called = made.get(scim.KINDS[kind].called, name)
    try:
        for group in found:
            scim.add_members(server, group, [made["id"]])
        value = _new_secret(server, made, lifetime) if secret else None
    except TeselaError:
        click.echo(f"{_called(kind, called)} was made, and what should follow was not:", err=True)
        raise
    if as_json:
        screen.show_json(made if value is None else {**made, "secret": value})
        return
    if value is None:
        click.echo(f"Made {_called(kind, called)}, id {made['id']}.")
        return
    _export(server, called, value)


@command.command("add-secret")
@click.argument("name")
@lifetime_option
@connection.options
def add_secret(name: str, lifetime: int | None, host: str | None, token: str | None) -> None:
    """Give a service principal one more OAuth secret, and print the lines to export.

    \b
    Examples:
      tesela principals add-secret nightly --lifetime 90d
    """
    server = remote.connect(host, token)
    found = scim.find(server, "service-principal", name)
    _export(server, found.get("applicationId", name), _new_secret(server, found, lifetime))


@command.command("delete")
@kind_argument
@names_argument
@ask.yes_option
@connection.options
def delete(kind: str, names: tuple[str, ...], yes: bool, host: str | None, token: str | None) -> None:
    """Delete users, groups or service principals. Their access tokens and secrets end at once.

    \b
    Examples:
      tesela principals delete user ann@example.com
      tesela principals delete service-principal nightly --yes
    """
    ask.sure(f"Deleting the {scim.KINDS[kind].words} {', '.join(names)}", yes=yes)
    server = remote.connect(host, token)
    ids = [scim.find(server, kind, name)["id"] for name in names]
    ask.each(ids, lambda one: scim.delete(server, kind, one))


@command.command("add-to-group")
@click.argument("group")
@kind_argument
@names_argument
@connection.options
def add_to_group(group: str, kind: str, names: tuple[str, ...], host: str | None, token: str | None) -> None:
    """Make users, groups or service principals members of GROUP. Members of the group admins are admins.

    \b
    Examples:
      tesela principals add-to-group admins user ann@example.com
    """
    server = remote.connect(host, token)
    found = scim.find(server, "group", group)
    scim.add_members(server, found, [scim.find(server, kind, name)["id"] for name in names])


@command.command("remove-from-group")
@click.argument("group")
@kind_argument
@names_argument
@connection.options
def remove_from_group(group: str, kind: str, names: tuple[str, ...], host: str | None, token: str | None) -> None:
    """Take users, groups or service principals out of GROUP.

    \b
    Examples:
      tesela principals remove-from-group admins user ann@example.com
    """
    server = remote.connect(host, token)
    found = scim.find(server, "group", group)
    scim.remove_members(server, found, [scim.find(server, kind, name)["id"] for name in names])


def _new_secret(server: Remote, principal: Json, lifetime_s: int | None) -> str:
    body = {} if lifetime_s is None else {"lifetime": f"{lifetime_s}s"}
    value = server.post(SECRETS.format(id=principal["id"]), body).get("secret")
    if not isinstance(value, str):
        raise UpstreamProtocolError(f"{server.host} made a secret and did not tell it")
    return value


def _export(server: Remote, client_id: str, secret: str) -> None:
    """The lines alone on standard output, so that a shell can take them."""
    for name, value in (("HOST", server.host), ("CLIENT_ID", client_id), ("CLIENT_SECRET", secret)):
        # Quoted, because the server chose them and a shell is to read them.
        click.echo(f"export DATABRICKS_{name}={shlex.quote(value)}")
    click.echo(
        f"These sign in as {_called('service-principal', client_id)}, where DATABRICKS_TOKEN is not set. "
        "The secret is not shown again.",
        err=True,
    )


def _called(kind: str, name: str) -> str:
    return f"{scim.KINDS[kind].words} {name}"


def _row(kind: str, resource: Json) -> tuple[str, ...]:
    called = str(resource.get(scim.KINDS[kind].called) or "")
    shown = str(resource.get("displayName") or "")
    groups = ", ".join(str(one.get("display") or one.get("value")) for one in resource.get("groups", ()))
    state = "" if resource.get("active", True) else "inactive"
    return kind, called, shown if shown != called else "", state, groups
