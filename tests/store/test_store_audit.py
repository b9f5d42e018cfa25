"""The audit: newest first, page by page, and a refusal stays a refusal when nothing can be written."""

import pytest
from sqlalchemy import text
from tests.store.people import ADMIN, ANN, actor, populate

from tesela.records import Actor
from tesela.store.audit import Audit
from tesela.store.contents import read_version
from tesela.store.store import Store


@pytest.fixture(autouse=True)
def people(store: Store) -> None:
    populate(store)


def test_what_was_done_and_what_was_refused_stand_together(store: Store) -> None:
    audit = Audit(store.database, clock=lambda: 1_800_000_000.25)
    store.secrets.create_scope(actor(ANN), "s")
    assert audit.refused(actor(ANN), "endpoints.delete", "gpt", 403, "ann may not")
    refused, done = store.audit.list(10)
    assert (refused.action, refused.object, refused.status, refused.message) == (
        "endpoints.delete",
        "gpt",
        403,
        "ann may not",
    )
    assert (refused.actor, refused.actor_id, refused.address) == ("ann@example.com", ANN, "127.0.0.1")
    assert (refused.at_ms, refused.request_id) == (1_800_000_000_250, f"r-{ANN}")
    assert (done.action, done.object, done.status, done.message) == ("secrets.create_scope", "s", 200, "")


def test_a_refusal_is_no_change(store: Store) -> None:
    version = read_version(store.database)
    store.audit.refused(actor(ANN), "a", "b", 400, "c")
    assert read_version(store.database) == version


def test_pages_follow_each_other_without_gap_or_repetition(store: Store) -> None:
    for i in range(7):
        store.audit.refused(actor(ANN), "a", str(i), 400, "")
    seen, before = [], None
    while page := store.audit.list(3, before):
        assert len(page) <= 3
        seen += [one.object for one in page]
        before = page[-1].id
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


def test_it_can_be_asked_by_action_and_by_who(store: Store) -> None:
    for who, action in ((ANN, "a"), (ANN, "b"), (ADMIN, "a")):
        store.audit.refused(actor(who), action, "x", 400, "")

    def asked(**filters: str) -> list[tuple[str, str]]:
        return [(one.actor_id, one.action) for one in store.audit.list(10, filters=filters)]

    assert asked(action="a") == [(ADMIN, "a"), (ANN, "a")]
    assert asked(actor="ann@example.com") == asked(actor=ANN) == [(ANN, "b"), (ANN, "a")]
    assert asked(action="a", actor=ANN) == [(ANN, "a")]
    assert asked(action="' OR 1=1 --") == []


def test_what_is_long_or_holds_a_nul_is_recorded_all_the_same(store: Store) -> None:
    hostile = "\0'; DROP TABLE audit; --" + "x" * 100_000
    assert store.audit.refused(Actor(ANN, hostile, hostile, hostile), hostile, hostile, 400, hostile)
    [found] = store.audit.list(10)
    assert (len(found.actor), len(found.action), len(found.object), len(found.message)) == (256, 64, 256, 1000)


def test_old_records_are_dropped(store: Store) -> None:
    for at in (1.0, 2.0, 3.0):
        Audit(store.database, clock=lambda at=at: at).refused(actor(ANN), "a", str(at), 400, "")  # type: ignore[misc]
    assert store.audit.prune(older_than_ms=3000) == 2
    assert [one.object for one in store.audit.list(10)] == ["3.0"]
    assert store.audit.prune(older_than_ms=3000) == 0


def test_refusals_do_not_fill_the_disk_and_what_was_done_stays(store: Store) -> None:
    audit = Audit(store.database, refusals=10, every=5)
    store.secrets.create_scope(actor(ANN), "done")
    for i in range(34):
        audit.refused(actor(ANN), "a", str(i), 400, "")
    found = [one.object for one in store.audit.list(1000)]
    assert found[0] == "33"
    assert found[-1] == "done"
    assert 10 <= len(found) - 1 < 10 + 5


@pytest.mark.parametrize("prefix", ["dapi", "dose"])
def test_a_token_in_a_path_or_a_sentence_is_not_recorded(store: Store, prefix: str) -> None:
    token = prefix + "0123456789abcdef" * 2
    store.audit.refused(actor(ANN), "DELETE refused", f"/api/2.0/token-management/tokens/{token}", 404, f"no {token!r}")
    [found] = store.audit.list(10)
    assert (found.object, found.message) == (f"/api/2.0/token-management/tokens/{prefix}***", f"no '{prefix}***'")


def test_a_store_that_fails_does_not_make_another_error_of_a_refusal(store: Store) -> None:
    with store.database.write() as connection:
        connection.execute(text("DROP TABLE audit"))
    assert not store.audit.refused(actor(ANN), "a", "b", 403, "no")
