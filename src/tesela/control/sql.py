"""SQL's paths in the gateway: statements, sessions and kept answers go on to the process that runs them.

Warehouses are answered here.  There is one, and it has every name: code that was written for a workspace has an id of
that workspace in it.
"""

import importlib.util
import re
from functools import cache
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela.control import thrift
from tesela.control.answers import Handler, json
from tesela.control.facts import Facts, base_url, credential
from tesela.control.forward import forward
from tesela.errors import InvalidRequest, NotFound, Unsupported

BASE = "/api/2.0/sql"
LINKS = f"{BASE}/results/{{id:uuid}}/{{index:int}}"
BATCHES = f"{BASE}/batches"
PUBLIC = frozenset({LINKS, BATCHES})
"""Paths whose address, or whose ticket, is the credential: the process that made it looks at it."""
FORWARDED = (
    ("POST", "/statements"), ("GET", "/statements"), ("GET", "/statements/{id}"), ("DELETE", "/statements/{id}"),
    ("POST", "/statements/{id}/cancel"), ("GET", "/statements/{id}/result/chunks/{index}"),
    ("POST", "/sessions"), ("DELETE", "/sessions/{id}"), ("GET", "/answers"), ("DELETE", "/answers"),
    ("POST", "/plans"), ("DELETE", "/plans/{id}"),
    # As some clients write it.
    ("POST", "/statements/"),
)  # fmt: skip
ID = "tesela"
MOST_BODY = 17 * 1024 * 1024
MOST_BATCH = 512 * 1024 * 1024
PACKAGES = ("pyspark", "pysail", "pyarrow", "sqlglot", "grpc")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def routes(facts: Facts) -> list[Route]:
    found = [
        Route(LINKS, by_link(facts), methods=["GET"]),
        Route(BATCHES, by_ticket(facts), methods=["POST"]),
        *(Route(f"{BASE}/warehouses{tail}", warehouses(facts), methods=["GET"]) for tail in ("", "/")),
        Route(f"{BASE}/warehouses/{{id}}", warehouse(facts), methods=["GET"]),
        *(Route(f"{BASE}/warehouses/{{id}}/{verb}", turned(facts), methods=["POST"]) for verb in ("start", "stop")),
        *(Route(f"/sql/1.0/{kind}/{{id}}", thrift.handler, methods=["POST"]) for kind in ("warehouses", "endpoints")),
    ]
    found += [Route(BASE + path, forwarded(facts), methods=[method]) for method, path in FORWARDED]
    return found


def forwarded(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        who = credential(request)
        bearer = _bearer(request, facts)
        said = {
            "x-tesela-run": facts.sql_secret,
            "x-tesela-principal": who.principal.id,
            "x-tesela-name": quote(who.principal.name),
            "x-tesela-admin": "true" if who.principal.admin else "false",
            "x-tesela-bearer": bearer,
            "x-tesela-base": base_url(request, facts),
        }
        return await forward(request, _socket(facts), said, MOST_BODY)

    return handler


def by_link(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        return await forward(request, _socket(facts), {"x-tesela-run": facts.sql_secret}, 0)

    return handler


def by_ticket(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        ticket = request.headers.get("x-tesela-ticket", "")
        if not ticket:
            raise InvalidRequest("rows come with the ticket of their statement, in the header x-tesela-ticket")
        return await forward(request, _socket(facts), {"x-tesela-ticket": ticket}, MOST_BATCH)

    return handler


def warehouses(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        credential(request)
        return json({"warehouses": [_described(ID, base_url(request, facts))]})

    return handler


def warehouse(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        credential(request)
        return json(_described(_named(request), base_url(request, facts)))

    return handler


def turned(_facts: Facts) -> Handler:
    """It runs whenever it is asked for: starting and stopping change nothing, and clients wait for neither."""

    async def handler(request: Request) -> Response:
        credential(request)
        _named(request)
        return json({})

    return handler


def _named(request: Request) -> str:
    id = str(request.path_params["id"])
    if not _ID.fullmatch(id):
        raise NotFound(f"there is no warehouse {id[:64]!r}")
    return id


def _described(id: str, base: str) -> dict[str, Any]:
    secure, _, address = base.partition("://")
    host, _, port = address.rpartition(":") if address.rpartition(":")[2].isdigit() else (address, "", "")
    number = int(port) if port else 443 if secure == "https" else 80
    path = f"/sql/1.0/warehouses/{id}"
    return {
        "id": id,
        "name": "Tesela",
        "state": "RUNNING",
        "cluster_size": "2X-Small",
        "size": "2X-Small",
        "min_num_clusters": 1,
        "max_num_clusters": 1,
        "num_clusters": 1,
        "num_active_sessions": 0,
        "auto_stop_mins": 0,
        "auto_resume": True,
        "enable_photon": False,
        "enable_serverless_compute": True,
        "warehouse_type": "PRO",
        "spot_instance_policy": "POLICY_UNSPECIFIED",
        "channel": {"name": "CHANNEL_NAME_CURRENT"},
        "health": {"status": "HEALTHY"},
        "odbc_params": {"hostname": host, "path": path, "port": number, "protocol": secure},
    }


def _bearer(request: Request, facts: Facts) -> str:
    """The token that the caller was let in with: their statement's requests are made with it."""
    return facts.token_of(request.headers.get("authorization", "").encode("latin-1")).decode("latin-1")


def _socket(facts: Facts) -> str:
    """Raises Unsupported where the packages are not installed."""
    lacking = missing()
    if lacking:
        raise Unsupported(
            f"SQL is not installed here ({', '.join(lacking)} missing): pip install 'tesela[sql]' and start again"
        )
    return facts.sql_socket


@cache
def missing() -> tuple[str, ...]:
    return tuple(name for name in PACKAGES if importlib.util.find_spec(name) is None)
