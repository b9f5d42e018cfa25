"""`tesela audit`: who changed what on a server, and what was refused."""

from datetime import UTC, datetime
from typing import Any

import click

from tesela.cli import connection, screen
from tesela.client import remote

PATH = "/api/2.0/tesela/audit"
PAGE = 1000


@click.command("audit")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many records at most."
)
@click.option("--actor", help="Only what this principal did: a name or an id.")
@click.option("--action", help="Only this action, such as endpoints.create.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
@connection.options
def command(
    limit: int, actor: str | None, action: str | None, as_json: bool, host: str | None, token: str | None
) -> None:
    """List the changes that were made and those that were refused, the newest first. For admins.

    \b
    Examples:
      tesela audit
      tesela audit --actor ann@example.com --limit 200
      tesela audit --action endpoints.create --json | jq -r '.[].object'
    """
    server = remote.connect(host, token)
    records: list[dict[str, Any]] = []
    page: str | None = None
    while len(records) < limit:
        wanted = min(PAGE, limit - len(records))
        answer = server.get(PATH, limit=wanted, page_token=page, actor=actor, action=action)
        records += answer.get("records", ())
        page = answer.get("next_page_token")
        if not page:
            break
    if as_json:
        screen.show_json(records)
        return
    rows = [(_moment(one), one["actor"], one["action"], one["object"], _outcome(one)) for one in records]
    screen.show_table(("When (UTC)", "Who", "Action", "What", "Outcome"), rows, empty="There are no such records.")


def _moment(record: dict[str, Any]) -> str:
    return datetime.fromtimestamp(record["at_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _outcome(record: dict[str, Any]) -> str:
    return "done" if record["status"] < 400 else f"{record['status']} {record['message']}"
