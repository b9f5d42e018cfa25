"""What an endpoint has beside its configuration: tags, rate limits, the AI gateway, notifications, telemetry.

All of it is stored and shown again.  The fallback of the AI gateway takes effect; the rest waits for what enforces it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tesela.control.answers import Handler, json
from tesela.control.facts import Facts, actor, credential
from tesela.control.serving_config import Json, check_gateway
from tesela.control.serving_find import Kept, managed, told
from tesela.control.serving_shape import (
    TAGS_MAX,
    Gateway,
    RateLimits,
    Settings,
    TagChange,
    Telemetry,
    kept,
    read,
)
from tesela.control.serving_write import whole
from tesela.errors import InvalidRequest
from tesela.records import Actor, StoredEndpoint
from tesela.snapshot import Principal

Change = Callable[[Json], Mapping[str, Any] | Callable[[Json], Json]]
"""From the body of a request to what becomes of the settings."""

_SDK = re.compile(r"databricks-sdk-py/(\d+)\.(\d+)")
LISTS_TAGS_UNTIL = (0, 40)
"""The version of the Databricks SDK that began to read `{"tags": […]}`; those before want the bare list."""


def _changing(facts: Facts, action: str, change: Change, answer: Callable[[Request, StoredEndpoint], Any]) -> Handler:
    def work(by: Actor, principal: Principal, name: str, body: Json) -> StoredEndpoint:
        stored = managed(facts, principal, name)
        return facts.store().endpoints.change_settings(by, name, change(body), action, was=stored)

    async def handler(request: Request) -> Response:
        principal, name = credential(request).principal, request.path_params["name"]
        done = await run_in_threadpool(work, actor(request), principal, name, await whole(request))
        facts.changed()
        return json(answer(request, done))

    return handler


def tags(facts: Facts) -> Handler:
    def answer(request: Request, done: StoredEndpoint) -> Any:
        now = done.settings.get("tags", [])
        found = _SDK.search(request.headers.get("user-agent", ""))
        old = found is not None and (int(found[1]), int(found[2])) < LISTS_TAGS_UNTIL
        return now if old else {"tags": now}

    return _changing(facts, "endpoints.change_tags", _tags, answer)


def _tags(body: Json) -> Callable[[Json], Json]:
    asked = read(TagChange, body)
    added = {tag.key: kept(tag) for tag in asked.add_tags or ()}
    gone = frozenset(asked.delete_tags or ())

    def rewrite(settings: Json) -> Json:
        now = {tag["key"]: tag for tag in settings.get("tags", []) if tag["key"] not in gone} | added
        if len(now) > TAGS_MAX:
            raise InvalidRequest(f"add_tags: an endpoint has {TAGS_MAX} tags at most", param="add_tags")
        return {**settings, "tags": list(now.values())}

    return rewrite


def rate_limits(facts: Facts) -> Handler:
    def change(body: Json) -> Json:
        limits: RateLimits = read(Settings, {"rate_limits": body.get("rate_limits")}).rate_limits or ()
        return {"rate_limits": kept(limits)}

    return _changing(
        facts,
        "endpoints.change_rate_limits",
        change,
        lambda _, done: {"rate_limits": done.settings.get("rate_limits", [])},
    )


def ai_gateway(facts: Facts) -> Handler:
    def change(body: Json) -> Json:
        gateway = read(Gateway, body)
        check_gateway(gateway)
        return {"ai_gateway": kept(gateway)}

    return _changing(facts, "endpoints.change_ai_gateway", change, lambda _, done: done.settings.get("ai_gateway", {}))


def notifications(facts: Facts) -> Handler:
    def change(body: Json) -> Json:
        asked = read(Settings, {"email_notifications": body.get("email_notifications")}).email_notifications
        return {"email_notifications": None if asked is None else kept(asked)}

    def answer(_request: Request, done: StoredEndpoint) -> Json:
        found = done.settings.get("email_notifications")
        return {"name": done.name} | ({} if found is None else {"email_notifications": found})

    return _changing(facts, "endpoints.change_notifications", change, answer)


def telemetry_config(facts: Facts) -> Handler:
    """Leaving it out takes it away."""

    def change(body: Json) -> Json:
        asked: Telemetry | None = read(Settings, {"telemetry_config": body.get("telemetry_config")}).telemetry_config
        return {"telemetry_config": None if asked is None else kept(asked)}

    return _changing(
        facts,
        "endpoints.change_telemetry_config",
        change,
        lambda request, done: told(request, facts, Kept(done, "CAN_MANAGE")),
    )
