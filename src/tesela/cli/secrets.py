"""`tesela secrets`: scopes, secrets and who may use them, over the API.

A value is never taken from the command line, which every process of the machine can read, and never shown unasked.
"""

import base64
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tesela.cli import ask, connection, screen
from tesela.client import remote
from tesela.errors import NotFound, UpstreamProtocolError

PATH = "/api/2.0/secrets"
LEVELS = ("READ", "WRITE", "MANAGE")
BYTES_MAX = 128 * 1024

json_option = click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
scope_argument = click.argument("scope")
key_argument = click.argument("key")


@click.group("secrets")
def command() -> None:
    """Keep keys of providers in the server's store, and say who may use them.

    Endpoints refer to a secret as {{secrets/SCOPE/KEY}}.

    \b
    Examples:
      tesela secrets scopes create providers
      tesela secrets put providers openai
      tesela secrets list providers
    """


@command.group("scopes")
def scopes() -> None:
    """Make, list and delete the scopes that secrets are in.

    \b
    Examples:
      tesela secrets scopes list
    """


@scopes.command("create")
@scope_argument
@click.option("--everyone", is_flag=True, help="Let all users manage it. Default: you alone, and admins.")
@connection.options
def create_scope(scope: str, everyone: bool, host: str | None, token: str | None) -> None:
    """Make a scope.

    \b
    Examples:
      tesela secrets scopes create providers
    """
    body = {"scope": scope} | ({"initial_manage_principal": "users"} if everyone else {})
    remote.connect(host, token).post(f"{PATH}/scopes/create", body)


@scopes.command("list")
@json_option
@connection.options
def list_scopes(as_json: bool, host: str | None, token: str | None) -> None:
    """List the scopes that you may read.

    \b
    Examples:
      tesela secrets scopes list
    """
    answer = remote.connect(host, token).get(f"{PATH}/scopes/list")
    if as_json:
        screen.show_json(answer)
        return
    rows = [(one["name"],) for one in answer.get("scopes", ())]
    screen.show_table(("Scope",), rows, empty="There are no scopes.")


@scopes.command("delete")
@scope_argument
@ask.yes_option
@connection.options
def delete_scope(scope: str, yes: bool, host: str | None, token: str | None) -> None:
    """Delete a scope with all secrets in it. Endpoints that refer to them stop serving.

    \b
    Examples:
      tesela secrets scopes delete providers
    """
    ask.sure(f"Deleting scope {scope} with all its secrets", yes=yes)
    remote.connect(host, token).post(f"{PATH}/scopes/delete", {"scope": scope})


@command.command("put")
@scope_argument
@key_argument
@click.option(
    "--from-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File that is the value, byte for byte.",
)
@connection.options
def put(scope: str, key: str, from_file: Path | None, host: str | None, token: str | None) -> None:
    """Put a secret. Its value is asked for without being shown, or read from standard input or a file.

    One line break at the end of standard input is left out. Endpoints that refer to the secret use the new value
    within a second.

    \b
    Examples:
      tesela secrets put providers openai
      pass show openai | tesela secrets put providers openai
      tesela secrets put providers service-account --from-file account.json
    """
    value = _value(key, from_file)
    if not value:
        raise click.UsageError("the value is empty")
    if len(value) > BYTES_MAX:
        raise click.UsageError(f"the value is larger than {BYTES_MAX // 1024} KiB, which is the most a secret can be")
    body: dict[str, Any] = {"scope": scope, "key": key}
    try:
        body["string_value"] = value.decode()
    except UnicodeDecodeError:
        body["bytes_value"] = base64.b64encode(value).decode()
    remote.connect(host, token).post(f"{PATH}/put", body)


@command.command("list")
@scope_argument
@json_option
@connection.options
def list_(scope: str, as_json: bool, host: str | None, token: str | None) -> None:
    """List the keys in a scope, and when each was last put.

    \b
    Examples:
      tesela secrets list providers
    """
    answer = remote.connect(host, token).get(f"{PATH}/list", scope=scope)
    if as_json:
        screen.show_json(answer)
        return
    rows = [(one["key"], _moment(one)) for one in answer.get("secrets", ())]
    screen.show_table(("Key", "Put"), rows, empty=f"There are no secrets in {scope}.")


