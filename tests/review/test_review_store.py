"""Reading the store never waits for a write: workers read it on their event loop."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tesela.store import Store


def test_a_read_does_not_stand_behind_a_write_that_waits(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open()
    other = sqlite3.connect(tmp_path / "tesela.db", isolation_level=None)
    with ThreadPoolExecutor(2) as pool:
        try:
            owner, version = store.admin().id, store.version()
            other.execute("BEGIN IMMEDIATE")
            begun = threading.Event()

            def write() -> None:
                begun.set()
                store.create_token(owner, "", None, time.time())

            writing = pool.submit(write)
            assert begun.wait(5)
            for _ in range(200):
                assert pool.submit(store.version).result(5) == version
                if writing.running() and store._lock.locked():
                    break
            assert store._lock.locked()
            assert pool.submit(store.credentials).result(5) == {}
        finally:
            other.execute("ROLLBACK")
            other.close()
        writing.result(10)
        assert store.version() == version + 1
    store.close()
