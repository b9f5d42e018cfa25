"""`tesela tokens`: access tokens, straight in the store of this machine's home, so that no server need run."""

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tesela.cli import screen
from tesela.errors import NotFound
from tesela.records import COMMAND_LINE

if TYPE_CHECKING:
    from tesela.store.store import Store

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[int]):
    """A number and a unit, `12h` or `90d`, as seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration: write 45m, 12h or 90d", param, ctx)
        return int(found[1]) * UNITS_S[found[2]]


home_option = click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="TESELA_HOME",
    show_envvar=True,
    help="Folder for all state. Default: the user data folder.",
)


@click.group("tokens")
def command() -> None:
    """Make, list and revoke access tokens of this machine's server.

    They are written to the store in TESELA_HOME; a running server takes notice by itself.

    \b
    Examples:
      tesela tokens create --comment "for the notebook" --lifetime 90d
      tesela tokens list
      tesela tokens revoke 0123abcd
    """


@command.command("create")
@click.option("--comment", default="", help="What the token is for.")
@click.option(
    "--lifetime",
    type=Duration(),
    help="How long it is valid, such as 12h or 90d. Default: for ever.",
)
@click.option("--for", "whose", metavar="NAME", help="A user's or a service principal's. Default: the first admin's.")
@home_option
def create(comment: str, lifetime: int | None, whose: str | None, home: Path | None) -> None:
    """Make an access token and print it. It is shown this once and kept nowhere.

    \b
    Examples:
      tesela tokens create
      tesela tokens create --for ann@example.com --lifetime 30d
      export DATABRICKS_TOKEN=$(tesela tokens create --comment ci --lifetime 1h)
    """
    with _store(home) as store:
        owner = store.identities.first_admin().id if whose is None else _named(store, whose)
        access_token, info = store.tokens.create(COMMAND_LINE, owner, comment, lifetime)
    click.echo(access_token)
    click.echo(
        f"Made access token {info.id}, which {_until(info.expires)}. It is not shown again.",
        err=True,
    )


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@home_option
def list_(as_json: bool, home: Path | None) -> None:
    """List the access tokens: number, comment and times. The tokens themselves are not kept.

    \b
    Examples:
      tesela tokens list
    """
    with _store(home) as store:
        infos = store.tokens.list()
    if as_json:
        screen.show_json(
            [
                {
                    "token_id": info.id,
                    "comment": info.comment,
                    "creation_time": int(info.created * 1000),
                    "expiry_time": -1 if math.isinf(info.expires) else int(info.expires * 1000),
                }
                for info in infos
            ]
        )
        return
    rows = [(info.id, info.comment, _day(info.created), _day(info.expires)) for info in infos]
    screen.show_table(("Id", "Comment", "Made", "Expires"), rows, empty="There are no access tokens.")


@command.command("revoke")
@click.argument("token_ids", metavar="ID...", nargs=-1, required=True)
@home_option
def revoke(token_ids: tuple[str, ...], home: Path | None) -> None:
    """Revoke access tokens by their id, as `tesela tokens list` shows it.

    \b
    Examples:
      tesela tokens revoke 0123abcd
    """
    with _store(home) as store:
        missing = [one for one in token_ids if not store.tokens.revoke(COMMAND_LINE, one)]
    if missing:
        raise NotFound(f"there is no access token {', '.join(missing)}; `tesela tokens list` shows what there is")


@contextmanager
def _store(home: Path | None) -> Iterator["Store"]:
    from tesela.config import load
    from tesela.store.opening import open_store

    config = load(None, os.environ, {"home": home})
    store, _ = open_store(config.home, config.settings.database_url, os.environ)
    try:
        yield store
    finally:
        store.close()


def _named(store: "Store", name: str) -> str:
    """The id of a user by its name, or of a service principal by its application id.  Raises NotFound."""
    found = store.identities.find("user", name.lower()) or store.identities.find("service_principal", name)
    if found is None:
        raise NotFound(
            f"there is no user and no service principal {name!r}; `tesela principals create user {name}` makes a user, "
            "and a service principal goes by its application id"
        )
    return found.id


def _until(expires: float) -> str:
    return "never expires" if math.isinf(expires) else f"expires on {_day(expires)}"


def _day(moment: float) -> str:
    return "never" if math.isinf(moment) else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
