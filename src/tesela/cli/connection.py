"""The options by which every command that talks to a server is told which one."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def options(function: Function) -> Function:
    """`--host` and `--token`, the same for every command that talks to a server."""
    token = click.option(
        "--token",
        envvar="DATABRICKS_TOKEN",
        show_envvar=True,
        help="Access token. Default: one got with DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, or the one that "
        "serve keeps.",
    )
    host = click.option(
        "--host",
        envvar="DATABRICKS_HOST",
        show_envvar=True,
        help="Address of the server. Default: the local one.",
    )
    return host(token(function))
