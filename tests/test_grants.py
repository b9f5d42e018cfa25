"""From levels to sets: a higher level includes the lower ones, and nobody else gets anything."""

from hypothesis import given
from hypothesis import strategies as st

from tesela.grants import grants
from tesela.snapshot import LEVELS, NOBODY, Level, Principal, Snapshot

IDS = st.sampled_from(["e1", "e2", "e3", "authorization/tokens"])
PEOPLE = st.sampled_from(["1", "2", "3", "4"])
PERMISSIONS = st.dictionaries(IDS, st.dictionaries(PEOPLE, st.sampled_from(LEVELS)))
NAMES = st.dictionaries(st.sampled_from(["gpt", "mine", "other"]), st.sampled_from(["e1", "e2", "e9"]))


@given(PERMISSIONS, NAMES)
def test_everyone_gets_what_was_given_on_that_endpoint_and_nobody_else_anything(
    permissions: dict[str, dict[str, Level]], ids: dict[str, str]
) -> None:
    found = grants(permissions, ids)
    assert set(found) <= set(ids)
    for name, id in ids.items():
        given_here = permissions.get(id, {})
        sets = (found.get(name, NOBODY).view, found.get(name, NOBODY).query, found.get(name, NOBODY).manage)
        for at, level in enumerate(LEVELS):
            assert sets[at] == {who for who, held in given_here.items() if LEVELS.index(held) >= at}, level
        assert sets[0] >= sets[1] >= sets[2]


@given(PERMISSIONS, NAMES, PEOPLE, st.frozensets(PEOPLE))
def test_who_may_do_the_greater_may_do_the_lesser(
    permissions: dict[str, dict[str, Level]], ids: dict[str, str], who: str, groups: frozenset[str]
) -> None:
    snapshot = Snapshot(1, {}, {}, grants(permissions, ids))
    person, stranger = Principal(who, who, groups=groups), Principal("9", "stranger", groups=frozenset({"8"}))
    for name in ids:
        may = [snapshot.may_see(person, name), snapshot.may_query(person, name), snapshot.may_manage(person, name)]
        assert may == sorted(may, reverse=True)
        held = [level for id in {who, *groups} if (level := permissions.get(ids[name], {}).get(id))]
        assert may == [any(LEVELS.index(one) >= at for one in held) for at in range(3)]
        assert not snapshot.may_see(stranger, name)
