"""PatchOp as the official clients send it: what becomes of a resource, and what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.control.scim_patch import OPERATIONS_MAX, apply, operations
from tesela.control.scim_shape import GROUP, SERVICE_PRINCIPAL, USER, Form, revision, writable
from tesela.errors import InvalidRequest
from tesela.records import Identity, IdentityEntry, IdentityRevision

DETAILS = {
    "name": {"givenName": "Ann"},
    "entitlements": ["a", "b"],
    "emails": [{"type": "home", "value": "ann@home.example", "primary": False}],
}
ANN = IdentityEntry(Identity("1", "user", "ann@example.com", "Ann", True, "x", DETAILS))
BOB = Identity("2", "user", "bob@example.com", "Bob")
TEAM = IdentityEntry(Identity("3", "group", "team", "team"), (), (ANN.identity, BOB))
ROBOT = IdentityEntry(Identity("4", "service_principal", "6f1a7f0e-5a53-4f6c-9d0b-0a3f3b1f2c4d", "robot"))
ENTRIES: dict[str, IdentityEntry] = {"user": ANN, "group": TEAM, "service_principal": ROBOT}


def patched(form: Form, *todo: Any) -> IdentityRevision:
    entry = ENTRIES[form.kind]
    return revision(form, apply(writable(form, entry), operations(list(todo), form)), entry)


def op(op: str, path: str | None = None, value: Any = None) -> dict[str, Any]:
    sent = {"op": op, "path": path, "value": value}
    return {name: found for name, found in sent.items() if found is not None}


def test_nothing_changes_what_is_not_named() -> None:
    for form in (USER, GROUP, SERVICE_PRINCIPAL):
        entry = ENTRIES[form.kind]
        found = patched(form, op("replace", value={}))
        was = entry.identity
        assert (found.display_name, found.active, found.external_id) == (was.display_name, True, was.external_id)
        assert found.details == was.details
        assert found.members == (frozenset({"1", "2"}) if form is GROUP else None)


@pytest.mark.parametrize(
    ("sent", "members"),
    [
        # Terraform's databricks_group_member.
        (op("add", "members", [{"value": "7"}]), {"1", "2", "7"}),
        (op("remove", 'members[value eq "1"]'), {"2"}),
        (op("remove", 'members[value eq "9"]'), {"1", "2"}),
        # The SDK's examples and identity providers.
        (op("add", value={"members": [{"value": "7"}, {"value": "1"}]}), {"1", "2", "7"}),
        (op("add", "members", {"value": "7"}), {"1", "2", "7"}),
        (op("Add", "Members", ["7"]), {"1", "2", "7"}),
        (op("replace", "members", [{"value": "7"}]), {"7"}),
        (op("replace", "members", []), set()),
        (op("replace", value={"members": [{"value": "7"}]}), {"7"}),
        (op("replace", 'members[value eq "1"]', [{"value": "7"}]), {"2", "7"}),
        (op("replace", 'members[value eq "1"].value', "7"), {"2", "7"}),
        (op("remove", "members"), set()),
        (op("Remove", "members", [{"value": "2"}]), {"1"}),
        (op("remove", "members", []), {"1", "2"}),
        (op("remove", "members[value eq '1' or value eq 2]"), set()),
        (op("remove", 'urn:ietf:params:scim:schemas:core:2.0:Group:members[value eq "1"]'), {"2"}),
        (op("add", value={"groups": [{"value": "7"}], "id": "9", "nothing": 1}), {"1", "2"}),
    ],
)
def test_members(sent: dict[str, Any], members: set[str]) -> None:
    assert set(patched(GROUP, sent).members or ()) == members


@pytest.mark.parametrize(
    ("sent", "entitlements"),
    [
        # Terraform's databricks_entitlements removes a list of values, then adds one.
        (op("remove", "entitlements", [{"value": "a"}]), ["b"]),
        (op("add", "entitlements", [{"value": "c"}]), ["a", "b", "c"]),
        (op("remove", 'entitlements[value eq "a"]'), ["b"]),
        (op("remove", "entitlements"), None),
        (op("replace", "entitlements", [{"value": "c"}, {"value": "c"}]), ["c"]),
    ],
)
def test_entitlements(sent: dict[str, Any], entitlements: list[str] | None) -> None:
    assert patched(USER, sent).details.get("entitlements") == entitlements


def test_single_values() -> None:
    found = patched(
        USER,
        op("replace", "displayName", "Ann B"),
        op("replace", "active", False),
        op("replace", "externalId", "y"),
        op("replace", "name.familyName", "B"),
    )
    assert (found.display_name, found.active, found.external_id) == ("Ann B", False, "y")
    assert found.details["name"] == {"givenName": "Ann", "familyName": "B"}
    found = patched(USER, op("replace", value={"active": "False", "displayName": "A", "name.givenName": "An"}))
    assert (found.display_name, found.active, found.details["name"]) == ("A", False, {"givenName": "An"})
    found = patched(USER, op("remove", "externalId"), op("remove", "name"), op("add", "name", {"familyName": "C"}))
    assert (found.external_id, found.details["name"]) == (None, {"familyName": "C"})
    assert "name" not in patched(USER, op("remove", "name.givenName")).details
    assert patched(GROUP, op("replace", "displayName", "crew")).display_name == "crew"
    assert not patched(SERVICE_PRINCIPAL, op("replace", "active", False)).active


def test_user_names_and_addresses_are_left_alone() -> None:
    assert patched(
        USER,
        op("replace", "userName", "eve@example.com"),
        op("replace", 'emails[type eq "work"].value', "eve@example.com"),
        op("remove", "emails"),
        op("replace", value={"userName": "eve@example.com", "emails": [{"value": "eve@example.com"}]}),
    ) == patched(USER, op("replace", value={}))


@pytest.mark.parametrize(
    ("form", "sent", "param"),
    [
        (USER, "x", "Operations"),
        (USER, {}, "op"),
        (USER, {"op": "destroy", "path": "active"}, "op"),
        (USER, {"op": ["add"]}, "op"),
        (USER, op("add", value="x"), "value"),
        (USER, op("replace"), "value"),
        (USER, op("remove"), "path"),
        (USER, {"op": "remove", "value": {"active": True}}, "path"),
        (USER, op("replace", "password", "x"), "path"),
        (USER, op("replace", "members", []), "path"),
        (USER, op("add", "groups", [{"value": "3"}]), "path"),
        (USER, op("replace", "id", "9"), "path"),
        (USER, op("replace", "", "9"), "path"),
        (USER, {"op": "replace", "path": 5, "value": "x"}, "path"),
        (USER, op("replace", "x" * 1_000_000, "9"), "path"),
        (USER, op("replace", "displayName", 5), "displayName"),
        (USER, op("replace", "active", "perhaps"), "active"),
        (USER, op("replace", "active", 2), "active"),
        (USER, op("remove", "active"), "value"),
        (USER, op("replace", "active"), "value"),
        (USER, op("replace", value={"displayName": None}), "value"),
        (USER, op("replace", "name", "Ann"), "name"),
        (USER, op("replace", "name.givenName", {}), "givenName"),
        (USER, op("replace", "name[givenName eq 1]", "x"), "path"),
        (USER, op("add", "entitlements", [{"value": 5}]), "entitlements"),
        (USER, op("add", "entitlements", [{"value": "\x00"}]), "entitlements"),
        (USER, op("add", "entitlements", [{"value": "x" * 1_000_000}]), "entitlements"),
        (USER, op("add", "roles", [str(n) for n in range(101)]), "roles"),
        (GROUP, op("remove", "displayName"), "value"),
        (GROUP, op("replace", "active", False), "path"),
        (GROUP, op("add", "members", [{"id": "7"}]), "members"),
        (GROUP, op("add", "members", 7), "members"),
        (GROUP, op("add", 'members[value eq "7"]', "x"), "path"),
        (GROUP, op("replace", 'members[value eq "7"]', [{"value": "8"}]), "path"),
        (GROUP, op("remove", "members[value eq 7"), "path"),
        (GROUP, op("remove", "members[]"), "path"),
        (GROUP, op("remove", "members[value eq 7]x"), "path"),
        (GROUP, op("remove", "members[password eq 7]"), "path"),
        (GROUP, op("remove", "members.display"), "path"),
        (GROUP, op("remove", "members" + "[" * 500), "path"),
        (GROUP, op("remove", "'; DROP TABLE members; --"), "path"),
    ],
)
def test_what_is_refused(form: Form, sent: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        patched(form, sent)
    assert refused.value.param == param
    assert len(refused.value.message) < 500


@pytest.mark.parametrize("sent", [None, [], {}, "x", 5, [op("replace", value={})] * (OPERATIONS_MAX + 1)])
def test_operations_are_a_list_of_some(sent: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        operations(sent, USER)
    assert refused.value.param == "Operations"


def test_what_was_given_stays_as_it_was() -> None:
    before = writable(GROUP, TEAM)
    copy = json.loads(json.dumps(before))
    apply(before, operations([op("remove", "members"), op("replace", "displayName", "x")], GROUP))
    assert before == copy
    user = writable(USER, ANN)
    copy = json.loads(json.dumps(user))
    apply(user, operations([op("replace", "name.givenName", "x"), op("remove", "entitlements")], USER))
    assert user == copy


JSON: Any = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["value", "members", "active", "name", "name.givenName", "roles", "displayName", "x"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)
PATHS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["members", "members.value", 'members[value eq "1"]', "name", "name.givenName", "active", "displayName",
         "entitlements", 'entitlements[value sw "a"].value', "emails[type eq 'x']", "externalId", "roles"]
    ),
)  # fmt: skip


@given(
    st.sampled_from([USER, GROUP, SERVICE_PRINCIPAL]),
    st.lists(
        st.fixed_dictionaries(
            {"op": st.sampled_from(["add", "replace", "remove", "Add"])}, optional={"path": PATHS, "value": JSON}
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_whatever_is_sent_is_done_or_refused(form: Form, sent: list[Any]) -> None:
    try:
        found = patched(form, *sent)
    except InvalidRequest:
        return
    assert isinstance(found.display_name, str)
    assert isinstance(found.active, bool)
    assert found.members is None or all(isinstance(one, str) for one in found.members)


IDS = st.lists(st.integers(10, 20).map(str), max_size=6)


@given(IDS, IDS)
def test_what_is_added_and_removed_again_leaves_the_rest(added: list[str], removed: list[str]) -> None:
    todo = [op("add", "members", [{"value": one} for one in added])]
    todo += [op("remove", f'members[value eq "{one}"]') for one in removed]
    assert set(patched(GROUP, *todo).members or ()) == ({"1", "2"} | set(added)) - set(removed)
