"""Fills a store as a platform team's is after some years: 1,000 endpoints, 10,000 access tokens of 100 people."""

import os
import secrets
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from tesela.records import COMMAND_LINE
from tesela.store.opening import open_store
from tesela.store.tables import ACCESS_TOKENS

ENDPOINTS, PEOPLE, TOKENS = 1_000, 100, 10_000


def fill(home: Path, config: dict[str, Any]) -> None:
    """Make them in the home folder's store, all endpoints of this configuration."""
    store, _ = open_store(home, "", os.environ)
    try:
        for i in range(ENDPOINTS):
            store.endpoints.create(COMMAND_LINE, f"endpoint-{i}", config, {}, ready=True)
        people = [
            store.identities.create(COMMAND_LINE, "user", f"person-{i}@example.com", f"Person {i}").id
            for i in range(PEOPLE)
        ]
        with store.database.change(COMMAND_LINE, "bench.tokens", "", "tokens") as change:
            rows = [
                {
                    "id": secrets.token_hex(16),
                    # As good as a digest: nobody has these tokens.
                    "digest": secrets.token_bytes(32),
                    "principal_id": people[i % PEOPLE],
                    "created_by": "",
                    "comment": "",
                    "created_s": change.now,
                    "expires_s": None,
                    "version": change.version,
                }
                for i in range(TOKENS)
            ]
            change.connection.execute(insert(ACCESS_TOKENS), rows)
    finally:
        store.close()
