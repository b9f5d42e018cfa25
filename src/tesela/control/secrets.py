"""Secret scopes, secrets and who may use them, over the paths of the Databricks SDK's `w.secrets`.

A value leaves by one path only, `secrets/get`, for those who may read its scope.  No error repeats a value.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ParamSpec, get_args

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela.control.answers import Handler, document, json
from tesela.control.facts import Facts, actor, credential
from tesela.errors import InvalidRequest, Unsupported
from tesela.records import Actor, Holder, SecretPermission
from tesela.snapshot import Principal

if TYPE_CHECKING:
    from tesela.store.secrets import Secrets
from tesela.wire.document import Document, text

PATH = "/api/2.0/secrets"
VALUE_MAX = 128 * 1024
"""Bytes."""
NAME = re.compile(r"[\w.@-]{1,128}", re.ASCII)
PRINCIPAL_MAX = 256
PERMISSIONS: tuple[SecretPermission, ...] = get_args(SecretPermission)
P = ParamSpec("P")
NO_STORE = {"cache-control": "no-store"}


def routes(facts: Facts) -> list[Route]:
    return [
        Route(f"{PATH}/scopes/create", create_scope(facts), methods=["POST"]),
        Route(f"{PATH}/scopes/list", list_scopes(facts), methods=["GET"]),
        Route(f"{PATH}/scopes/delete", delete_scope(facts), methods=["POST"]),
        Route(f"{PATH}/put", put(facts), methods=["POST"]),
        Route(f"{PATH}/delete", delete(facts), methods=["POST"]),
        Route(f"{PATH}/list", list_keys(facts), methods=["GET"]),
        Route(f"{PATH}/get", get(facts), methods=["GET"]),
        Route(f"{PATH}/acls/put", put_acl(facts), methods=["POST"]),
        Route(f"{PATH}/acls/delete", delete_acl(facts), methods=["POST"]),
        Route(f"{PATH}/acls/get", get_acl(facts), methods=["GET"]),
        Route(f"{PATH}/acls/list", list_acls(facts), methods=["GET"]),
    ]


def create_scope(facts: Facts) -> Handler:
    """Everyone may; it is the caller's then."""

    def work(by: Actor, scope: str, everyone: bool) -> None:
        facts.store().secrets.create_scope(by, scope, everyone=everyone)

    async def handler(request: Request) -> Response:
        by = actor(request)
        asked = await document(request)
        scope = _name("scope", text(asked, "scope"))
        backend = text(asked, "scope_backend_type")
        if backend is not None and backend.upper() != "DATABRICKS":
            raise Unsupported(
                "'scope_backend_type' can only be DATABRICKS: secrets are kept in this server's own store",
                param="scope_backend_type",
            )
        manager = text(asked, "initial_manage_principal")
        if manager not in (None, "", "users"):
            raise InvalidRequest(
                "'initial_manage_principal' can only be the group users; leave it out to manage the scope yourself",
                param="initial_manage_principal",
            )
        return await _changed(facts, work, by, scope, manager == "users")

    return handler


