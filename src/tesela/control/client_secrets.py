"""The OAuth secrets of service principals, at the paths of a workspace and of an account.

An admin manages everybody's, a service principal its own: that is how one replaces a secret before it expires.
"""

import math
import re
from datetime import UTC, datetime

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela.control.answers import Handler, document, json
from tesela.control.facts import Facts, actor, credential, require_admin
from tesela.errors import InvalidRequest, NotFound, Unsupported
from tesela.records import ClientSecretInfo
from tesela.signed import ALL
from tesela.wire.document import Document, value

WORKSPACE = "/api/2.0/accounts/servicePrincipals/{id}/credentials/secrets"
ACCOUNT = "/api/2.0/accounts/{account_id}/servicePrincipals/{id}/credentials/secrets"
LIFETIME_MAX_S = 730 * 86_400
PAGE_MAX = 1000

PRINCIPAL_ID = re.compile(r"[0-9]{1,32}")
SECRET_ID = re.compile(r"[0-9a-zA-Z-]{1,64}")
SECONDS = re.compile(r"([0-9]{1,12})s?")


def routes(facts: Facts) -> list[Route]:
    """One service principal's secrets, and one of them."""
    found = []
    for path in (WORKSPACE, ACCOUNT):
        found += [
            Route(path, create(facts), methods=["POST"]),
            Route(path, list_all(facts), methods=["GET"]),
            Route(f"{path}/{{secret_id}}", delete(facts), methods=["DELETE"]),
        ]
    return found


def create(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal_id = _whose(request, facts)
        asked = await document(request)
        scopes = value(asked, "scopes")
        if scopes not in (None, [], [ALL]):
            raise Unsupported(
                "'scopes' is not possible here: a secret may do all that its service principal may", param="scopes"
            )
        lifetime_s = _lifetime_s(asked)
        by = actor(request)
        secret, info = await run_in_threadpool(
            lambda: facts.store().client_secrets.create(by, principal_id, lifetime_s)
        )
        facts.changed()
        return json({"secret": secret, **_told(info, facts.now())}, headers={"cache-control": "no-store"})

    return handler


def list_all(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal_id = _whose(request, facts)
        size = _page_size(request.query_params.get("page_size"))
        after = request.query_params.get("page_token", "")
        found = await run_in_threadpool(lambda: facts.store().client_secrets.of(principal_id))
        if after:
            places = [number for number, one in enumerate(found) if one.id == after]
            if not places:
                raise InvalidRequest("'page_token' is not one that a list here gave", param="page_token")
            found = found[places[0] + 1 :]
        answer: dict[str, object] = {"secrets": [_told(one, facts.now()) for one in found[:size]]}
        if len(found) > size:
            answer["next_page_token"] = found[size - 1].id
        return json(answer)

    return handler


def delete(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal_id, secret_id = _whose(request, facts), request.path_params["secret_id"]
        if not SECRET_ID.fullmatch(secret_id):
            raise NotFound("there is no secret with such an id")
        by = actor(request)
        await run_in_threadpool(lambda: facts.store().client_secrets.delete(by, principal_id, secret_id))
        facts.changed()
        return json({})

    return handler


def _whose(request: Request, facts: Facts) -> str:
    """The id of the service principal in the path, when the caller may manage its secrets."""
    principal, wanted = credential(request).principal, request.path_params["id"]
    if wanted != principal.id or principal.kind != "service_principal":
        require_admin(principal, "manage the secrets of other service principals")
    if request.path_params.get("account_id", facts.account_id) != facts.account_id:
        raise NotFound(f"this server has one account, {facts.account_id}")
    if not PRINCIPAL_ID.fullmatch(wanted):
        raise NotFound("there is no service principal with such an id: it is a whole number")
    return str(wanted)


def _lifetime_s(asked: Document) -> float | None:
    """Seconds, written as "3600s" or, as the command line of Databricks has it, "3600"."""
    found = value(asked, "lifetime")
    if found is None or found == "":
        return None
    match = SECONDS.fullmatch(str(found)) if isinstance(found, (str, int)) and not isinstance(found, bool) else None
    if match is None or not 0 < int(match[1]) <= LIFETIME_MAX_S:
        raise InvalidRequest(
            f"'lifetime' must be seconds such as \"3600s\", at most {LIFETIME_MAX_S}s, which are 730 days",
            param="lifetime",
        )
    return float(match[1])


def _page_size(text: str | None) -> int:
    if not text or text == "0":
        return PAGE_MAX
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest("'page_size' must be a whole number, not below 0", param="page_size")
    return min(int(text), PAGE_MAX)


def _told(info: ClientSecretInfo, now: float) -> dict[str, object]:
    """As the SDK's SecretInfo has it; no secret in it."""
    told: dict[str, object] = {
        "id": info.id,
        "secret_hash": info.hash,
        "status": "ACTIVE" if now < info.expires else "EXPIRED",
        "create_time": _utc(info.created),
        "update_time": _utc(info.created),
    }
    if not math.isinf(info.expires):
        told["expire_time"] = _utc(info.expires)
    return told


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
