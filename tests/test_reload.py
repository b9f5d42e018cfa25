"""What a server that runs takes over from a configuration file that has changed, and what it leaves as it started."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tesela.config import Config, load
from tesela.local import Plan
from tesela.reload import WRONG, Reloader, Watch, in_force

BEFORE = "workers: 1\nendpoints: []\ntimeouts: {connect: 5, drain: 7}\n"
AFTER = """
home: elsewhere
workers: 4
database_url: postgresql://u:p@h/other
max_body_bytes: 2048
emulate: databricks
local_models: true
timeouts: {connect: 6, drain: 8}
retries: {count: 2}
breaker: {failures: 9}
"""


def configured(folder: Path, text: str) -> Config:
    file = folder / "tesela.yaml"
    file.write_text(text)
    return load(file, {"TESELA_HOME": str(folder)} if "home:" not in text else {}, {})


def test_what_is_read_once_stays_as_it_was_for_whoever_is_started_anew(tmp_path: Path) -> None:
    now, new = configured(tmp_path, BEFORE), configured(tmp_path, AFTER)
    found = in_force(now, new)
    kept = found.settings
    # A worker that is started anew must use the database that the others use.
    assert (found.home, kept.home, kept.database_url) == (now.home, now.settings.home, "")
    assert (kept.workers, kept.max_body_bytes, kept.timeouts.drain) == (1, now.settings.max_body_bytes, 7)
    assert (kept.emulate, kept.local_models, kept.timeouts.connect) == ("databricks", True, 6)
    assert (kept.retries.count, kept.breaker.failures) == (2, 5)
    assert found.places is new.places


NOTHING: Any = None


@pytest.mark.parametrize("instead", [lambda file: None, Path.mkdir, os.mkfifo])
def test_a_file_that_is_gone_leaves_the_server_as_it_is(tmp_path: Path, instead: Any) -> None:
    config = configured(tmp_path, BEFORE)
    file = tmp_path / "tesela.yaml"
    notes: list[str] = []
    read: list[None] = []

    async def main() -> None:
        told = asyncio.Event()

        def trouble(text: str | None) -> None:
            assert text == WRONG
            told.set()

        def again() -> Config:
            read.append(None)
            return config

        reloader = Reloader(again, config, Plan([], {}), NOTHING, NOTHING, tmp_path, notes.append, trouble)
        running = asyncio.create_task(reloader.run())
        file.unlink()
        instead(file)
        reloader.ask()
        async with asyncio.timeout(10):
            await told.wait()
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())
    assert notes == [f"{file}: is no file any more; the configuration before it still serves"]
    assert not read


def test_a_file_that_is_being_written_is_not_read() -> None:
    whole, empty, part, new = (1, 1, 9), (1, 2, 0), (1, 3, 4), (1, 4, 9)
    watch = Watch(whole)
    looks = (whole, empty, part, new, new, new, None, whole, whole, None, None, None)
    assert [watch.changed(one) for one in looks] == [one in (4, 8, 10) for one in range(len(looks))]
