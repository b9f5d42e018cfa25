"""`w.permissions`, `w.serving_endpoints.*_permissions` and `w.token_management.*_permissions` of the Databricks SDK."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk import errors as sdk_errors
from databricks.sdk.service.iam import AccessControlRequest, PermissionLevel
from databricks.sdk.service.serving import (
    ChatMessage,
    ChatMessageRole,
    EndpointCoreConfigInput,
    ServedEntityInput,
    ServingEndpointAccessControlRequest,
    ServingEndpointPermissionLevel,
)
from databricks.sdk.service.settings import TokenAccessControlRequest, TokenPermissionLevel

OBJECT = "serving-endpoints"
MODEL = "smollm2-135m-instruct"
HELLO = [ChatMessage(role=ChatMessageRole.USER, content="Say hello.")]
PATIENCE_S = 5.0


@pytest.fixture
def robot(workspace: Any) -> Iterator[Any]:
    """A service principal that is no admin, and a client of its own in `client`."""
    made = workspace.service_principals.create(display_name="permissions-robot", active=True)
    token = workspace.token_management.create_obo_token(made.application_id, comment="for a test", lifetime_seconds=600)
    made.client = WorkspaceClient(host=workspace.config.host, token=token.token_value, auth_type="pat")
    yield made
    workspace.service_principals.delete(made.id)


@pytest.fixture
def team(workspace: Any, robot: Any) -> Iterator[str]:
    """The name of a group that the robot is in."""
    from databricks.sdk.service.iam import ComplexValue

    name = f"team-{uuid.uuid4().hex[:8]}"
    made = workspace.groups.create(display_name=name, members=[ComplexValue(value=robot.id)])
    yield name
    workspace.groups.delete(made.id)


@pytest.fixture
def endpoint(workspace: Any) -> Iterator[str]:
    """The id of an endpoint of the file that nobody was granted."""
    id = workspace.serving_endpoints.get("echo").id
    yield id
    workspace.permissions.set(OBJECT, id, access_control_list=[])


def soon(what: Callable[[], Any], expected: Any) -> None:
    """A change reaches every worker within a second."""
    end = time.monotonic() + PATIENCE_S
    while (found := what()) != expected:
        assert time.monotonic() < end, found
        threading.Event().wait(0.02)


def may_query(client: Any, name: str = "echo") -> bool:
    try:
        client.serving_endpoints.query(name, messages=HELLO)
    except sdk_errors.PermissionDenied:
        return False
    return True


def seen(client: Any) -> set[str]:
    return {one.name for one in client.serving_endpoints.list()}


def test_the_admins_manage_an_endpoint_of_the_file(workspace: Any, endpoint: str) -> None:
    found = workspace.permissions.get(OBJECT, endpoint)
    assert (found.object_id, found.object_type) == (f"/serving-endpoints/{endpoint}", "serving-endpoint")
    [admins] = found.access_control_list
    [held] = admins.all_permissions
    assert admins.group_name == "admins"
    assert (held.permission_level, held.inherited) == (PermissionLevel.CAN_MANAGE, True)
    assert held.inherited_from_object == ["/serving-endpoints/"]


def test_the_levels(workspace: Any, endpoint: str) -> None:
    levels = workspace.permissions.get_permission_levels(OBJECT, endpoint).permission_levels
    assert {one.permission_level for one in levels} == {
        PermissionLevel.CAN_VIEW,
        PermissionLevel.CAN_QUERY,
        PermissionLevel.CAN_MANAGE,
    }
    levels = workspace.serving_endpoints.get_permission_levels(endpoint).permission_levels
    assert {one.permission_level for one in levels} == set(ServingEndpointPermissionLevel)
    assert all(one.description for one in levels)


def test_each_level_allows_what_it_says(workspace: Any, endpoint: str, robot: Any) -> None:
    assert not may_query(robot.client)
    assert "echo" not in seen(robot.client)
    steps = [
        (ServingEndpointPermissionLevel.CAN_VIEW, (True, False, False)),
        (ServingEndpointPermissionLevel.CAN_QUERY, (True, True, False)),
        (ServingEndpointPermissionLevel.CAN_MANAGE, (True, True, True)),
    ]
    for level, expected in steps:
        answer = workspace.serving_endpoints.set_permissions(
            endpoint,
            access_control_list=[
                ServingEndpointAccessControlRequest(service_principal_name=robot.application_id, permission_level=level)
            ],
        )
        [mine] = [one for one in answer.access_control_list if one.service_principal_name]
        assert (mine.service_principal_name, mine.display_name) == (robot.application_id, "permissions-robot")
        assert mine.all_permissions[0].permission_level is level

        def allowed() -> tuple[bool, bool, bool]:
            try:
                robot.client.serving_endpoints.get_permissions(endpoint)
                manages = True
            except sdk_errors.PermissionDenied:
                manages = False
            return "echo" in seen(robot.client), may_query(robot.client), manages

        soon(allowed, expected)
    workspace.serving_endpoints.set_permissions(endpoint, access_control_list=[])
    soon(lambda: may_query(robot.client), False)


def test_a_group_is_granted_and_an_update_adds(workspace: Any, endpoint: str, robot: Any, team: str) -> None:
    workspace.permissions.update(
        OBJECT,
        endpoint,
        access_control_list=[AccessControlRequest(group_name=team, permission_level=PermissionLevel.CAN_QUERY)],
    )
    soon(lambda: may_query(robot.client), True)
    after = workspace.serving_endpoints.update_permissions(
        endpoint,
        access_control_list=[
            ServingEndpointAccessControlRequest(
                group_name="users", permission_level=ServingEndpointPermissionLevel.CAN_VIEW
            )
        ],
    )
    assert {one.group_name for one in after.access_control_list} == {team, "users", "admins"}
    assert workspace.serving_endpoints.get_permissions(endpoint).as_dict() == after.as_dict()
    assert workspace.permissions.get(OBJECT, "echo").object_id == f"/serving-endpoints/{endpoint}"


def test_wrong_lists_and_wrong_endpoints(workspace: Any, endpoint: str) -> None:
    def grant(**who: Any) -> None:
        workspace.permissions.set(
            OBJECT, endpoint, access_control_list=[AccessControlRequest(**{"permission_level": level, **who})]
        )

    level = PermissionLevel.CAN_QUERY
    with pytest.raises(sdk_errors.ResourceDoesNotExist, match=r"nobody@example\.com"):
        grant(user_name="nobody@example.com")
    with pytest.raises(sdk_errors.InvalidParameterValue, match="exactly one"):
        grant()
    with pytest.raises(sdk_errors.InvalidParameterValue, match="permission_level"):
        grant(group_name="users", permission_level=PermissionLevel.CAN_ATTACH_TO)
    with pytest.raises(sdk_errors.ResourceDoesNotExist):
        workspace.permissions.get(OBJECT, "0" * 32)


def test_who_makes_an_endpoint_manages_it(workspace: Any, robot: Any) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    config = EndpointCoreConfigInput(name=name, served_entities=[ServedEntityInput(name="m", entity_name=MODEL)])
    robot.client.serving_endpoints.create_and_wait(name, config=config)
    id = robot.client.serving_endpoints.get(name).id
    found = robot.client.serving_endpoints.get_permissions(id).access_control_list
    assert [(one.service_principal_name, one.group_name) for one in found] == [
        (robot.application_id, None),
        (None, "admins"),
    ]
    # Nobody can shut the maker out.
    workspace.serving_endpoints.set_permissions(id, access_control_list=[])
    assert robot.client.serving_endpoints.get_permissions(id).access_control_list == found
    robot.client.serving_endpoints.delete(name)
    with pytest.raises(sdk_errors.ResourceDoesNotExist):
        workspace.serving_endpoints.get_permissions(id)


def test_who_may_have_tokens(workspace: Any, robot: Any, team: str) -> None:
    users = TokenAccessControlRequest(group_name="users", permission_level=TokenPermissionLevel.CAN_USE)
    ours = TokenAccessControlRequest(group_name=team, permission_level=TokenPermissionLevel.CAN_USE)
    try:
        found = workspace.token_management.set_permissions(access_control_list=[ours])
        assert {one.group_name for one in found.access_control_list} == {team, "admins"}
        assert found.object_type == "tokens"
        found = workspace.token_management.update_permissions(access_control_list=[users])
        assert {one.group_name for one in found.access_control_list} == {team, "users", "admins"}
        levels = workspace.token_management.get_permission_levels().permission_levels
        assert [one.permission_level for one in levels] == [TokenPermissionLevel.CAN_USE]
        with pytest.raises(sdk_errors.PermissionDenied):
            robot.client.token_management.get_permissions()
    finally:
        workspace.token_management.set_permissions(access_control_list=[users])
    found = workspace.token_management.get_permissions()
    assert {one.group_name for one in found.access_control_list} == {"users", "admins"}
