"""`databricks-sdk` makes endpoints, identities, secrets and tokens, and deletes them: for a server of one's own.

What a version does not have yet is left out and said so.  The external model behind each endpoint is the server's own
chat endpoint, asked with the caller's token.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import uuid4

from tesela.verify.clients.installed import client, raises
from tesela.verify.clients.sdk_calls import connect, messages
from tesela.verify.outcome import Absent, Call, Target, chat_of, require

T = TypeVar("T")

SPREAD_S = 5.0
"""How long a change may take to be known everywhere on the server."""
TOKENS = 4


def serving() -> Any:
    return client("databricks.sdk.service.serving")


def fresh(kind: str) -> str:
    return f"conformance-{kind}-{uuid4().hex[:8]}"


def of(api: Any, name: str) -> Any:
    """A method or a part of the SDK.  Raises Absent when this version lacks it."""
    found = getattr(api, name, None)
    if found is None:
        raise Absent(f"{name} is not in this version")
    return found


def soon(act: Callable[[], T]) -> T:
    """What `act` gives once it no longer raises the SDK's error for what is not there, or not allowed, yet."""
    end = time.monotonic() + SPREAD_S
    early = (client("databricks.sdk.errors").NotFound, client("databricks.sdk.errors").PermissionDenied)
    while True:
        try:
            return act()
        except early:
            if time.monotonic() > end:
                raise
        time.sleep(0.1)


def entity(target: Target, name: str = "one", key: str = "") -> Any:
    """A served entity on the server's own chat endpoint, by its OpenAI paths."""
    given = {"openai_api_key": key} if key else {"openai_api_key_plaintext": target.access_token}
    settings = serving().OpenAiConfig(openai_api_base=target.host + "/serving-endpoints", **given)
    provider = serving().ExternalModelProvider.OPENAI
    model = serving().ExternalModel(name=chat_of(target), provider=provider, task="llm/v1/chat", openai_config=settings)
    return serving().ServedEntityInput(name=name, external_model=model)


@contextmanager
def made(target: Target, key: str = "", **more: Any) -> Iterator[Any]:
    """An endpoint, as `create_and_wait` gives it."""
    api, name = connect(target).serving_endpoints, fresh("endpoint")
    config = serving().EndpointCoreConfigInput(name=name, served_entities=[entity(target, key=key)])
    found = api.create_and_wait(name, config=config, **more)
    try:
        yield found
    finally:
        api.delete(name)


@contextmanager
def robot(target: Target) -> Iterator[Any]:
    """A service principal."""
    api = connect(target).service_principals
    found = api.create(display_name=fresh("robot"))
    try:
        yield found
    finally:
        api.delete(found.id)


def answers(server: Any, name: str) -> None:
    answer = soon(lambda: server.serving_endpoints.query(name, messages=messages(), max_tokens=TOKENS))
    require(answer.choices[0].message.content is not None, "the message has no text")


def create_get_list_delete(target: Target) -> None:
    server = connect(target)
    with made(target, tags=[serving().EndpointTag("team", "x")]) as endpoint:
        require(endpoint.state.ready is serving().EndpointStateReady.READY, "the endpoint that was made is not ready")
        require(endpoint.config.served_entities[0].external_model.openai_config, "the external model lost its settings")
        require(endpoint.tags[0].key == "team", "the tag is lost")
        require(server.serving_endpoints.get(endpoint.name).id == endpoint.id, "get gives another endpoint")
        require(endpoint.name in [one.name for one in server.serving_endpoints.list()], "it is not in the list")
        answers(server, endpoint.name)
    raises(client("databricks.sdk.errors").NotFound, server.serving_endpoints.get, endpoint.name)


def update_config(target: Target) -> None:
    routes = [serving().Route(served_model_name=one, traffic_percentage=50) for one in ("one", "two")]
    with made(target) as endpoint:
        done = connect(target).serving_endpoints.update_config_and_wait(
            endpoint.name,
            served_entities=[entity(target, "one"), entity(target, "two")],
            traffic_config=serving().TrafficConfig(routes=routes),
        )
        require([one.name for one in done.config.served_entities] == ["one", "two"], "the entities are others")
        require(done.config.config_version == 2, "the configuration has not the next version")
        require(done.pending_config is None, "something is still to come")


