"""The tables: how they are made, brought up to date, and left alone."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select

from tesela.store.store import Store
from tesela.store.tables import KINDS, METADATA, PRINCIPALS, STATE


def test_the_revisions_make_the_tables_that_the_program_knows(store: Store) -> None:
    with store.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": METADATA})
        assert compare_metadata(context, METADATA) == []


def test_a_new_store_has_the_rows_that_must_exist(store: Store) -> None:
    with store.database.read() as connection:
        state = connection.execute(select(STATE)).one()
        groups = connection.execute(select(PRINCIPALS.c.name, PRINCIPALS.c.id).order_by("name")).all()
        kinds = dict(list(connection.execute(select(KINDS.c.kind, KINDS.c.version))))
    assert state.version == 1
    assert 10**15 <= state.workspace_id < 10**16
    assert len(state.account_id) == 36
    assert state.first_token_made is False
    assert [name for name, _ in groups] == ["admins", "users"]
    assert all(len(id_) == 16 and id_.isdigit() for _, id_ in groups)
    assert kinds == dict.fromkeys(("endpoints", "tokens", "principals", "permissions", "secrets", "keys"), 1)
