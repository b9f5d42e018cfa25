"""Waiting for an endpoint to be ready: asks the server again and again, and shows what it says in between."""

import sys
import time
from typing import Any

import click

from tesela.client.remote import Remote, endpoint_path
from tesela.errors import UpstreamFailed, UpstreamTimeout

Json = dict[str, Any]

FIRST_S = 0.1
LONGEST_S = 2.0
"""Seconds between two questions: short at first, because an endpoint on an external model is ready at once."""
GIVEN_UP = frozenset({"UPDATE_FAILED", "UPDATE_CANCELED"})
BROKEN = frozenset({"DEPLOYMENT_FAILED", "DEPLOYMENT_ABORTED"})


def until_ready(server: Remote, name: str, timeout_s: float) -> Json:
    """The endpoint, once its last configuration serves.

    Raises UpstreamFailed with the server's reason when it never will, and UpstreamTimeout after `timeout_s` seconds.
    The endpoint is left as it is in either case, and on Ctrl-C.
    """
    end = time.monotonic() + timeout_s
    pause_s = FIRST_S
    line = Line()
    try:
        while True:
            endpoint: Json = server.get(endpoint_path(name))
            state = endpoint.get("state") or {}
            update, ready = state.get("config_update"), state.get("ready") == "READY"
            if update in GIVEN_UP:
                raise UpstreamFailed(f"endpoint {name!r} did not get its configuration: {reason(endpoint)}")
            if update != "IN_PROGRESS" and ready:
                return endpoint
            if update != "IN_PROGRESS" and _failed(endpoint):
                raise UpstreamFailed(f"endpoint {name!r} does not serve: {reason(endpoint)}")
            if time.monotonic() >= end:
                raise UpstreamTimeout(
                    f"endpoint {name!r} was not ready in {timeout_s:.0f} seconds; it goes on, and "
                    f"`tesela endpoints get {name}` shows how far it is"
                )
            line.show(f"{name}: {_doing(endpoint)}")
            time.sleep(min(pause_s, max(0.0, end - time.monotonic())))
            pause_s = min(pause_s * 1.5, LONGEST_S)
    except KeyboardInterrupt:
        line.end()
        click.echo(f"No longer waiting; endpoint {name!r} goes on being made ready.", err=True)
        raise
    finally:
        line.end()


class Line:
    """One line that is written over on a terminal; elsewhere a line for each thing that is new."""

    def __init__(self) -> None:
        self.shown = ""
        self.rewritten = sys.stderr.isatty()

    def show(self, text: str) -> None:
        if text == self.shown:
            return
        if self.rewritten:
            click.echo("\r\033[K" + text, err=True, nl=False)
        else:
            click.echo(text, err=True)
        self.shown = text

    def end(self) -> None:
        if self.rewritten and self.shown:
            click.echo("\r\033[K", err=True, nl=False)
        self.shown = ""


def reason(endpoint: Json) -> str:
    """What the server says of a served entity that failed, or that there is no reason."""
    told = [(one.get("state") or {}) for one in _entities(endpoint)]
    failed = [one.get("deployment_state_message") for one in told if one.get("deployment") in BROKEN]
    every = [*failed, *(one.get("deployment_state_message") for one in told)]
    return next((str(one) for one in every if one), "the server gave no reason")


def _doing(endpoint: Json) -> str:
    told = [(one.get("state") or {}) for one in _entities(endpoint)]
    words = [
        one.get("deployment_state_message")
        or str(one.get("deployment", "")).removeprefix("DEPLOYMENT_").lower().replace("_", " ")
        for one in told
        if one.get("deployment") != "DEPLOYMENT_READY"
    ]
    return next((word for word in words if word), "waiting")


def _failed(endpoint: Json) -> bool:
    return any((one.get("state") or {}).get("deployment") in BROKEN for one in _entities(endpoint))


def _entities(endpoint: Json) -> list[Json]:
    """Those that are coming, else those that there are."""
    coming = (endpoint.get("pending_config") or {}).get("served_entities")
    return coming or (endpoint.get("config") or {}).get("served_entities") or []
