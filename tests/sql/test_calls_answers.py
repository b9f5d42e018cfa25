"""Answers on disk: durable, bounded, and repaired."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import StoreUnavailable
from tesela.sql.calls.answers import Answers, key


def test_what_is_kept_is_found_by_its_key_alone(tmp_path: Path) -> None:
    store = Answers(tmp_path / "a" / "answers.db")
    keys = [key("o", "e", "s", b"%d" % number) for number in range(1200)]
    store.keep([(name, "o", b"v") for name in keys], now=5)
    assert len(store.find(keys)) == 1200
    assert store.find([key("o", "e", "s", b"other")]) == {}
    assert store.find([]) == {}
    store.close()
    again = Answers(tmp_path / "a" / "answers.db")
    assert again.size()[:2] == (1200, 1200)
    assert again.clear() == 1200
    assert again.size()[:2] == (0, 0)
    again.close()


@given(st.lists(st.text(max_size=3), min_size=3, max_size=3), st.lists(st.text(max_size=3), min_size=3, max_size=3))
def test_a_key_is_of_who_asked_whom_for_what(first: list[str], second: list[str]) -> None:
    """The parts cannot run into each other."""
    one, other = (key(parts[0], parts[1], parts[2], b"body") for parts in (first, second))
    assert (one == other) == (first == second)
    assert key("a", "b", "c", b"x") != key("a", "b", "c", b"y")


def test_age_and_size_have_limits(tmp_path: Path) -> None:
    store = Answers(tmp_path / "answers.db")
    for now in range(10):
        store.keep([(b"%d" % now, "o", b"12345")], now=now)
    assert store.trim(before=3, most_bytes=10**6) == 3
    assert store.trim(before=0, most_bytes=12) == 5
    assert sorted(store.find([b"%d" % now for now in range(10)])) == [b"8", b"9"]
    store.close()


def test_a_file_that_cannot_be_read_is_moved_aside(tmp_path: Path) -> None:
    file = tmp_path / "answers.db"
    file.write_bytes(b"this is no database, whatever its name says" * 100)
    store = Answers(file)
    store.keep([(b"k", "o", b"v")], now=1)
    assert store.find([b"k"]) == {b"k": b"v"}
    store.close()
    assert file.with_suffix(".unreadable").read_bytes().startswith(b"this is no database")


def test_a_file_of_another_version_is_moved_aside(tmp_path: Path) -> None:
    file = tmp_path / "answers.db"
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    store = Answers(file)
    assert store.size()[:2] == (0, 0)
    store.close()
    assert file.with_suffix(".unreadable").exists()


def test_a_store_that_fails_says_so(tmp_path: Path) -> None:
    store = Answers(tmp_path / "answers.db")
    store.close()
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        store.keep([(b"k", "o", b"v")], now=1)
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        store.find([b"k"])


WRITER = """
import sys
from pathlib import Path
from tesela.sql.calls.answers import Answers
store = Answers(Path(sys.argv[1]))
for number in range(10**9):
    store.keep([(b"%d" % number, "o", b"v" * 500)], now=number)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


@pytest.mark.slow
def test_what_was_kept_survives_the_end_of_the_process(tmp_path: Path) -> None:
    file = tmp_path / "answers.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        last = 0
        while last < 50:
            last = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        told = [last, *map(int, writer.stdout.read().split())]
    store = Answers(file)
    assert len(store.find([b"%d" % number for number in range(max(told) + 1)])) == max(told) + 1
    store.close()
