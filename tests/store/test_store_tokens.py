"""Access tokens in the store: known by their digests, each for one principal, the first one once."""

import math
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import insert, select, update
from tests.store import people

from tesela.errors import InvalidRequest, NotFound
from tesela.records import Actor, Identity
from tesela.snapshot import Credential, digest
from tesela.store import tokens
from tesela.store.store import Store
from tesela.store.tables import ACCESS_TOKENS, AUDIT, KINDS, STATE

ROOT = Actor("1000000000000009", "root@example.com", "127.0.0.1", "r-1")


@pytest.fixture
def ann(store: Store) -> Identity:
    return store.identities.create(ROOT, "user", "ann@example.com", "Ann")


def credentials(store: Store) -> dict[bytes, Credential]:
    with store.database.read() as connection:
        return store.tokens.credentials(connection, store.identities.principals(connection))


def test_a_token_is_known_by_its_digest_alone(store: Store, ann: Identity) -> None:
    access_token, info = store.tokens.create(ROOT, ann.id, "ci", 3600)
    assert re.fullmatch("dapi[0-9a-f]{32}", access_token)
    assert (info.principal_id, info.comment, info.created_by) == (ann.id, "ci", ROOT.id)
    assert info.expires - info.created == 3600
    found = credentials(store)
    assert list(found) == [digest(access_token.encode())]
    known = found[digest(access_token.encode())]
    assert (known.principal.name, known.token_id, known.expires_at) == ("ann@example.com", info.id, info.expires)
    assert known.endpoints is None
    with store.database.read() as connection:
        kept = [*connection.execute(select(ACCESS_TOKENS)).one(), *connection.execute(select(AUDIT)).all()]
    assert access_token not in repr(kept)
    assert store.tokens.get(info.id) == info
    assert store.tokens.list(ann.id) == [info] == store.tokens.list()
    assert store.tokens.list("77") == []


def test_without_a_lifetime_it_does_not_expire(store: Store, ann: Identity) -> None:
    _, info = store.tokens.create(ROOT, ann.id, "", None)
    assert math.isinf(info.expires)
    assert [math.isinf(one.expires_at) for one in credentials(store).values()] == [True]


def test_expired_tokens_are_known_and_those_of_the_inactive_are_not(store: Store, ann: Identity) -> None:
    _, info = store.tokens.create(ROOT, ann.id, "", 60)
    with store.database.write() as connection:
        connection.execute(update(ACCESS_TOKENS).values(expires_s=info.created - 1))
    assert [one.expires_at for one in credentials(store).values()] == [info.created - 1]
    with store.database.read() as connection:
        assert store.tokens.credentials(connection, {}) == {}


def test_the_comment_can_be_changed(store: Store, ann: Identity) -> None:
    _, info = store.tokens.create(ROOT, ann.id, "before", None)
    assert store.tokens.update(ROOT, info.id, comment="after").comment == "after"
    assert store.tokens.update(ROOT, info.id, comment="", principal_id=ann.id).comment == ""
    with pytest.raises(NotFound):
        store.tokens.update(ROOT, info.id, comment="theirs", principal_id="77")
    with pytest.raises(NotFound):
        store.tokens.update(ROOT, "0" * 32, comment="")
    with pytest.raises(InvalidRequest):
        store.tokens.update(ROOT, info.id, comment="x" * 1025)
    assert store.tokens.get(info.id).comment == ""


def test_revoking(store: Store, ann: Identity) -> None:
    _, info = store.tokens.create(ROOT, ann.id, "", None)
    with store.database.read() as connection:
        before = connection.execute(select(STATE.c.version)).scalar_one()
    for id_, owner in ((info.id, "77"), ("0" * 32, None), ("'; --", None), ("\x00", None), ("x" * 1_000_000, None)):
        assert not store.tokens.revoke(ROOT, id_, owner)
    with store.database.read() as connection:
        assert connection.execute(select(STATE.c.version)).scalar_one() == before
    assert store.tokens.revoke(ROOT, info.id, ann.id)
    assert not store.tokens.revoke(ROOT, info.id)
    assert credentials(store) == {}
    with pytest.raises(NotFound):
        store.tokens.get(info.id)