def patch_tags(target: Target) -> None:
    with made(target, tags=[serving().EndpointTag("team", "x")]) as endpoint:
        patch = connect(target).serving_endpoints.patch
        answer = patch(endpoint.name, add_tags=[serving().EndpointTag("stage", "test")], delete_tags=["team"])
        # Older versions give the tags themselves.
        tags = getattr(answer, "tags", None) or list(answer)
        require([(one.key, one.value) for one in tags] == [("stage", "test")], "the tags are others")


def put_rate_limits(target: Target) -> None:
    limit = serving().RateLimit(calls=9, renewal_period=serving().RateLimitRenewalPeriod.MINUTE)
    with made(target) as endpoint:
        answer = connect(target).serving_endpoints.put(endpoint.name, rate_limits=[limit])
        require([one.calls for one in answer.rate_limits] == [9], "the limits are others")


def put_ai_gateway(target: Target) -> None:
    tracking = serving().AiGatewayUsageTrackingConfig(enabled=True)
    with made(target) as endpoint:
        api = connect(target).serving_endpoints
        answer = api.put_ai_gateway(endpoint.name, usage_tracking_config=tracking)
        require(answer.usage_tracking_config.enabled, "the answer is another")
        require(api.get(endpoint.name).ai_gateway.usage_tracking_config.enabled, "it was not kept")


def endpoint_permissions(target: Target) -> None:
    api = connect(target).serving_endpoints
    level = serving().ServingEndpointPermissionLevel
    with made(target) as endpoint:
        levels = api.get_permission_levels(endpoint.id).permission_levels
        require({one.permission_level.value for one in levels} == {one.value for one in level}, "other levels")
        everybody = serving().ServingEndpointAccessControlRequest(group_name="users", permission_level=level.CAN_QUERY)
        api.update_permissions(endpoint.id, access_control_list=[everybody])
        groups = [one.group_name for one in api.get_permissions(endpoint.id).access_control_list]
        require("users" in groups, "the group was given nothing")
        kept = api.set_permissions(endpoint.id, access_control_list=[]).access_control_list
        require("users" not in [one.group_name for one in kept], "the group still has something")


def users_and_groups(target: Target) -> None:
    server, iam = connect(target), client("databricks.sdk.service.iam")
    user = server.users.create(user_name=f"{fresh('user')}@example.com")
    group = server.groups.create(display_name=fresh("group"), members=[iam.ComplexValue(value=user.id)])
    try:
        require([one.value for one in server.groups.get(group.id).members] == [user.id], "the member is lost")
        found = list(server.users.list(filter=f'userName eq "{user.user_name}"'))
        require([one.id for one in found] == [user.id], "the filter finds somebody else")
        gone = iam.Patch(op=iam.PatchOp.REMOVE, path=f'members[value eq "{user.id}"]')
        schema = iam.PatchSchema.URN_IETF_PARAMS_SCIM_API_MESSAGES_2_0_PATCH_OP
        server.groups.patch(group.id, operations=[gone], schemas=[schema])
        require(not server.groups.get(group.id).members, "the member is still there")
    finally:
        server.groups.delete(group.id)
        server.users.delete(user.id)
    raises(client("databricks.sdk.errors").NotFound, server.users.get, user.id)


def service_principals(target: Target) -> None:
    server = connect(target)
    with robot(target) as found:
        require(found.application_id, "there is no application id")
        named = list(server.service_principals.list(filter=f'applicationId eq "{found.application_id}"'))
        require([one.id for one in named] == [found.id], "the filter finds another")
        server.service_principals.update(found.id, display_name="renamed", active=True)
        require(server.service_principals.get(found.id).display_name == "renamed", "it has the old name")


def secrets_api(target: Target) -> Any:
    """Of the workspace; where a version has none there, of the account."""
    server = connect(target)
    if (proxy := getattr(server, "service_principal_secrets_proxy", None)) is not None:
        return proxy
    account = server.api_client.do("GET", "/.well-known/databricks-config")["account_id"]
    sdk = client("databricks.sdk")
    return sdk.AccountClient(
        host=target.host, account_id=account, token=target.access_token, auth_type="pat"
    ).service_principal_secrets