def list_scopes(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        found = await run_in_threadpool(lambda: facts.store().secrets.scopes(credential(request).principal))
        return json({"scopes": [{"name": one, "backend_type": "DATABRICKS"} for one in found]})

    return handler


def delete_scope(facts: Facts) -> Handler:
    def work(by: Actor, who: Principal, scope: str) -> None:
        _open(facts, who, scope, "MANAGE").delete_scope(by, scope)

    async def handler(request: Request) -> Response:
        by, who = actor(request), credential(request).principal
        asked = await document(request)
        return await _changed(facts, work, by, who, _name("scope", text(asked, "scope")))

    return handler


def put(facts: Facts) -> Handler:
    def work(by: Actor, who: Principal, scope: str, key: str, value: bytes) -> None:
        _open(facts, who, scope, "WRITE").put(by, scope, key, value)

    async def handler(request: Request) -> Response:
        by, who = actor(request), credential(request).principal
        asked = await document(request)
        scope, key = _name("scope", text(asked, "scope")), _name("key", text(asked, "key"))
        return await _changed(facts, work, by, who, scope, key, _value(asked))

    return handler


def delete(facts: Facts) -> Handler:
    def work(by: Actor, who: Principal, scope: str, key: str) -> None:
        _open(facts, who, scope, "WRITE").delete(by, scope, key)

    async def handler(request: Request) -> Response:
        by, who = actor(request), credential(request).principal
        asked = await document(request)
        scope, key = _name("scope", text(asked, "scope")), _name("key", text(asked, "key"))
        return await _changed(facts, work, by, who, scope, key)

    return handler


def list_keys(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        who, scope = credential(request).principal, _name("scope", request.query_params.get("scope"))
        found = await run_in_threadpool(lambda: _open(facts, who, scope, "READ").keys(scope))
        return json({"secrets": [{"key": one.key, "last_updated_timestamp": one.updated_ms} for one in found]})

    return handler


def get(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        who, asked = credential(request).principal, request.query_params
        scope, key = _name("scope", asked.get("scope")), _name("key", asked.get("key"))
        value = await run_in_threadpool(lambda: _open(facts, who, scope, "READ").get(scope, key))
        return json({"key": key, "value": b64encode(value).decode()}, headers=NO_STORE)

    return handler


def put_acl(facts: Facts) -> Handler:
    def work(by: Actor, who: Principal, scope: str, name: str, permission: SecretPermission) -> None:
        _open(facts, who, scope, "MANAGE").put_acl(by, scope, name, permission)

    async def handler(request: Request) -> Response:
        by, who = actor(request), credential(request).principal
        asked = await document(request)
        scope, name = _name("scope", text(asked, "scope")), _principal(text(asked, "principal"))
        return await _changed(facts, work, by, who, scope, name, _permission(asked))

    return handler


def delete_acl(facts: Facts) -> Handler:
    def work(by: Actor, who: Principal, scope: str, name: str) -> None:
        _open(facts, who, scope, "MANAGE").delete_acl(by, scope, name)

    async def handler(request: Request) -> Response:
        by, who = actor(request), credential(request).principal
        asked = await document(request)
        scope, name = _name("scope", text(asked, "scope")), _principal(text(asked, "principal"))
        return await _changed(facts, work, by, who, scope, name)

    return handler


def get_acl(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        who, asked = credential(request).principal, request.query_params
        scope, name = _name("scope", asked.get("scope")), _principal(asked.get("principal"))
        found = await run_in_threadpool(lambda: _open(facts, who, scope, "MANAGE").acl(scope, name))
        return json(_acl(*found))

    return handler


def list_acls(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        who, scope = credential(request).principal, _name("scope", request.query_params.get("scope"))
        found = await run_in_threadpool(lambda: _open(facts, who, scope, "MANAGE").acls(scope))
        return json({"items": [_acl(*one) for one in found]})

    return handler


def _open(facts: Facts, who: Principal, scope: str, permission: SecretPermission) -> "Secrets":
    """The secrets, for somebody who may do this with the scope.  Waits for the store."""
    secrets = facts.store().secrets
    secrets.require(who, scope, permission)
    return secrets


def _name(field: str, given: str | None) -> str:
    """A scope's or a secret's name.  A wrong one is not repeated: it could be a value in the wrong place."""
    if given and NAME.fullmatch(given):
        return given
    raise InvalidRequest(
        f"{field!r} must be 1 to 128 letters, digits, dashes, underscores, periods or @, and is "
        + ("none" if not given else "something else"),
        param=field,
    )


def _principal(given: str | None) -> str:
    if given and len(given) <= PRINCIPAL_MAX and given.isprintable():
        return given
    raise InvalidRequest(
        f"'principal' must name a user, a group or a service principal in at most {PRINCIPAL_MAX} characters",
        param="principal",
    )


def _permission(asked: Document) -> SecretPermission:
    given = text(asked, "permission")
    found = next((one for one in PERMISSIONS if one == given), None)
    if found is None:
        raise InvalidRequest(f"'permission' must be one of {', '.join(PERMISSIONS)}", param="permission")
    return found


def _value(asked: Document) -> bytes:
    """The value as bytes, from the one field of two that has it."""
    given = {field: found for field in ("string_value", "bytes_value") if (found := text(asked, field)) is not None}
    if len(given) != 1:
        raise InvalidRequest(
            "give exactly one of 'string_value' and 'bytes_value'" + (", not both" if given else ""),
            param="string_value",
        )
    [(field, found)] = given.items()
    try:
        value = found.encode() if field == "string_value" else b64decode(found, validate=True)
    except (NotBase64, ValueError) as exc:
        raise InvalidRequest("'bytes_value' must be base64", param=field) from exc
    if len(value) > VALUE_MAX:
        raise InvalidRequest(f"{field!r} is larger than {VALUE_MAX // 1024} KiB", param=field)
    return value


def _acl(holder: Holder, permission: SecretPermission) -> Mapping[str, str]:
    return {"principal": holder.name, "permission": permission}


async def _changed(facts: Facts, work: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> Response:
    """Does it in a thread, and has the workers look at the store."""
    await run_in_threadpool(work, *arguments, **named)
    facts.changed()
    return json({})
