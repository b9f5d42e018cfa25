"""The web pages' files: what is sent, in which form, and what browsers are told to do with it."""

import gzip
from pathlib import Path

import msgspec
import pytest
from tests.control.conftest import World

SCRIPT = b"console.log('tesela')\n" * 40


@pytest.fixture
def built(world: World, tmp_path: Path) -> World:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_bytes(b"<!doctype html>")
    (static / ".built").write_text("digest")
    (static / "assets" / "index-1a2b.js").write_bytes(SCRIPT)
    (static / "assets" / "index-1a2b.js.gz").write_bytes(gzip.compress(SCRIPT))
    (static / "assets" / "index-1a2b.js.br").write_bytes(b"brotli")
    (tmp_path / "secret.js").write_text("no")
    world.facts = msgspec.structs.replace(world.facts, static=static)
    return world


@pytest.mark.parametrize("path", ["/", "/playground", "/serving", "/serving/gpt", "/serving/gpt/edit", "/sql"])
def test_every_page_is_the_same_file_and_wants_no_credential(built: World, path: str) -> None:
    answer = built.call("GET", path, anonymous=True)
    assert (answer.status, answer.body) == (200, b"<!doctype html>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


def test_the_policy_lets_nothing_in_line_and_no_other_host_in(built: World) -> None:
    answer = built.call("GET", "/", anonymous=True)
    policy = dict(one.strip().partition(" ")[::2] for one in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "http" not in answer.headers["content-security-policy"]
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("accepts", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"), ("gzip", "gzip"), ("GZIP;q=0.5", "gzip"), ("br;q=0, gzip;q=0.1", "gzip"),
        ("", None), ("identity", None), ("br;q=0.000", None), ("*", None), ("gzip;q=0", None),
    ],
)  # fmt: skip
def test_files_come_in_the_best_form_that_is_asked_for(built: World, accepts: str, encoding: str | None) -> None:
    answer = built.call("GET", "/assets/index-1a2b.js", headers={"accept-encoding": accepts}, anonymous=True)
    assert answer.status == 200
    assert answer.headers.get("content-encoding") == encoding
    assert answer.body == {"br": b"brotli", "gzip": gzip.compress(SCRIPT), None: SCRIPT}[encoding]
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize(
    "path",
    ["/assets/none.js", "/assets/..", "/assets/.", "/assets/%2e%2e%2fsecret.js", "/assets/../secret.js",
     "/assets/index-1a2b.js.gz", "/assets/.built", "/assets/", "/assets/%00.js", "/assets/" + "x" * 5000 + ".js",
     "/assets/a.js/b.js"],
)  # fmt: skip
def test_nothing_else_is_given_out(built: World, path: str) -> None:
    assert built.call("GET", path, anonymous=True).status == 404


def test_without_built_pages_the_reader_is_told_how_to_have_them(world: World, tmp_path: Path) -> None:
    world.facts = msgspec.structs.replace(world.facts, static=tmp_path / "nothing")
    answer = world.call("GET", "/", anonymous=True)
    assert answer.status == 404
    assert b"make serve" in answer.body
    assert answer.headers["content-type"].startswith("text/plain")
