"""Users, groups, service principals and access tokens by the Databricks SDK's own methods."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient, errors
from databricks.sdk.common.types.fieldmask import FieldMask
from databricks.sdk.service import iam, settings

SCHEMA = [iam.PatchSchema.URN_IETF_PARAMS_SCIM_API_MESSAGES_2_0_PATCH_OP]
NUMBERS = count(1)


def values(*ids: str | None) -> list[iam.ComplexValue]:
    return [iam.ComplexValue(value=one) for one in ids]


def ids(found: list[iam.ComplexValue] | None) -> set[str | None]:
    return {one.value for one in found or []}


class Made:
    """What a test makes is gone after it."""

    def __init__(self, w: WorkspaceClient, ends: ExitStack) -> None:
        self.w = w
        self._ends = ends

    def user(self, called: str, **more: Any) -> iam.User:
        made = self.w.users.create(user_name=f"{called}-{next(NUMBERS)}@example.com", **more)
        self._ends.callback(self._gone, self.w.users.delete, made.id)
        return made

    def group(self, name: str, **more: Any) -> iam.Group:
        made = self.w.groups.create(display_name=f"{name}-{next(NUMBERS)}", **more)
        self._ends.callback(self._gone, self.w.groups.delete, made.id)
        return made

    def robot(self, name: str, **more: Any) -> iam.ServicePrincipal:
        made = self.w.service_principals.create(display_name=f"{name}-{next(NUMBERS)}", **more)
        self._ends.callback(self._gone, self.w.service_principals.delete, made.id)
        return made

    @staticmethod
    def _gone(delete: Callable[[str], Any], id: str) -> None:
        try:
            delete(id)
        except errors.NotFound:
            return


@pytest.fixture
def made(workspace: WorkspaceClient) -> Iterator[Made]:
    with ExitStack() as ends:
        yield Made(workspace, ends)


def client(server: Any, access_token: str | None) -> WorkspaceClient:
    return WorkspaceClient(host=server.host, token=access_token, auth_type="pat")


def test_users(made: Made) -> None:
    w = made.w
    user = made.user(
        "ann",
        display_name="Ann",
        name=iam.Name(given_name="Ann", family_name="A"),
        emails=[iam.ComplexValue(value="ann@home.example", type="home", primary=True)],
        entitlements=values("workspace-access"),
        external_id="x-1",
        active=True,
    )
    assert w.users.get(user.id) == user
    assert (user.display_name, user.active, user.external_id) == ("Ann", True, "x-1")
    assert user.name == iam.Name(given_name="Ann", family_name="A")
    assert user.emails == [iam.ComplexValue(value="ann@home.example", type="home", primary=True)]
    assert ids(user.entitlements) == {"workspace-access"}
    assert [one.display for one in user.groups or []] == ["users"]
    assert [one.id for one in w.users.list(filter=f'userName eq "{user.user_name}"')] == [user.id]
    assert user.id in [one.id for one in w.users.list(attributes="id,userName", sort_by="userName", count=1)]
    w.users.update(user.id, user_name=user.user_name, display_name="Ann B", active=True)
    changed = w.users.get(user.id)
    assert (changed.display_name, changed.entitlements or []) == ("Ann B", [])
    operation = iam.Patch(op=iam.PatchOp.REPLACE, path="name.givenName", value="Anna")
    w.users.patch(user.id, schemas=SCHEMA, operations=[operation])
    assert w.users.get(user.id, attributes="name").name == iam.Name(given_name="Anna")
    with pytest.raises(errors.ResourceAlreadyExists):
        w.users.create(user_name=user.user_name.upper())
    w.users.delete(user.id)
    with pytest.raises(errors.ResourceDoesNotExist, match="there is no user with id"):
        w.users.get(user.id)


def test_lists_end(made: Made) -> None:
    for _ in range(3):
        made.user("many")
    seen = [one.id for one in made.w.users.list(filter='userName sw "many-"', count=2)]
    assert len(seen) == len(set(seen)) == 3
    assert list(made.w.users.list(filter='userName eq "nobody@example.com"')) == []
    with pytest.raises(errors.InvalidParameterValue, match="is no attribute here"):
        list(made.w.users.list(filter='password eq "x"'))


def test_groups(made: Made) -> None:
    w = made.w
    ann, robot = made.user("ann"), made.robot("robot")
    inner = made.group("inner", members=values(ann.id))
    outer = made.group("outer", members=values(inner.id), external_id="x", entitlements=values("e"))
    assert (ids(outer.members), outer.external_id, ids(outer.entitlements)) == ({inner.id}, "x", {"e"})
    assert outer.meta == iam.ResourceMeta(resource_type="WorkspaceGroup")
    assert [one.display for one in w.groups.get(inner.id).groups or []] == [outer.display_name]
    w.groups.patch(
        outer.id,
        schemas=SCHEMA,
        operations=[
            iam.Patch(op=iam.PatchOp.ADD, value={"members": [{"value": robot.id}, {"value": ann.id}]}),
            iam.Patch(op=iam.PatchOp.REMOVE, path=f'members[value eq "{ann.id}"]'),
        ],
    )
    assert ids(w.groups.get(outer.id).members) == {inner.id, robot.id}
    w.groups.update(outer.id, display_name=f"{outer.display_name}-again", members=values(robot.id))
    found = next(w.groups.list(filter=f'displayName eq "{outer.display_name}-again"'))
    assert (found.id, ids(found.members)) == (outer.id, {robot.id})
    with pytest.raises(errors.InvalidParameterValue, match="it contains that group or is it"):
        w.groups.update(inner.id, display_name=inner.display_name, members=values(inner.id))
    assert {"admins", "users"} <= {one.display_name for one in w.groups.list()}
    w.groups.delete(outer.id)
    with pytest.raises(errors.ResourceDoesNotExist):
        w.groups.patch(outer.id, schemas=SCHEMA, operations=[iam.Patch(op=iam.PatchOp.REMOVE, path="members")])


def test_service_principals(made: Made) -> None:
    w = made.w
    team = made.group("team")
    robot = made.robot("robot", active=True, groups=values(team.id))
    assert w.service_principals.get(robot.id) == robot
    assert team.id in ids(robot.groups)
    [found] = w.service_principals.list(filter=f'applicationId eq "{robot.application_id}"')
    assert found == robot
    w.service_principals.update(robot.id, display_name="other", application_id=robot.application_id, active=False)
    assert w.service_principals.get(robot.id).active is False
    operation = iam.Patch(op=iam.PatchOp.REPLACE, path="active", value=True)
    w.service_principals.patch(robot.id, schemas=SCHEMA, operations=[operation])
    assert w.service_principals.get(robot.id).active is True
    w.service_principals.delete(robot.id)
    assert list(w.service_principals.list(filter=f'applicationId eq "{robot.application_id}"')) == []


def test_the_second_generation_of_the_methods(made: Made) -> None:
    w, user = made.w, made.user("ann")
    assert w.users_v2.get(user.id).user_name == user.user_name
    assert [one.id for one in w.users_v2.list(filter=f'userName eq "{user.user_name}"')] == [user.id]
    assert "admins" in {one.display_name for one in w.groups_v2.list()}
    robot = made.robot("robot")
    w.service_principals_v2.delete(robot.id)
    with pytest.raises(errors.ResourceDoesNotExist):
        w.service_principals_v2.get(robot.id)


def test_an_admin_is_left(made: Made) -> None:
    w = made.w
    me = w.current_user.me()
    [admins] = w.groups.list(filter='displayName eq "admins"')
    assert me.id in ids(admins.members)
    for refused in (
        lambda: w.users.delete(me.id),
        lambda: w.users.update(me.id, user_name=me.user_name, active=False),
        lambda: w.groups.delete(admins.id),
        lambda: w.groups.update(admins.id, display_name="admins", members=[]),
    ):
        with pytest.raises(errors.InvalidParameterValue):
            refused()
    assert w.current_user.me().active is True


def test_who_one_is(server: Any, made: Made) -> None:
    me = made.w.current_user.me()
    assert made.w.users.get(me.id) == me
    assert {"admins", "users"} <= {one.display for one in me.groups or []}
    robot = made.robot("robot")
    given = made.w.token_management.create_obo_token(robot.application_id, comment="t", lifetime_seconds=600)
    theirs = client(server, given.token_value)
    found = theirs.current_user.me()
    assert (found.id, found.user_name, found.display_name) == (robot.id, robot.application_id, robot.display_name)
    assert theirs.get_workspace_id() == made.w.get_workspace_id()


def test_who_is_no_admin_reads_and_changes_nothing(server: Any, made: Made) -> None:
    robot, user = made.robot("robot"), made.user("ann")
    w = client(server, made.w.token_management.create_obo_token(robot.application_id).token_value)
    assert w.users.get(user.id).user_name == user.user_name
    assert robot.id in {one.id for one in w.service_principals.list()}
    assert next(w.groups.list(filter="displayName eq 'admins'")).display_name == "admins"
    for refused in (
        lambda: w.users.create(user_name="eve@example.com"),
        lambda: w.users.delete(user.id),
        lambda: w.groups.create(display_name="eves"),
        lambda: w.service_principals.update(robot.id, display_name="eve"),
        lambda: w.service_principals.patch(
            robot.id, schemas=SCHEMA, operations=[iam.Patch(op=iam.PatchOp.REPLACE, path="active", value="false")]
        ),
        lambda: list(w.token_management.list()),
        lambda: w.token_management.create_obo_token(robot.application_id),
    ):
        with pytest.raises(errors.PermissionDenied, match="only an admin may"):
            refused()


def test_an_admin_through_a_group(server: Any, made: Made) -> None:
    robot = made.robot("robot")
    inner = made.group("inner", members=values(robot.id))
    [admins] = made.w.groups.list(filter='displayName eq "admins"')
    w = client(server, made.w.token_management.create_obo_token(robot.application_id).token_value)
    with pytest.raises(errors.PermissionDenied):
        list(w.token_management.list())
    add = iam.Patch(op=iam.PatchOp.ADD, path="members", value=[{"value": inner.id}])
    made.w.groups.patch(admins.id, schemas=SCHEMA, operations=[add])
    poll(lambda: allowed(lambda: list(w.token_management.list())))
    made.w.groups.delete(inner.id)
    poll(lambda: not allowed(lambda: list(w.token_management.list())))


def test_tokens_of_ones_own(server: Any, made: Made) -> None:
    w = made.w
    given = w.tokens.create(comment="mine", lifetime_seconds=600)
    info = given.token_info
    assert info.expiry_time - info.creation_time == 600_000
    assert info in list(w.tokens.list())
    theirs = client(server, given.token_value)
    assert theirs.current_user.me().id == w.current_user.me().id
    w.tokens.update(info.token_id, settings.PublicTokenInfo(comment="ours"), FieldMask(["comment"]))
    assert {one.token_id: one.comment for one in w.tokens.list()}[info.token_id] == "ours"
    w.tokens.delete(info.token_id)
    poll(lambda: not known(theirs))
    with pytest.raises(errors.ResourceDoesNotExist):
        w.tokens.delete(info.token_id)
    forever = w.tokens.create().token_info
    assert forever.expiry_time == -1
    w.tokens.delete(forever.token_id)
    with pytest.raises(errors.BadRequest, match="scopes"):
        w.tokens.create(scopes=["sql"])


def test_tokens_of_everybody(server: Any, made: Made) -> None:
    w = made.w
    me, robot = w.current_user.me(), made.robot("robot")
    given = w.token_management.create_obo_token(robot.application_id, comment="job", lifetime_seconds=600)
    info = given.token_info
    assert (info.owner_id, info.created_by_id) == (int(robot.id), int(me.id))
    assert (info.created_by_username, info.comment) == (me.user_name, "job")
    assert info.workspace_id == w.get_workspace_id()
    assert w.token_management.get(info.token_id).token_info == info
    assert info in list(w.token_management.list(created_by_id=int(me.id)))
    assert info in list(w.token_management.list(created_by_username=me.user_name))
    assert list(w.token_management.list(created_by_id=int(robot.id))) == []
    changed = w.token_management.update_token_management(
        info.token_id, settings.TokenInfo(comment="other"), FieldMask(["comment"])
    )
    assert changed.comment == "other"
    theirs = client(server, given.token_value)
    assert known(theirs)
    w.token_management.delete(info.token_id)
    poll(lambda: not known(theirs))
    with pytest.raises(errors.ResourceDoesNotExist):
        w.token_management.get(info.token_id)


def test_who_is_not_active_any_more_is_not_let_in(server: Any, made: Made) -> None:
    w, robot = made.w, made.robot("robot")
    theirs = client(server, w.token_management.create_obo_token(robot.application_id).token_value)
    assert known(theirs)
    off = iam.Patch(op=iam.PatchOp.REPLACE, path="active", value="false")
    w.service_principals.patch(robot.id, schemas=SCHEMA, operations=[off])
    poll(lambda: not known(theirs))
    assert robot.id not in {str(one.owner_id) for one in w.token_management.list()}
    lost = iam.Patch(op=iam.PatchOp.REPLACE, path="active", value=False)
    with pytest.raises(errors.InvalidParameterValue, match='write value="false"'):
        w.service_principals.patch(robot.id, schemas=SCHEMA, operations=[lost])
    with pytest.raises(errors.NotFound):
        w.token_management.create_obo_token(robot.application_id)


@pytest.mark.parametrize("text", ["'; DROP TABLE principals; --", "x' OR '1'='1", '"; --', "%_\\", "Ünï©ødé 🜁"])
def test_text_is_text(made: Made, text: str) -> None:
    w = made.w
    group = made.group(text, external_id=text)
    assert (w.groups.get(group.id).external_id, group.display_name.startswith(text)) == (text, True)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    assert [one.id for one in w.groups.list(filter=f"externalId eq '{escaped}'")] == [group.id]
    with pytest.raises(errors.InvalidParameterValue, match="userName"):
        w.users.create(user_name=text)
    with pytest.raises(errors.InvalidParameterValue, match="256 are allowed"):
        w.groups.create(display_name=text * 1000)


def poll(so: Callable[[], bool]) -> None:
    """A change counts within a second."""
    deadline = time.monotonic() + 10
    while not so():
        assert time.monotonic() < deadline, "the change did not reach the worker"


def known(w: WorkspaceClient) -> bool:
    try:
        w.current_user.me()
    except errors.Unauthenticated:
        return False
    return True


def allowed(call: Callable[[], Any]) -> bool:
    try:
        call()
    except errors.PermissionDenied:
        return False
    return True
