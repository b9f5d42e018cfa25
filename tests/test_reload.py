"""What a server that runs takes over from a configuration file that has changed, and what it leaves as it started."""

from pathlib import Path

from tesela.config import Config, load
from tesela.reload import in_force

BEFORE = "workers: 1\nendpoints: []\ntimeouts: {connect: 5, drain: 7}\n"
AFTER = """
home: elsewhere
workers: 4
database_url: postgresql://u:p@h/other
max_body_bytes: 2048
emulate: databricks
local_models: true
timeouts: {connect: 6, drain: 8}
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
    assert found.places is new.places