@command.command("get")
@scope_argument
@key_argument
@click.option("--show", is_flag=True, help="Print the value, and nothing else.")
@connection.options
def get(scope: str, key: str, show: bool, host: str | None, token: str | None) -> None:
    """Say whether a secret is there and since when; with --show, print its value.

    \b
    Examples:
      tesela secrets get providers openai
      tesela secrets get providers openai --show | pbcopy
    """
    server = remote.connect(host, token)
    if show:
        answer = server.get(f"{PATH}/get", scope=scope, key=key)
        try:
            value = base64.b64decode(answer["value"], validate=True)
        except (KeyError, TypeError, ValueError) as exc:
            raise UpstreamProtocolError(f"{server.host} answered no value in base64") from exc
        sys.stdout.buffer.write(value + (b"\n" if screen.is_terminal() else b""))
        return
    listed = server.get(f"{PATH}/list", scope=scope).get("secrets", ())
    # A server finds them in any case, as Databricks does.
    found = next((one for one in listed if one["key"].lower() == key.lower()), None)
    if found is None:
        raise NotFound(f"there is no secret {key!r} in scope {scope!r}; `tesela secrets list {scope}` shows what is")
    click.echo(f"Secret {found['key']} was put on {_moment(found)}. --show prints its value.")


@command.command("delete")
@scope_argument
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@ask.yes_option
@connection.options
def delete(scope: str, keys: tuple[str, ...], yes: bool, host: str | None, token: str | None) -> None:
    """Delete secrets. Endpoints that refer to them stop serving.

    \b
    Examples:
      tesela secrets delete providers openai
    """
    ask.sure(f"Deleting {', '.join(keys)} from scope {scope}", yes=yes)
    server = remote.connect(host, token)
    ask.each(keys, lambda key: server.post(f"{PATH}/delete", {"scope": scope, "key": key}))


@command.group("acl")
def acl() -> None:
    """Say who may read, write and manage a scope.

    A principal is a user by user name, a group by name, or a service principal by application id.

    \b
    Examples:
      tesela secrets acl list providers
    """


@acl.command("put")
@scope_argument
@click.argument("principal")
@click.argument("permission", type=click.Choice(LEVELS, case_sensitive=False))
@connection.options
def put_acl(scope: str, principal: str, permission: str, host: str | None, token: str | None) -> None:
    """Give a principal READ, WRITE or MANAGE on a scope, in place of what it had.

    \b
    Examples:
      tesela secrets acl put providers data-scientists READ
    """
    body = {"scope": scope, "principal": principal, "permission": permission}
    remote.connect(host, token).post(f"{PATH}/acls/put", body)


@acl.command("list")
@scope_argument
@json_option
@connection.options
def list_acls(scope: str, as_json: bool, host: str | None, token: str | None) -> None:
    """List who may do what with a scope.

    \b
    Examples:
      tesela secrets acl list providers
    """
    answer = remote.connect(host, token).get(f"{PATH}/acls/list", scope=scope)
    if as_json:
        screen.show_json(answer)
        return
    rows = [(one["principal"], one["permission"]) for one in answer.get("items", ())]
    screen.show_table(("Principal", "Permission"), rows, empty="Nobody but admins may use it.")


@acl.command("delete")
@scope_argument
@click.argument("principal")
@connection.options
def delete_acl(scope: str, principal: str, host: str | None, token: str | None) -> None:
    """Take from a principal what it was given on a scope.

    \b
    Examples:
      tesela secrets acl delete providers data-scientists
    """
    remote.connect(host, token).post(f"{PATH}/acls/delete", {"scope": scope, "principal": principal})


def _value(key: str, file: Path | None) -> bytes:
    if file is not None:
        with file.open("rb") as opened:
            return opened.read(BYTES_MAX + 1)
    if sys.stdin.isatty():
        return str(click.prompt(f"Value of {key}", hide_input=True, err=True)).encode()
    value = sys.stdin.buffer.read(BYTES_MAX + 2)
    return value.removesuffix(b"\n").removesuffix(b"\r") if value.endswith(b"\n") else value


def _moment(secret: dict[str, Any]) -> str:
    return datetime.fromtimestamp(int(secret["last_updated_timestamp"]) / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
