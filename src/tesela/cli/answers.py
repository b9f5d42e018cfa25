"""`tesela answers`: what is kept of statements' answers, and a way to forget it."""

from datetime import UTC, datetime

import click

from tesela.cli import ask, connection, screen
from tesela.client import remote

PATH = "/api/2.0/sql/answers"


@click.group("answers")
def command() -> None:
    """Model answers that SQL statements have paid for, which are used again.

    \b
    Examples:
      tesela answers show
      tesela answers clear
    """


@command.command("show")
@click.option("--all", "everybody", is_flag=True, help="Everybody's, for admins.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@connection.options
def show(everybody: bool, as_json: bool, host: str | None, token: str | None) -> None:
    """How many answers are kept, and how much room they take.

    \b
    Examples:
      tesela answers show
      tesela answers show --all --json
    """
    found = remote.connect(host, token).get(PATH, all="true" if everybody else None)
    if as_json:
        screen.show_json(found)
        return
    oldest = found["oldest_ms"]
    since = datetime.fromtimestamp(oldest / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC") if oldest else "-"
    limits = f"{found['max_bytes'] / 2**20:,.0f} MiB, {found['max_age_seconds'] / 86400:,.0f} days"
    screen.show_table(
        ("ANSWERS", "MIB", "OLDEST", "LIMITS"),
        [(f"{found['answers']:,}", f"{found['bytes'] / 2**20:,.1f}", since, limits)],
        empty="there are none",
    )


@command.command("clear")
@click.option("--all", "everybody", is_flag=True, help="Everybody's, for admins.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connection.options
def clear(everybody: bool, yes: bool, host: str | None, token: str | None) -> None:
    """Forget the answers: the next statements pay for theirs.

    \b
    Examples:
      tesela answers clear
      tesela answers clear --yes
    """
    whose = "everybody's kept answers" if everybody else "all answers that are kept for you"
    ask.sure(f"forget {whose}", yes=yes)
    found = remote.connect(host, token).send("DELETE", PATH + ("?all=true" if everybody else ""))
    click.echo(f"{found['removed']:,} answers forgotten")
