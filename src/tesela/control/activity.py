"""What an endpoint did lately, over all workers: figures for each minute, and the last requests."""

from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela.control.answers import Handler, json
from tesela.control.facts import Facts, credential
from tesela.control.serving_find import find
from tesela.errors import InvalidRequest
from tesela.telemetry.activity import SUMMED, Asked

PATH = "/api/2.0/tesela/serving-endpoints/{name}/activity"
MINUTES_MOST, MINUTES = 1440, 60
LIMIT_MOST, LIMIT = 200, 50


def routes(facts: Facts) -> list[Route]:
    return [Route(PATH, handler_of(facts), methods=["GET"])]


def handler_of(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal, name = credential(request).principal, request.path_params["name"]
        minutes = _number(request, "minutes", 1, MINUTES_MOST, MINUTES)
        limit = _number(request, "limit", 0, LIMIT_MOST, LIMIT)
        found = await run_in_threadpool(find, facts, principal, name)
        facts.activity.settle()
        # By the id: another endpoint of the same name, made later, has done nothing of this.
        series = await run_in_threadpool(facts.activity.of, found.endpoint.id)
        now = facts.now()
        first = int(now // 60) - minutes + 1
        known = sorted((number, one) for number, one in series.minutes.items() if number >= first)
        # Who asked what is for those who manage the endpoint; everybody sees their own.
        mine = [one for one in series.recent if found.level == "CAN_MANAGE" or one.principal_id == principal.id]
        return json({
            "since_ms": first * 60_000,
            "until_ms": int(now * 1000),
            "minutes": [
                {
                    "at_ms": number * 60_000,
                    **{name: getattr(one, name) for name in SUMMED},
                    "p50_ms": one.percentile_ms(0.5),
                    "p95_ms": one.percentile_ms(0.95),
                }
                for number, one in known
            ],
            "totals": {name: sum(getattr(one, name) for _, one in known) for name in SUMMED},
            "requests": _requests(mine[:limit]),
        })  # fmt: skip

    return handler


def _requests(asked: Sequence[Asked]) -> list[dict[str, Any]]:
    return [
        {
            "at_ms": int(one.ended * 1000),
            "request_id": one.request_id,
            "served_entity": one.entity,
            "principal": one.principal,
            "status": one.status,
            "error": one.error,
            "duration_ms": round(one.duration_s * 1000, 1),
            "first_ms": None if one.first_s is None else round(one.first_s * 1000, 1),
            "prompt_tokens": one.prompt_tokens,
            "completion_tokens": one.completion_tokens,
            "streamed": one.streamed,
        }
        for one in asked
    ]


def _number(request: Request, name: str, least: int, most: int, usual: int) -> int:
    given = request.query_params.get(name)
    if given is None:
        return usual
    if not (given.isascii() and given.isdigit() and len(given) < 6 and least <= int(given) <= most):
        raise InvalidRequest(f"{name!r} must be a whole number from {least} to {most}", param=name)
    return int(given)