def test_whoever_cannot_call_gets_no_token(store: Store, ann: Identity) -> None:
    team = store.identities.create(ROOT, "group", "team")
    sleeper = store.identities.create(ROOT, "user", "sleeper@example.com", active=False)
    for one in (team.id, sleeper.id, "77", "'; DROP TABLE access_tokens; --", "\x00"):
        with pytest.raises(NotFound):
            store.tokens.create(ROOT, one, "", None)
    for comment in ("x" * 1025, "\x00", "x" * 1_000_000):
        with pytest.raises(InvalidRequest) as refused:
            store.tokens.create(ROOT, ann.id, comment, None)
        assert refused.value.param == "comment"
    for lifetime in (0, -1, 10**12, math.inf, math.nan):
        with pytest.raises(InvalidRequest) as refused:
            store.tokens.create(ROOT, ann.id, "", lifetime)
        assert refused.value.param == "lifetime_seconds"
    assert store.tokens.list() == []


def test_there_are_so_many_and_no_more(store: Store, ann: Identity) -> None:
    assert tokens.MOST == 600
    bob = store.identities.create(ROOT, "user", "bob@example.com")
    first = store.tokens.create(ROOT, ann.id, "", 60)[1]
    second = store.tokens.create(ROOT, ann.id, "", None)[1]
    row = {"principal_id": ann.id, "created_by": ann.id, "comment": "", "created_s": 1.0, "version": 1}
    rest = [{"id": f"t{n}", "digest": bytes([n // 256, n % 256] * 16), **row} for n in range(598)]
    with store.database.write() as connection:
        connection.execute(insert(ACCESS_TOKENS), rest)
    with pytest.raises(InvalidRequest, match=r"QUOTA_EXCEEDED: .* has 600 access tokens"):
        store.tokens.create(ROOT, ann.id, "", None)
    store.tokens.create(ROOT, bob.id, "", None)
    with store.database.write() as connection:
        connection.execute(
            update(ACCESS_TOKENS).where(ACCESS_TOKENS.c.id == first.id).values(expires_s=first.created - 1)
        )
    third = store.tokens.create(ROOT, ann.id, "", None)[1]
    assert {first.id, second.id, third.id} < {one.id for one in store.tokens.list(ann.id)}
    with store.database.write() as connection:
        long_ago = first.created - tokens.KEPT_S - 60
        connection.execute(update(ACCESS_TOKENS).where(ACCESS_TOKENS.c.id == first.id).values(expires_s=long_ago))
    store.tokens.revoke(ROOT, third.id)
    fourth = store.tokens.create(ROOT, ann.id, "", None)[1]
    left = {one.id for one in store.tokens.list(ann.id)}
    assert {second.id, fourth.id} < left
    assert len(left) == 600


def test_the_first_token_is_given_once(opened: Callable[[], Store]) -> None:
    stores = [opened() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        given = [one for one in pool.map(lambda store: store.tokens.first_start(), stores) if one is not None]
    assert len(given) == 1
    found = credentials(stores[0])
    assert list(found) == [digest(given[0].encode())]
    admin = found[digest(given[0].encode())].principal
    assert (admin.name, admin.admin) == ("admin@localhost", True)
    assert stores[1].tokens.first_start() is None
    assert [one.created_by for one in stores[0].tokens.list()] == [admin.id]


def test_changes_say_of_what_kind_they_are(store: Store, ann: Identity) -> None:
    def versions() -> dict[str, int]:
        with store.database.read() as connection:
            return {row.kind: row.version for row in connection.execute(select(KINDS))}

    before = versions()
    _, info = store.tokens.create(ROOT, ann.id, "", None)
    assert {kind for kind, version in versions().items() if version > before[kind]} == {"tokens"}
    before = versions()
    people.replace(store, ROOT, ann.id, active=False)
    assert {kind for kind, version in versions().items() if version > before[kind]} == {"tokens", "principals"}
    assert not store.tokens.revoke(ROOT, info.id)
