"""Endpoints in a file as `tesela endpoints create` and `update` take them, in the very shape of the REST API.

Whether an endpoint can work is the server's to say; here only the shape of the file is read.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click

from tesela import configfile
from tesela.errors import ConfigError

Json = dict[str, Any]

CONFIG = frozenset({"served_entities", "served_models", "traffic_config", "auto_capture_config"})
"""What a configuration alone begins with."""

option = click.option(
    "--file",
    "-f",
    "file",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help='YAML or JSON; "-" is standard input.',
)


def endpoints(file: Path) -> list[Json]:
    """The endpoints of a file: itself, or those of its list `endpoints`.  Raises ConfigError."""
    name, values = _values(file)
    if "endpoints" not in values:
        return [_named(values, name, "")]
    found = values["endpoints"]
    if not isinstance(found, list) or not found:
        raise ConfigError(f"{name}: endpoints must be a list of at least one endpoint")
    others = sorted(values.keys() - {"endpoints"})
    if others:
        click.echo(f"{name}: only its endpoints are read, not {', '.join(others)}", err=True)
    return [_named(one, name, f"endpoints[{at}]") for at, one in enumerate(found)]


def change(file: Path, name: str) -> Json:
    """What the file wants the endpoint `name` to be: the endpoint's shape, with `config` alone when that is all.

    Raises ConfigError when the file is about another endpoint.
    """
    shown, values = _values(file)
    if "endpoints" in values:
        found = values["endpoints"]
        listed = found if isinstance(found, list) else []
        values = next((one for one in listed if isinstance(one, dict) and one.get("name") == name), {})
        if not values:
            raise ConfigError(f"{shown}: its endpoints have none with the name {name!r}")
    if CONFIG & values.keys():
        return {"config": {key: value for key, value in values.items() if key != "name"}}
    if values.get("name", name) != name:
        raise ConfigError(f"{shown}: is about endpoint {values['name']!r}, not {name!r}; a name cannot be changed")
    if not values:
        raise ConfigError(f"{shown}: is empty")
    return values


def _named(value: Any, file: str, at: str) -> Json:
    where = f"{file}: {at}" if at else file
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: an endpoint must be a mapping with name and config")
    if not isinstance(value.get("name"), str):
        raise ConfigError(f"{where}: an endpoint needs a name")
    return value


def _values(file: Path) -> tuple[str, Json]:
    """The name of the file for messages, and what it holds."""
    if str(file) != "-":
        shown, data = str(file), _bytes(file)
    else:
        shown, data = "standard input", sys.stdin.buffer.read(configfile.MAX_BYTES + 1)
    if len(data) > configfile.MAX_BYTES:
        raise ConfigError(f"{shown}: is larger than {configfile.MAX_BYTES // 1024**2} MiB, which no endpoint needs")
    return shown, _json(data) or configfile.parse(data, shown)[0]


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(configfile.MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be read: {exc.strerror or exc}") from exc


def _json(data: bytes) -> Json | None:
    """What is JSON already: not all of it is YAML, tabs for instance are not."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
