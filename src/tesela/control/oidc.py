"""Where to sign in, and the tokens one gets there: OAuth for service principals (RFC 6749, 7523, 8414 and 9396).

All of these paths answer without a credential.  The Databricks SDK asks the first at every construction and MLflow
before every call, so what can be answered from memory is.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela import signed
from tesela.control import oauth_form
from tesela.control.answers import Handler, body, json
from tesela.control.facts import Facts, base_url
from tesela.control.oauth_form import CLIENT_CREDENTIALS, GRANTS, JWT_BEARER, SCOPES, Form, Refused
from tesela.errors import NotFound, RequestError, StoreUnavailable, Unauthenticated
from tesela.signed import Claims, Detail
from tesela.snapshot import Credential, Principal, Snapshot

CONFIG = "/.well-known/databricks-config"
OIDC = "/oidc"
ACCOUNT = f"{OIDC}/accounts/{{account_id}}"
JWKS = f"{OIDC}/jwks.json"
DISCOVERY = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
TOKEN = "/v1/token"  # noqa: S105 - a path

PUBLIC = frozenset({CONFIG, JWKS, *(base + path for base in (OIDC, ACCOUNT) for path in (*DISCOVERY, TOKEN))})
"""The paths here, all of which answer without a credential; in some of them stands `{account_id}`."""

NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}


def routes(facts: Facts) -> list[Route]:
    """All of them are public.  A workspace has them at two places, of which the second names the account."""
    found = [
        Route(CONFIG, databricks_config(facts), methods=["GET"]),
        Route(JWKS, jwks(facts), methods=["GET"]),
    ]
    for base in (OIDC, ACCOUNT):
        found += [Route(base + path, discovery(facts), methods=["GET"]) for path in DISCOVERY]
        found.append(Route(base + TOKEN, token(facts), methods=["POST"]))
    return found


def databricks_config(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        return json(
            {
                "oidc_endpoint": f"{base_url(request, facts)}{OIDC}",
                "account_id": facts.account_id,
                "workspace_id": str(facts.workspace_id),
                "cloud": "aws",
            }
        )

    return handler


def discovery(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        _our_account(request, facts)
        base = base_url(request, facts)
        issuer = base + request.url.path.partition("/.well-known/")[0]
        return json(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/v1/authorize",
                "token_endpoint": issuer + TOKEN,
                "jwks_uri": base + JWKS,
                "grant_types_supported": list(GRANTS),
                "response_types_supported": [],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "scopes_supported": sorted(SCOPES),
                "authorization_details_types_supported": [signed.WORKSPACE],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [signed.ALGORITHM],
            }
        )

    return handler


def jwks(facts: Facts) -> Handler:
    async def handler(_request: Request) -> Response:
        # In a thread, because the first time loads the cryptography; and not among those that wait for the store.
        keys = await asyncio.to_thread(signed.published, facts.snapshot().keys)
        return json(keys, headers={"cache-control": "public, max-age=60"})

    return handler


def token(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        try:
            _our_account(request, facts)
            form = oauth_form.read(await body(request))
            ask = Ask(
                facts, f"{base_url(request, facts)}{OIDC}", form, request.headers.get("authorization"), facts.now()
            )
            key_id, answer = await run_in_threadpool(ANSWERS[oauth_form.grant(form)], ask)
        except Refused as error:
            return _told(error)
        except RequestError as error:
            return _told(Refused("invalid_request", error.message, error.status))
        except StoreUnavailable as error:
            # Its own sentence names the database, which is nothing for somebody who is not known yet.
            busy = _told(Refused("temporarily_unavailable", "the store does not answer; try again", error.status))
            busy.headers["retry-after"] = str(error.retry_after_s or 1)
            return busy
        if key_id not in facts.snapshot().keys:
            facts.changed()
        return json(answer, headers=NO_STORE)

    return handler


class Ask(NamedTuple):
    """One request for a token.  `now` is in seconds since the epoch."""

    facts: Facts
    issuer: str
    form: Form
    authorization: str | None
    now: float

    def __repr__(self) -> str:
        return "Ask(***)"


Answer = tuple[str, dict[str, Any]]
"""The id of the key that signed, and what the client is told."""


def _client_credentials(ask: Ask) -> Answer:
    shown = oauth_form.client(ask.authorization, ask.form)
    if shown is None:
        raise oauth_form.wrong_client("the client id and secret are missing: send them by basic authentication")
    scope, details = oauth_form.scope(ask.form), oauth_form.details(ask.form)
    found = ask.facts.store().client_secrets.check(shown.client_id, shown.secret, ask.now)
    if found is None:
        raise shown.refused()
    if details:
        snapshot = ask.facts.snapshot()
        _may_query(snapshot, snapshot.principals.get(found.principal_id), details, None)
    return _issue(ask, found.principal_id, found.application_id, found.secret_id, scope, details)


def _jwt_bearer(ask: Ask) -> Answer:
    """A token for the data plane, against one for everything."""
    assertion = ask.form.get("assertion")
    if assertion is None:
        raise Refused("invalid_request", "assertion is missing: it takes an OAuth access token of this server")
    details = oauth_form.details(ask.form)
    if not details:
        raise Refused("invalid_request", "authorization_details is missing: it names the endpoints to query")
    claims, credential, snapshot = _asserted(ask, assertion)
    if claims.authorization_details:
        raise Refused("invalid_grant", "the assertion is for some endpoints only, and gets no other token")
    shown = oauth_form.client(ask.authorization, ask.form)
    if shown is not None:
        found = ask.facts.store().client_secrets.check(shown.client_id, shown.secret, ask.now)
        if found is None or found.principal_id != claims.sub:
            raise shown.refused()
    _may_query(snapshot, credential.principal, details, credential.endpoints)
    return _issue(ask, claims.sub, claims.client_id, claims.sid, claims.scope, details)


ANSWERS: Mapping[str, Callable[[Ask], Answer]] = {CLIENT_CREDENTIALS: _client_credentials, JWT_BEARER: _jwt_bearer}


def _asserted(ask: Ask, assertion: str) -> tuple[Claims, Credential, Snapshot]:
    """What an assertion says, and the snapshot that it was held against.  Raises Refused."""
    if "." not in assertion:
        raise Refused(
            "invalid_grant", "the assertion is no OAuth access token; a personal access token cannot be exchanged"
        )
    snapshot, audience = ask.facts.snapshot(), str(ask.facts.workspace_id)
    try:
        return _held(snapshot, assertion, audience, ask.now)
    except Unauthenticated:
        # Its key or its client secret may have been made a moment ago.
        store = ask.facts.store()
        with store.database.read() as connection:
            keys, ids = store.signing.public_keys(connection), store.client_secrets.ids(connection)
        snapshot = msgspec.structs.replace(snapshot, keys=keys, client_secrets=ids)
    try:
        return _held(snapshot, assertion, audience, ask.now)
    except Unauthenticated as exc:
        raise Refused("invalid_grant", exc.message) from exc


def _held(snapshot: Snapshot, assertion: str, audience: str, now: float) -> tuple[Claims, Credential, Snapshot]:
    claims = signed.verify(assertion.encode(), snapshot.keys, audience, now)
    return claims, signed.credential(snapshot, claims), snapshot


def _may_query(
    snapshot: Snapshot, principal: Principal | None, details: tuple[Detail, ...], only: frozenset[str] | None
) -> None:
    """Raises Refused unless the principal may query all of these endpoints; one sentence for those that are not there
    and those that it may not see."""
    names = {one.id: name for name, one in snapshot.endpoints.items()}
    for detail in details:
        key = detail.object_path.removeprefix(signed.AT)
        name = names.get(key)
        known = name is not None and principal is not None and snapshot.may_query(principal, name)
        if not known or (only is not None and key not in only):
            raise Refused(
                "invalid_authorization_details",
                "authorization_details names an endpoint that is not there or that this principal may not query",
            )


def _issue(
    ask: Ask, principal_id: str, client_id: str, secret_id: str, scope: str, details: tuple[Detail, ...]
) -> Answer:
    key = ask.facts.store().signing.current(ask.now)
    claims = Claims(
        sub=principal_id,
        client_id=client_id,
        iss=ask.issuer,
        aud=str(ask.facts.workspace_id),
        iat=int(ask.now),
        exp=int(ask.now) + signed.LIFETIME_S,
        jti=secrets.token_hex(16),
        scope=scope,
        sid=secret_id,
        authorization_details=details,
    )
    answer: dict[str, Any] = {
        "access_token": signed.sign(claims, key.id, key.private),
        "token_type": "Bearer",
        "expires_in": signed.LIFETIME_S,
        "scope": scope,
    }
    if details:
        answer["authorization_details"] = details
    return key.id, answer


def _our_account(request: Request, facts: Facts) -> None:
    if request.path_params.get("account_id", facts.account_id) != facts.account_id:
        raise NotFound("this server has another account id: /.well-known/databricks-config names it")


def _told(error: Refused) -> Response:
    headers = NO_STORE | ({"www-authenticate": error.challenge} if error.challenge else {})
    return json({"error": error.code, "error_description": error.description}, error.status, headers)
