"""`w.secrets` and `w.dbutils.secrets` of the Databricks SDK."""

import base64
import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk import errors as sdk_errors
from databricks.sdk.service.workspace import AclPermission, ScopeBackendType

VALUE = "sk-the-value ✓"


@pytest.fixture
def scope(workspace: Any) -> Iterator[str]:
    name = f"scope-{uuid.uuid4().hex[:8]}"
    workspace.secrets.create_scope(name)
    yield name
    workspace.secrets.delete_scope(name)


@pytest.fixture
def robot(workspace: Any) -> Iterator[Any]:
    """A service principal that is no admin, and a client of its own in `client`."""
    made = workspace.service_principals.create(display_name="secrets-robot", active=True)
    token = workspace.token_management.create_obo_token(made.application_id, comment="for a test", lifetime_seconds=600)
    made.client = WorkspaceClient(host=workspace.config.host, token=token.token_value, auth_type="pat")
    yield made
    workspace.service_principals.delete(made.id)


def test_a_scope_is_listed_until_it_is_deleted(workspace: Any) -> None:
    name = f"listed-{uuid.uuid4().hex[:8]}"
    workspace.secrets.create_scope(name, scope_backend_type=ScopeBackendType.DATABRICKS)
    found = {one.name: one.backend_type for one in workspace.secrets.list_scopes()}
    assert found[name] is ScopeBackendType.DATABRICKS
    with pytest.raises(sdk_errors.ResourceAlreadyExists, match=name):
        workspace.secrets.create_scope(name)
    workspace.secrets.delete_scope(name)
    assert name not in {one.name for one in workspace.secrets.list_scopes()}
    with pytest.raises(sdk_errors.ResourceDoesNotExist, match=name):
        workspace.secrets.delete_scope(name)


def test_values_come_back_through_the_sdk_and_dbutils(workspace: Any, scope: str) -> None:
    workspace.secrets.put_secret(scope, "text", string_value=VALUE)
    workspace.secrets.put_secret(scope, "bytes", bytes_value=base64.b64encode(b"\x00\xff").decode())
    assert base64.b64decode(workspace.secrets.get_secret(scope, "text").value).decode() == VALUE
    assert workspace.dbutils.secrets.get(scope, "text") == VALUE
    assert workspace.dbutils.secrets.getBytes(scope, "bytes") == b"\x00\xff"
    listed = list(workspace.secrets.list_secrets(scope))
    assert [one.key for one in listed] == ["bytes", "text"]
    assert all(one.last_updated_timestamp > 1_600_000_000_000 for one in listed)
    assert [one.key for one in workspace.dbutils.secrets.list(scope)] == ["bytes", "text"]
    assert scope in {one.name for one in workspace.dbutils.secrets.listScopes()}
    workspace.secrets.delete_secret(scope, "text")
    with pytest.raises(sdk_errors.ResourceDoesNotExist, match="text"):
        workspace.secrets.get_secret(scope, "text")
    with pytest.raises(sdk_errors.ResourceDoesNotExist):
        workspace.dbutils.secrets.get(scope, "text")


def test_wrong_values_are_invalid_parameters(workspace: Any, scope: str) -> None:
    for more in ({}, {"string_value": VALUE, "bytes_value": "QQ=="}, {"bytes_value": "?"}):
        with pytest.raises(sdk_errors.InvalidParameterValue) as refused:
            workspace.secrets.put_secret(scope, "k", **more)
        assert VALUE not in str(refused.value)
    with pytest.raises(sdk_errors.InvalidParameterValue, match="key"):
        workspace.secrets.put_secret(scope, "no/slash", string_value=VALUE)
    with pytest.raises(sdk_errors.InvalidParameterValue, match="128 KiB"):
        workspace.secrets.put_secret(scope, "large", string_value="x" * 131_073)
    workspace.secrets.put_secret(scope, "large", string_value="x" * 131_072)


def test_acls_open_a_scope_step_by_step(workspace: Any, scope: str, robot: Any) -> None:
    workspace.secrets.put_secret(scope, "k", string_value=VALUE)
    with pytest.raises(sdk_errors.PermissionDenied, match="READ permission on scope"):
        robot.client.secrets.get_secret(scope, "k")
    assert scope not in {one.name for one in robot.client.secrets.list_scopes()}

    workspace.secrets.put_acl(scope, robot.application_id, AclPermission.READ)
    assert robot.client.dbutils.secrets.get(scope, "k") == VALUE
    assert scope in {one.name for one in robot.client.secrets.list_scopes()}
    with pytest.raises(sdk_errors.PermissionDenied):
        robot.client.secrets.put_secret(scope, "k", string_value="x")

    workspace.secrets.put_acl(scope, robot.application_id, AclPermission.WRITE)
    robot.client.secrets.put_secret(scope, "mine", string_value="x")
    with pytest.raises(sdk_errors.PermissionDenied):
        list(robot.client.secrets.list_acls(scope))

    workspace.secrets.put_acl(scope, robot.application_id, AclPermission.MANAGE)
    found = {one.principal: one.permission for one in robot.client.secrets.list_acls(scope)}
    assert found[robot.application_id] is AclPermission.MANAGE
    assert found[workspace.current_user.me().user_name] is AclPermission.MANAGE
    assert workspace.secrets.get_acl(scope, robot.application_id).permission is AclPermission.MANAGE

    workspace.secrets.delete_acl(scope, robot.application_id)
    with pytest.raises(sdk_errors.PermissionDenied):
        robot.client.secrets.list_secrets(scope)
    with pytest.raises(sdk_errors.ResourceDoesNotExist):
        workspace.secrets.get_acl(scope, robot.application_id)
    with pytest.raises(sdk_errors.InvalidParameterValue, match="nobody"):
        workspace.secrets.put_acl(scope, "nobody@example.com", AclPermission.READ)


def test_a_scope_of_one_who_is_no_admin(robot: Any) -> None:
    robot.client.secrets.create_scope("robots-own", initial_manage_principal="users")
    assert [one.principal for one in robot.client.secrets.list_acls("robots-own")] == ["users"]
    robot.client.secrets.delete_scope("robots-own")


def test_a_value_of_any_bytes_is_kept(workspace: Any, scope: str) -> None:
    for size in (0, 1, 1000, 131_072):
        value = os.urandom(size)
        workspace.secrets.put_secret(scope, "random", bytes_value=base64.b64encode(value).decode())
        assert workspace.dbutils.secrets.getBytes(scope, "random") == value