def client_secrets(target: Target) -> None:
    api = secrets_api(target)
    with robot(target) as found:
        secret = api.create(int(found.id))
        require(secret.secret, "the secret is not told")
        require([one.id for one in api.list(int(found.id))] == [secret.id], "the secret is not in the list")
        api.delete(int(found.id), secret.id)
        require(not list(api.list(int(found.id))), "the secret is still there")


def oauth(target: Target) -> None:
    level = serving().ServingEndpointPermissionLevel.CAN_QUERY
    with robot(target) as found, made(target) as endpoint:
        secret = secrets_api(target).create(int(found.id)).secret
        allowed = serving().ServingEndpointAccessControlRequest(
            service_principal_name=found.application_id, permission_level=level
        )
        connect(target).serving_endpoints.update_permissions(endpoint.id, access_control_list=[allowed])
        signed_in = client("databricks.sdk").WorkspaceClient(
            host=target.host, client_id=found.application_id, client_secret=secret, auth_type="oauth-m2m"
        )
        answers(signed_in, endpoint.name)
        require(signed_in.current_user.me().user_name == found.application_id, "the caller is somebody else")
        denied = client("databricks.sdk.errors").PermissionDenied
        raises(denied, signed_in.serving_endpoints.delete, endpoint.name)


def tokens(target: Target) -> None:
    server = connect(target)
    found = server.tokens.create(comment="conformance", lifetime_seconds=600)
    try:
        require(soon(connect(target, found.token_value).current_user.me).user_name, "the caller has no name")
        require(found.token_info.token_id in [one.token_id for one in server.tokens.list()], "it is not in the list")
    finally:
        server.tokens.delete(found.token_info.token_id)
    require(found.token_info.token_id not in [one.token_id for one in server.tokens.list()], "it is still there")


def token_management(target: Target) -> None:
    api = connect(target).token_management
    with robot(target) as found:
        token = api.create_obo_token(application_id=found.application_id, lifetime_seconds=600)
        require(token.token_value, "the token is not told")
        require(token.token_info.token_id in [one.token_id for one in api.list()], "it is not in the list")
        api.delete(token.token_info.token_id)


def secrets(target: Target) -> None:
    server, scope = connect(target), fresh("scope")
    server.secrets.create_scope(scope)
    try:
        server.secrets.put_secret(scope, "key", string_value=target.access_token)
        require([one.key for one in server.secrets.list_secrets(scope)] == ["key"], "the keys are others")
        read = client("databricks.sdk.service.workspace").AclPermission.READ
        server.secrets.put_acl(scope, "users", read)
        require(server.secrets.get_acl(scope, "users").permission is read, "the permission is another")
        with made(target, key=f"{{{{secrets/{scope}/key}}}}") as endpoint:
            answers(server, endpoint.name)
        server.secrets.delete_secret(scope, "key")
    finally:
        server.secrets.delete_scope(scope)
    require(scope not in [one.name for one in server.secrets.list_scopes()], "the scope is still there")


def notifications(target: Target) -> None:
    update = of(connect(target).serving_endpoints, "update_notifications")
    with made(target) as endpoint:
        wanted = serving().EmailNotifications(on_update_failure=["ann@example.com"])
        answer = update(endpoint.name, email_notifications=wanted)
        require(answer.email_notifications.on_update_failure == ["ann@example.com"], "the answer is another")


CALLS = [
    Call("databricks-sdk", "create_and_wait / get / list / delete", create_get_list_delete),
    Call("databricks-sdk", "update_config_and_wait", update_config),
    Call("databricks-sdk", "patch tags", patch_tags),
    Call("databricks-sdk", "put rate limits", put_rate_limits),
    Call("databricks-sdk", "put_ai_gateway", put_ai_gateway),
    Call("databricks-sdk", "update_notifications", notifications),
    Call("databricks-sdk", "endpoint permissions", endpoint_permissions),
    Call("databricks-sdk", "users and groups", users_and_groups),
    Call("databricks-sdk", "service principals", service_principals),
    Call("databricks-sdk", "client secrets", client_secrets),
    Call("databricks-sdk", "OAuth M2M query", oauth),
    Call("databricks-sdk", "tokens", tokens),
    Call("databricks-sdk", "token management", token_management),
    Call("databricks-sdk", "secrets", secrets),
]
