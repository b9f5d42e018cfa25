"""OAuth's paths: discovery, published keys, and tokens by both grants."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import msgspec
import pytest
from anyio.to_thread import current_default_thread_limiter
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from tests.control.oauth import ACCOUNT, ADMIN, HOST, JWT_BEARER, NOW, OTHER, ROBOT, WORKSPACE, Answer, World, details

from tesela import signed
from tesela.control import oauth_form, oidc
from tesela.errors import Unauthenticated
from tesela.gateway.auth import Sessions, authenticate
from tesela.records import SYSTEM
from tesela.store.database import Database

GRANT = {"grant_type": "client_credentials", "scope": "all-apis"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


def refused(answer: Answer, code: str, status: int = 400) -> str:
    """The description of an error in OAuth's shape."""
    told = answer.json()
    assert (answer.status, told["error"]) == (status, code), told
    assert set(told) == {"error", "error_description"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    # The characters that RFC 6749, section 5.2 allows.
    assert all(" " <= one <= "~" and one not in '"\\' for one in told["error_description"])
    return str(told["error_description"])


# ------------------------------------------------------------ discovery


def test_databricks_config(world: World) -> None:
    answer = world.call("GET", "/.well-known/databricks-config")
    expected = {"oidc_endpoint": f"{HOST}/oidc", "account_id": ACCOUNT, "workspace_id": str(WORKSPACE), "cloud": "aws"}
    assert answer.json() == expected


@pytest.mark.parametrize("base", ["/oidc", f"/oidc/accounts/{ACCOUNT}"])
@pytest.mark.parametrize("path", ["oauth-authorization-server", "openid-configuration"])
def test_discovery_leads_to_paths_that_are_there(world: World, base: str, path: str) -> None:
    found = world.call("GET", f"{base}/.well-known/{path}").json()
    assert found["issuer"] == HOST + base
    assert found["authorization_endpoint"].startswith(HOST)
    token = found["token_endpoint"].removeprefix(HOST)
    assert world.ask(GRANT, path=token, basic=(ROBOT.name, world.secret)).status == 200
    assert world.call("GET", found["jwks_uri"].removeprefix(HOST)).status == 200
    assert found["grant_types_supported"] == ["client_credentials", JWT_BEARER]


def test_another_account_is_not_here(world: World) -> None:
    assert world.call("GET", "/oidc/accounts/1/.well-known/oauth-authorization-server").status == 404
    answer = world.ask(GRANT, path="/oidc/accounts/1/v1/token", basic=(ROBOT.name, world.secret))
    refused(answer, "invalid_request", 404)


def test_the_keys_are_told_while_all_threads_wait_for_the_store(world: World) -> None:
    async def main() -> Response:
        limiter = current_default_thread_limiter()
        for _ in range(int(limiter.total_tokens)):
            limiter.acquire_on_behalf_of_nowait(object())
        async with asyncio.timeout(10):
            return await oidc.jwks(world.facts)(Request({"type": "http", "headers": []}))

    assert asyncio.run(main()).status_code == 200


def test_anybody_can_check_a_token_with_the_published_keys(world: World) -> None:
    assert world.call("GET", "/oidc/jwks.json").json() == {"keys": []}
    token = world.token()["access_token"]
    world.refresh()
    answer = world.call("GET", "/oidc/jwks.json")
    assert b"PRIVATE" not in answer.body
    keys = jwt.PyJWKSet.from_dict(answer.json())
    options: Any = {"verify_exp": False, "verify_iat": False}
    found = jwt.decode(token, keys.keys[0], ["RS256"], audience=str(WORKSPACE), options=options)
    assert found["iss"] == f"{HOST}/oidc"


def test_paths_take_their_methods_only(world: World) -> None:
    for method, path in (("GET", "/oidc/v1/token"), ("POST", "/oidc/jwks.json"), ("DELETE", "/oidc/v1/token")):
        assert world.call(method, path).status == 405
    assert world.call("GET", "/oidc/v1/authorize").status == 404


# ------------------------------------------------------------ client credentials


def test_a_token_by_basic_authentication(world: World) -> None:
    answer = world.ask(GRANT, basic=(ROBOT.name, world.secret))
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert set(told) == {"access_token", "token_type", "expires_in", "scope"}
    assert (told["token_type"], told["expires_in"], told["scope"]) == ("Bearer", 3600, "all-apis")
    claims = world.claims(told["access_token"])
    assert claims == signed.Claims(
        sub=ROBOT.id,
        client_id=ROBOT.name,
        iss=f"{HOST}/oidc",
        aud=str(WORKSPACE),
        iat=int(NOW),
        exp=int(NOW) + 3600,
        jti=claims.jti,
        scope="all-apis",
        sid=world.secret_info.id,
    )
    assert world.secret not in answer.body.decode()


def test_a_token_by_the_form(world: World) -> None:
    answer = world.ask({**GRANT, "client_id": ROBOT.name, "client_secret": world.secret})
    assert world.claims(answer.json()["access_token"]).sub == ROBOT.id


def test_the_client_id_may_stand_in_both_places(world: World) -> None:
    assert world.ask({**GRANT, "client_id": ROBOT.name}, basic=(ROBOT.name, world.secret)).status == 200


def test_a_client_may_write_its_id_as_in_a_form(world: World) -> None:
    escaped = "".join(f"%{byte:02X}" for byte in ROBOT.name.encode())
    assert world.ask(GRANT, basic=(escaped, world.secret)).status == 200


def test_without_a_scope_a_token_is_for_all(world: World) -> None:
    for scope in ({}, {"scope": ""}):
        answer = world.ask({"grant_type": "client_credentials", **scope}, basic=(ROBOT.name, world.secret))
        assert answer.json()["scope"] == "all-apis"


@pytest.mark.parametrize("scope", ["all-apis offline_access", "model-serving", "sql  model-serving-inference sql"])
def test_scopes_that_are_known(world: World, scope: str) -> None:
    told = world.token(scope=scope)
    assert told["scope"].split() == list(dict.fromkeys(scope.split()))
    assert world.claims(told["access_token"]).scope == told["scope"]


def test_the_first_token_makes_the_key_and_tells_the_worker(world: World) -> None:
    one = world.token()["access_token"]
    assert world.changes == 1
    world.refresh()
    two = world.token()["access_token"]
    assert world.changes == 1
    assert one != two
    assert len(world.snapshot.keys) == 1


def wrong_clients(secret: str) -> dict[str, tuple[dict[str, str], tuple[str, str] | None]]:
    return {
        "a wrong secret": ({}, (ROBOT.name, secret[:-1])),
        "no secret": ({}, (ROBOT.name, "")),
        "no name": ({}, ("", secret)),
        "another's name": ({}, (OTHER.name, secret)),
        "the principal's id as a name": ({}, (ROBOT.id, secret)),
        "a token as the secret": ({}, ("token", "dapi0123456789abcdef0123456789abcdef")),
        "SQL": ({}, ("' OR '1'='1", "' OR '1'='1")),
        "zeros": ({}, ("\0", "\0")),
        "a name of 100 kB": ({}, ("x" * 100_000, secret)),
        "a wrong secret in the form": ({"client_id": ROBOT.name, "client_secret": secret + "0"}, None),
        "no name in the form": ({"client_secret": secret}, None),
        "no secret in the form": ({"client_id": ROBOT.name}, None),
        "nothing": ({}, None),
    }


@pytest.mark.parametrize("case", wrong_clients(""))
def test_wrong_clients(world: World, case: str) -> None:
    form, basic = wrong_clients(world.secret)[case]
    answer = world.ask({**GRANT, **form}, basic=basic)
    description = refused(answer, "invalid_client", 401)
    assert world.secret not in description
    # The header is there when the client used the other one.
    assert answer.headers.get("www-authenticate", "").startswith("Basic") == (basic is not None)
    with world.store.database.read() as connection:
        assert world.store.signing.public_keys(connection) == {}


@pytest.mark.parametrize(
    "header", ["Basic", "Basic ", "Basic !!!", "Basic \xff", "Basic " + b64encode(b"\xff:\xff").decode()]
)
def test_broken_basic_authentication(world: World, header: str) -> None:
    answer = world.ask(GRANT, headers={"authorization": header})
    refused(answer, "invalid_client", 401)
    assert answer.headers["www-authenticate"].startswith("Basic")


def test_a_client_shows_itself_once(world: World) -> None:
    twice = {**GRANT, "client_id": ROBOT.name, "client_secret": world.secret}
    assert "twice" in refused(world.ask(twice, basic=(ROBOT.name, world.secret)), "invalid_request")
    other = {**GRANT, "client_id": OTHER.name}
    assert "another one" in refused(world.ask(other, basic=(ROBOT.name, world.secret)), "invalid_request")


def test_a_deleted_and_an_expired_secret(world: World) -> None:
    world.now = world.secret_info.expires
    refused(world.ask(GRANT, basic=(ROBOT.name, world.secret)), "invalid_client", 401)
    world.now = world.secret_info.expires - 1
    assert world.ask(GRANT, basic=(ROBOT.name, world.secret)).status == 200
    world.store.client_secrets.delete(SYSTEM, ROBOT.id, world.secret_info.id)
    refused(world.ask(GRANT, basic=(ROBOT.name, world.secret)), "invalid_client", 401)


def test_a_service_principal_that_is_not_active(world: World) -> None:
    world.deactivate(ROBOT)
    refused(world.ask(GRANT, basic=(ROBOT.name, world.secret)), "invalid_client", 401)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "x"}, "unsupported_grant_type"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange"}, "unsupported_grant_type"),
        ({"grant_type": "Client_Credentials"}, "unsupported_grant_type"),
        ({**GRANT, "scope": "everything"}, "invalid_scope"),
        ({**GRANT, "scope": "all-apis everything"}, "invalid_scope"),
        ({**GRANT, "scope": " "}, "invalid_scope"),
        ({**GRANT, "scope": "x" * 100_000}, "invalid_scope"),
        ({**GRANT, "assume_group": "1"}, "invalid_request"),
        ({**GRANT, "authorization_details": "[" * 5000}, "invalid_request"),
        ({**GRANT, "authorization_details": "x" * 9000}, "invalid_request"),
    ],
)
def test_requests_that_are_wrong(world: World, form: dict[str, str], code: str) -> None:
    assert refused(world.ask(form, basic=(ROBOT.name, world.secret)), code)


