"""The audit, for admins: who changed what, when and from where, and what was refused."""

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela.control.answers import Handler, json
from tesela.control.facts import Facts, credential, require_admin
from tesela.errors import InvalidRequest
from tesela.records import AUDIT_FILTERS, AuditRecord

PATH = "/api/2.0/tesela/audit"
LIMIT = 100
LIMIT_MAX = 1000
DIGITS_MAX = 18
FILTER_MAX = 256


def routes(facts: Facts) -> list[Route]:
    return [Route(PATH, list_records(facts), methods=["GET"])]


def list_records(facts: Facts) -> Handler:
    """The newest first.  `next_page_token` is there as long as more may follow."""

    async def handler(request: Request) -> Response:
        require_admin(credential(request).principal, "read the audit")
        asked = request.query_params
        limit = _number("limit", asked.get("limit"), 1, LIMIT_MAX)
        before = _number("page_token", asked.get("page_token"), 0, None)
        filters = {name: found for name in AUDIT_FILTERS if (found := asked.get(name))}
        for name, found in filters.items():
            if len(found) > FILTER_MAX or not found.isprintable():
                raise InvalidRequest(f"{name!r} must be text of at most {FILTER_MAX} characters", param=name)
        limit = LIMIT if limit is None else limit
        records = await run_in_threadpool(lambda: facts.store().audit.list(limit, before, filters))
        answer: dict[str, object] = {"records": [_shown(one) for one in records]}
        if len(records) == limit:
            answer["next_page_token"] = str(records[-1].id)
        return json(answer)

    return handler


def _shown(record: AuditRecord) -> dict[str, object]:
    return {**msgspec.structs.asdict(record), "id": str(record.id)}


def _number(field: str, given: str | None, least: int, most: int | None) -> int | None:
    """None when nothing was given."""
    if not given:
        return None
    if given.isascii() and given.isdigit() and len(given) <= DIGITS_MAX:
        number = int(given)
        if number >= least and (most is None or number <= most):
            return number
    span = f"from {least} to {most}" if most is not None else "that an earlier answer gave"
    raise InvalidRequest(f"{field!r} must be a whole number {span}", param=field)
