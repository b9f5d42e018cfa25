"""`tesela endpoints`: what a server offers; what changes it is in modules beside this one."""

from typing import Any

import click

from tesela.cli import connection, endpoints_write, permissions, screen
from tesela.client import remote


@click.group("endpoints")
def command() -> None:
    """Show, make, change and delete the endpoints of a server.

    \b
    Examples:
      tesela endpoints list
      tesela endpoints get databricks-gte-large-en --json
      tesela endpoints create -f endpoint.yaml
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
@connection.options
def list_(as_json: bool, host: str | None, token: str | None) -> None:
    """List the endpoints: name, task, state and what answers.

    \b
    Examples:
      tesela endpoints list
      tesela endpoints list --json | jq -r '.endpoints[].name'
    """
    answer = remote.connect(host, token).get("/api/2.0/serving-endpoints")
    if as_json:
        screen.show_json(answer)
        return
    rows = [(one["name"], one.get("task") or "", _ready(one), _models(one)) for one in answer.get("endpoints", ())]
    screen.show_table(("Name", "Task", "State", "Served by"), rows, empty="There are no endpoints.")


@command.command("get")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
@connection.options
def get(name: str, as_json: bool, host: str | None, token: str | None) -> None:
    """Show one endpoint: its served entities, their share of the traffic, and its description.

    \b
    Examples:
      tesela endpoints get databricks-gte-large-en
      tesela endpoints get databricks-gte-large-en --json
    """
    endpoint = remote.connect(host, token).get(remote.endpoint_path(name))
    if as_json:
        screen.show_json(endpoint)
        return
    facts = [
        ("Name", endpoint["name"]),
        ("Task", endpoint.get("task") or ""),
        ("State", _ready(endpoint)),
        ("Description", endpoint.get("description") or ""),
        ("Creator", endpoint.get("creator") or ""),
    ]
    shares = _shares(endpoint)
    for entity in endpoint.get("config", {}).get("served_entities", ()):
        share = shares.get(entity.get("name"))
        facts.append(
            (
                f"Entity {entity.get('name', '')}",
                _model(entity) + (f", {share} %" if share is not None else ""),
            )
        )
    screen.show_table(("", ""), [fact for fact in facts if fact[1]], empty="")


for _one in (endpoints_write.create, endpoints_write.update, endpoints_write.delete, permissions.command):
    command.add_command(_one)


def _ready(endpoint: dict[str, Any]) -> str:
    return str(endpoint.get("state", {}).get("ready", "")).lower().replace("_", " ")


def _models(endpoint: dict[str, Any]) -> str:
    return ", ".join(_model(entity) for entity in endpoint.get("config", {}).get("served_entities", ()))


def _model(entity: dict[str, Any]) -> str:
    external = entity.get("external_model")
    if external:
        return f"{external.get('provider', '')}/{external.get('name', '')}"
    return str(
        (entity.get("foundation_model") or {}).get("name") or entity.get("entity_name") or entity.get("name", "")
    )


def _shares(endpoint: dict[str, Any]) -> dict[str, int]:
    routes = (endpoint.get("config", {}).get("traffic_config") or {}).get("routes", ())
    return {one.get("served_entity_name") or one.get("served_model_name"): one["traffic_percentage"] for one in routes}