@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=client_credentials&grant_type=client_credentials",
        b"grant_type=client_credentials&client_id=a&client_id=b",
        b"grant_type=%ff",
        b"grant_type=\xff",
        b"&".join(b"a%d=1" % number for number in range(100)),
        b'{"grant_type": "client_credentials"}',
        b"",
        b"\0" * 1000,
    ],
)
def test_forms_that_are_none(world: World, body: bytes) -> None:
    refused(world.ask(body, basic=(ROBOT.name, world.secret)), "invalid_request")


def test_a_form_that_is_too_large(world: World) -> None:
    refused(world.ask(b"x" * (1024 * 1024 + 1)), "invalid_request", 413)


@given(st.binary(max_size=200), st.binary(max_size=60).map(lambda x: b64encode(x).decode()))
def test_garbage_is_refused_in_oauths_shape(body: bytes, header: str) -> None:
    codes: list[str] = []
    for text in (body, b"grant_type=client_credentials&scope=" + body):
        try:
            form = oauth_form.read(text)
            oauth_form.grant(form)
            oauth_form.scope(form)
            oauth_form.details(form)
            oauth_form.client(f"Basic {header}", form)
        except oauth_form.Refused as error:
            codes.append(error.code)
    assert all(code.startswith(("invalid_", "unsupported_")) for code in codes)


