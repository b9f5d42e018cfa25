"""`tesela db`: the database that the store is in, straight, so that no server need run."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tesela.cli import screen
from tesela.cli.tokens import home_option
from tesela.errors import NotFound

if TYPE_CHECKING:
    from tesela.config import Config
    from tesela.store.database import Database

WOULD_CHANGE = 1

database_option = click.option(
    "--database",
    metavar="URL",
    help="Database of the store. Default: TESELA_DATABASE_URL, or a file in the folder for all state.",
)


@click.group("db")
def command() -> None:
    """Look at the store's database, bring its tables up to date, change its master key.

    \b
    Examples:
      tesela db info
      tesela db upgrade --check
      tesela db upgrade --database postgresql://tesela@db.example.com/tesela
    """


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    return home_option(database_option(function))


@command.command("info")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@_options
def info(as_json: bool, home: Path | None, database: str | None) -> None:
    """Say which database it is, the revision of its tables, its version and what it holds.

    \b
    Examples:
      tesela db info
      tesela db info --json
    """
    from tesela.store import schema
    from tesela.store.summary import summary

    with _opened(home, database) as (_, opened):
        found = schema.look(opened)
        told: dict[str, Any] = {"database": opened.name, "revision": found.revision, "needed": schema.HEAD}
        if found.revision == schema.HEAD:
            told |= summary(opened)
    if as_json:
        screen.show_json(told)
        return
    revision = told["revision"] or "no tables yet"
    told["revision"] = revision if revision == told.pop("needed") else f"{revision} (`tesela db upgrade --check`)"
    if "created_s" in told:
        told["created"] = datetime.fromtimestamp(told.pop("created_s"), UTC).strftime("%Y-%m-%d %H:%M UTC")
    rows = [(name.replace("_", " "), str(value)) for name, value in told.items()]
    screen.show_table(("What", "Value"), rows, empty="")


@command.command("upgrade")
@click.option("--check", is_flag=True, help="Say what would change, change nothing; exit code 1 if anything would.")
@_options
def upgrade(check: bool, home: Path | None, database: str | None) -> int:
    """Bring the tables up to date, or make them in an empty database.

    A server does so by itself with a file of its own, which is copied first. A database that several servers use is
    left to this command: stop them, run it, start the new version.

    \b
    Examples:
      tesela db upgrade --check
      tesela db upgrade
    """
    from tesela.store import schema

    with _opened(home, database) as (_, opened):
        said = schema.check(opened) if check else schema.upgrade(opened)
        for sentence in said or [f"{opened.name}: the tables are up to date (revision {schema.HEAD})"]:
            click.echo(sentence)
    return WOULD_CHANGE if check and said else 0


@command.command("rotate-key")
@_options
def rotate_key(home: Path | None, database: str | None) -> None:
    """Seal all secrets with a new master key, which is written to the file master.key in the folder for all state.

    A server that runs meanwhile can change nothing until it is started again. Keep the old key for as long as you
    keep copies of the old database.

    \b
    Examples:
      tesela db rotate-key
    """
    from tesela.store import key, schema
    from tesela.store.opening import open_store
    from tesela.store.vault import KEY_BYTES

    with _opened(home, database) as (config, opened):
        if not schema.look(opened).revision:
            raise NotFound(f"there is no store in {opened.name} whose key could be changed")
    store, _ = open_store(config.home, config.settings.database_url, os.environ)
    try:
        count = key.rotate_file(store, os.urandom(KEY_BYTES))
    finally:
        store.close()
    click.echo(f"Sealed {count} values with a new master key, which is in {config.home / key.FILE}.")
    if os.environ.get(key.VARIABLE):
        click.echo(f"The variable {key.VARIABLE} holds the old key: unset it, or give it what is in that file.")
    click.echo("Start the servers that use this store again; on other hosts they need the new key too.")


@contextmanager
def _opened(home: Path | None, url: str | None) -> "Iterator[tuple[Config, Database]]":
    from tesela.config import load
    from tesela.store.database import Database, home_url

    config = load(None, os.environ, {"home": home, "database_url": url})
    database = Database(config.settings.database_url or home_url(config.home))
    try:
        yield config, database
    finally:
        database.close()
