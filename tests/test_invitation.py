"""One-time codes: good once, for a while, for whoever has them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tesela import invitation


def test_a_code_is_good_once(tmp_path: Path) -> None:
    code = invitation.invite(tmp_path, "7", 1000.0)
    assert invitation.take(tmp_path, code, 1001.0) == "7"
    assert invitation.take(tmp_path, code, 1002.0) is None
    assert list(tmp_path.iterdir()) == []


def test_of_many_who_use_a_code_at_once_one_gets_it(tmp_path: Path) -> None:
    for _ in range(50):
        code = invitation.invite(tmp_path, "7", 1000.0)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: invitation.take(tmp_path, code, 1001.0), range(8)))  # noqa: B023
        assert sorted(map(str, found)) == ["7", *["None"] * 7]


def test_a_code_that_is_too_old_is_gone(tmp_path: Path) -> None:
    code = invitation.invite(tmp_path, "7", 1000.0)
    assert invitation.take(tmp_path, code, 1000.0 + invitation.LIFETIME_S) is None


@pytest.mark.parametrize("code", ["", "x", "../token", "a" * 100_000, "\x00", "ñ"])
def test_anything_else_signs_nobody_in(tmp_path: Path, code: str) -> None:
    invitation.invite(tmp_path, "7", 1000.0)
    assert invitation.take(tmp_path, code, 1001.0) is None


def test_the_code_itself_is_kept_nowhere(tmp_path: Path) -> None:
    code = invitation.invite(tmp_path, "7", 1000.0)
    for file in tmp_path.iterdir():
        assert code not in file.name
        assert code not in file.read_text()
        assert file.stat().st_mode & 0o077 == 0