def test_a_store_that_is_gone(world: World) -> None:
    world.store.database = Database("postgresql://user:password@127.0.0.1:1/none")
    world.store.client_secrets._database = world.store.database
    answer = world.ask(GRANT, basic=(ROBOT.name, world.secret))
    told = answer.json()
    assert (answer.status, told["error"]) == (503, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "127.0.0.1" not in told["error_description"]


def test_nothing_that_was_sent_comes_back(world: World) -> None:
    marker = "dose-this-must-never-be-shown"
    forms: list[dict[str, str]] = [
        {"grant_type": marker},
        {**GRANT, "scope": marker},
        {**GRANT, "client_id": marker, "client_secret": marker},
        {**GRANT, "authorization_details": marker},
        {**GRANT, "authorization_details": details("one", type=marker)},
        {"grant_type": JWT_BEARER, "assertion": marker, "authorization_details": details("one")},
        {"grant_type": JWT_BEARER, "assertion": f"{marker}.{marker}.{marker}", "authorization_details": details("one")},
    ]
    for form in forms:
        for basic in (None, (marker, marker)):
            answer = world.ask(form, basic=basic)
            assert answer.status in (400, 401)
            assert marker not in answer.body.decode() + repr(answer.headers)
    shown = oauth_form.Shown("name", marker)
    assert marker not in repr(shown)
    assert marker not in repr(oidc.Ask(world.facts, "", {"client_secret": marker}, marker, 0.0))


# ------------------------------------------------------------ tokens for the data plane


def test_a_token_for_one_endpoint(world: World) -> None:
    assertion = world.token()["access_token"]
    answer = world.exchange(assertion, "one")
    assert answer.status == 200
    told = answer.json()
    assert (told["token_type"], told["expires_in"], told["scope"]) == ("Bearer", 3600, "all-apis")
    assert told["authorization_details"] == json.loads(details("one"))
    claims = world.claims(told["access_token"])
    assert (claims.sub, claims.client_id, claims.sid) == (ROBOT.id, ROBOT.name, world.secret_info.id)
    found = authenticate(world.snapshot, b"Bearer " + told["access_token"].encode(), NOW, Sessions(str(WORKSPACE)))
    assert found.endpoints == frozenset({"id-one"})
    assert found.principal is ROBOT


def test_a_token_for_several_endpoints_at_once(world: World) -> None:
    told = world.token(authorization_details=details("one", "two"))
    world.refresh()
    found = authenticate(world.snapshot, b"Bearer " + told["access_token"].encode(), NOW, Sessions(str(WORKSPACE)))
    assert found.endpoints == frozenset({"id-one", "id-two"})


def test_the_clients_own_wording(world: World) -> None:
    """As the Databricks SDK sends it: no basic authentication, the details as the endpoint gave them."""
    form = urlencode(
        {
            "grant_type": JWT_BEARER,
            "authorization_details": details("two"),
            "assertion": world.token()["access_token"],
        }
    )
    assert world.ask(form).status == 200


def test_a_snapshot_that_is_behind(world: World) -> None:
    """The key and the client secret were made in another worker, a moment ago."""
    assertion = world.token()["access_token"]
    assert world.snapshot.keys == {}
    assert world.snapshot.client_secrets == frozenset()
    assert world.exchange(assertion, "one").status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        details("three"),
        details("one", "three"),
        details("nowhere"),
        details("one", object_path="/serving-endpoints/one"),
        details("one", object_path="/serving-endpoints/"),
        details("one", object_path="id-one"),
        details("one", object_type="clusters"),
        details("one", type="account_permission"),
        details("one", actions=["manage_inference_endpoint"]),
        details("one", actions=["query_inference_endpoint", "manage_inference_endpoint"]),
        details("one", actions=[]),
        details("one", actions="query_inference_endpoint"),
        details("one", object_path=1),
        "[]",
        "{}",
        "null",
        '"x"',
        "[1]",
        "[{}]",
        details("one', object_path); DROP TABLE principals; --"),
    ],
)
def test_details_that_are_wrong(world: World, wrong: str) -> None:
    assertion = world.token()["access_token"]
    form = {"grant_type": JWT_BEARER, "assertion": assertion, "authorization_details": wrong}
    refused(world.ask(form), "invalid_authorization_details")
    own = {**GRANT, "authorization_details": wrong}
    refused(world.ask(own, basic=(ROBOT.name, world.secret)), "invalid_authorization_details")


