"""`tesela endpoints create`, `update` and `delete`: endpoints made from files, over the API."""

from pathlib import Path
from typing import Any

import click

from tesela.cli import ask, connection, endpoint_file, screen, waiting
from tesela.cli.tokens import Duration
from tesela.client import remote
from tesela.client.remote import Remote, endpoint_path
from tesela.errors import ConfigError

Json = dict[str, Any]

PATH = "/api/2.0/serving-endpoints"
FIXED = ("description", "route_optimized", "budget_policy_id")
"""What an endpoint is given when it is made, and the API cannot change."""

wait_option = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait until it is ready to be queried."
)
timeout_option = click.option(
    "--timeout", type=Duration(), default="20m", show_default=True, help="How long to wait for each at most."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")


@click.command("create")
@endpoint_file.option
@wait_option
@timeout_option
@json_option
@connection.options
def create(file: Path, wait: bool, timeout: int, as_json: bool, host: str | None, token: str | None) -> None:
    """Make an endpoint from a file, or several from its list `endpoints`, and wait until they are ready.

    The file has the shape of the REST API, name and config, which is also that of an endpoint in tesela.yaml.

    \b
    Examples:
      tesela endpoints create -f endpoint.yaml
      tesela endpoints create -f endpoints.yaml --timeout 1h
      tesela endpoints create -f - --no-wait < endpoint.json
    """
    wanted = endpoint_file.endpoints(file)
    server = remote.connect(host, token)
    made: list[Json] = []
    for one in wanted:
        made.append(server.post(PATH, one))
        if len(wanted) > 1 and not as_json:
            click.echo(f"Made endpoint {one['name']}.", err=True)
    if wait:
        made = [waiting.until_ready(server, one["name"], timeout) for one in made]
    if as_json:
        screen.show_json(made[0] if len(made) == 1 else {"endpoints": made})
        return
    for one in made:
        click.echo(_told(server, one, "was made"))


@click.command("update")
@click.argument("name")
@endpoint_file.option
@wait_option
@timeout_option
@json_option
@connection.options
def update(name: str, file: Path, wait: bool, timeout: int, as_json: bool, host: str | None, token: str | None) -> None:
    """Change an endpoint: to the configuration in a file, or to the whole endpoint that is in it.

    A file with served_entities is a configuration. One with name, config, tags, ai_gateway and so on is a whole
    endpoint: what it has is changed, each by its own call, and what it leaves out stays. The old configuration serves
    until the new one is ready.

    \b
    Examples:
      tesela endpoints update mine -f config.yaml
      tesela endpoints update mine -f endpoint.yaml --no-wait
    """
    wanted = endpoint_file.change(file, name)
    server = remote.connect(host, token)
    now = server.get(endpoint_path(name))
    calls = _calls(wanted, now)
    for method, path, body in calls:
        server.send(method, endpoint_path(name) + path, body)
    done = (
        waiting.until_ready(server, name, timeout) if wait and "config" in wanted else server.get(endpoint_path(name))
    )
    if as_json:
        screen.show_json(done)
    else:
        click.echo(_told(server, done, "was changed"))


@click.command("delete")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@ask.yes_option
@connection.options
def delete(names: tuple[str, ...], yes: bool, host: str | None, token: str | None) -> None:
    """Delete endpoints. Queries that are under way end as they should.

    \b
    Examples:
      tesela endpoints delete mine
      tesela endpoints delete one two --yes
    """
    ask.sure(f"Deleting {', '.join(names)}", yes=yes)
    server = remote.connect(host, token)
    ask.each(names, lambda name: server.send("DELETE", endpoint_path(name)))


def _calls(wanted: Json, now: Json) -> list[tuple[str, str, Json]]:
    """Method, path and body of each change.  The configuration comes first, because it is what is refused most.

    Raises ConfigError before anything is changed when something cannot be.
    """
    for field in FIXED:
        if field in wanted and (wanted[field] or None) != (now.get(field) or None):
            raise ConfigError(f"{field} is given to an endpoint when it is made and cannot be changed")
    calls: list[tuple[str, str, Json]] = []
    for field, (method, path, inside) in PARTS.items():
        if wanted.get(field) is not None:
            calls.append((method, path, wanted[field] if inside else {field: wanted[field]}))
    if wanted.get("tags") is not None:
        calls.append(("PATCH", "/tags", _tags(wanted["tags"], now.get("tags") or [])))
    if not calls:
        raise ConfigError(f"there is nothing to change: give config, tags, {', '.join(list(PARTS)[1:])}")
    return calls


def _tags(wanted: Any, now: list[Json]) -> Json:
    """The change that makes them these and no others."""
    if not (isinstance(wanted, list) and all(isinstance(one, dict) for one in wanted)):
        raise ConfigError("tags must be a list of mappings with key and value")
    kept = {one.get("key") for one in wanted}
    return {"add_tags": wanted, "delete_tags": [one["key"] for one in now if one["key"] not in kept]}


def _told(server: Remote, endpoint: Json, done: str) -> str:
    state = endpoint.get("state") or {}
    if state.get("config_update") == "IN_PROGRESS" or state.get("ready") != "READY":
        return f"Endpoint {endpoint['name']} {done} and is not ready yet: `tesela endpoints get {endpoint['name']}`"
    return (
        f"Endpoint {endpoint['name']} {done} and is ready at {server.host}{remote.invocations_path(endpoint['name'])}"
    )


PARTS = {
    "config": ("PUT", "/config", True),
    "ai_gateway": ("PUT", "/ai-gateway", True),
    "rate_limits": ("PUT", "/rate-limits", False),
    "email_notifications": ("PATCH", "/notifications", False),
    "telemetry_config": ("PATCH", "/telemetry-config", False),
}
"""How each part of an endpoint is changed, and whether the part itself is the body."""
