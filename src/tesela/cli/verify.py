"""`tesela verify`: the client matrix against any server, as a table."""

from collections import Counter
from dataclasses import asdict

import click

from tesela.cli import screen
from tesela.client import remote

MARKS = {"passed": "✓", "failed": "✗", "skipped": "–"}
COLOURS = {"passed": "green", "failed": "red", "skipped": "bright_black"}


@click.command("verify")
@click.argument("url")
@click.option(
    "--token",
    envvar="DATABRICKS_TOKEN",
    show_envvar=True,
    help="Access token. Default: the one that serve keeps.",
)
@click.option(
    "--endpoint",
    default="",
    help="Chat endpoint to ask. Default: the first that is ready.",
)
@click.option(
    "--embeddings-endpoint",
    default="",
    help="Embeddings endpoint to ask. Default: the first that is ready.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcomes as JSON.")
def command(url: str, token: str | None, endpoint: str, embeddings_endpoint: str, as_json: bool) -> int:
    """Check that the server at URL answers the official clients, and print a table of what passed.

    Makes the calls that each client makes, and runs those clients themselves that are installed beside Tesela (marked
    "real"). The exit code is 1 when something failed.

    \b
    Examples:
      tesela verify http://127.0.0.1:8787
      tesela verify https://example.cloud.databricks.com --endpoint my-endpoint --json
    """
    from tesela.verify import matrix

    server = remote.connect(url, token)
    server.get("/api/2.0/serving-endpoints")
    target = matrix.find(server.host, server.access_token, endpoint, embeddings_endpoint)
    found = []
    for outcome in matrix.outcomes(target):
        found.append(outcome)
        if not as_json:
            mark = click.style(MARKS[outcome.state], fg=COLOURS[outcome.state])
            client = f"{outcome.client} {outcome.version}".strip() + (" (real)" if outcome.real else "")
            click.echo(f"{mark} {client:<34} {outcome.call:<28} {outcome.reason}".rstrip())
    count = Counter(outcome.state for outcome in found)
    if as_json:
        screen.show_json([asdict(outcome) for outcome in found])
    else:
        click.echo(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] else 0