def test_what_is_not_there_and_what_is_not_allowed_look_the_same(world: World) -> None:
    assertion = world.token()["access_token"]
    assert world.exchange(assertion, "three").body == world.exchange(assertion, "nowhere").body


@pytest.mark.parametrize("text", ["{", "[{]", "x", "[1,", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")])
def test_details_that_are_no_json(world: World, text: str) -> None:
    form = {"grant_type": JWT_BEARER, "assertion": world.token()["access_token"], "authorization_details": text}
    refused(world.ask(form), "invalid_request")


def test_a_grant_without_its_parameters(world: World) -> None:
    assertion = world.token()["access_token"]
    refused(world.ask({"grant_type": JWT_BEARER, "authorization_details": details("one")}), "invalid_request")
    refused(world.ask({"grant_type": JWT_BEARER, "assertion": assertion}), "invalid_request")


def test_a_personal_access_token_cannot_be_exchanged(world: World) -> None:
    assert "personal access token" in refused(world.exchange("dapi" + "0" * 32, "one"), "invalid_grant")


def test_assertions_that_are_wrong(world: World) -> None:
    good = world.token()["access_token"]
    head, body, signature = good.split(".")
    key_id, private, _ = signed.make_key()
    none = b64encode(b'{"alg":"none","kid":"x"}').decode().rstrip("=")
    wrong = [
        f"{head}.{body}.",
        f"{none}.{body}.",
        f"{head}.{body}.{signature[::-1]}",
        signed.sign(world.claims(good), key_id, private),
        "a.b.c",
        "..",
        "x" * 20_000 + "..",
        "ü.ü.ü",
    ]
    for assertion in wrong:
        refused(world.exchange(assertion, "one"), "invalid_grant")
    world.now = NOW + 3600 + 60
    assert "expired" in refused(world.exchange(good, "one"), "invalid_grant")
    world.now = NOW - 61
    assert "not valid yet" in refused(world.exchange(good, "one"), "invalid_grant")


def test_a_token_for_some_endpoints_gets_no_other(world: World) -> None:
    first = world.exchange(world.token()["access_token"], "one").json()["access_token"]
    for name in ("one", "two"):
        refused(world.exchange(first, name), "invalid_grant")


def test_a_narrow_scope_stays_narrow(world: World) -> None:
    told = world.exchange(world.token(scope="model-serving")["access_token"], "one").json()
    assert told["scope"] == "model-serving"
    refused(world.exchange(world.token(scope="sql")["access_token"], "one"), "invalid_authorization_details")


def test_an_assertion_ends_with_its_client_secret_and_its_principal(world: World) -> None:
    assertion = world.token()["access_token"]
    world.refresh()
    gone = msgspec.structs.replace(world.snapshot, principals={ADMIN.id: ADMIN})
    before, world.snapshot = world.snapshot, gone
    refused(world.exchange(assertion, "one"), "invalid_grant")
    world.snapshot = before
    assert world.exchange(assertion, "one").status == 200
    world.store.client_secrets.delete(SYSTEM, ROBOT.id, world.secret_info.id)
    world.refresh()
    refused(world.exchange(assertion, "one"), "invalid_grant")
    with pytest.raises(Unauthenticated):
        authenticate(world.snapshot, b"Bearer " + assertion.encode(), NOW, Sessions(str(WORKSPACE)))


def test_a_client_that_shows_itself_beside_an_assertion_must_be_the_same(world: World) -> None:
    assertion = world.token()["access_token"]
    form = {"grant_type": JWT_BEARER, "assertion": assertion, "authorization_details": details("one")}
    secret, _ = world.store.client_secrets.create(SYSTEM, OTHER.id)
    assert world.ask(form, basic=(ROBOT.name, world.secret)).status == 200
    refused(world.ask(form, basic=(OTHER.name, secret)), "invalid_client", 401)
    refused(world.ask(form, basic=(ROBOT.name, "wrong")), "invalid_client", 401)


def test_the_public_paths_are_those_of_the_routes(world: World) -> None:
    assert {route.path for route in oidc.routes(world.facts)} == oidc.PUBLIC
