"""`make record`: what a provider answers takes the place of what was documented; here it is a server on loopback."""

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.exchanges import files, record
from tests.providers.test_vertex_settings import account

from tesela.errors import ConfigError

KEY = "key-of-a-provider-0123"


class Provider(BaseHTTPRequestHandler):
    """Answers each path with what was put there, and says who asked."""

    protocol_version = "HTTP/1.1"
    replies: dict[tuple[str, bool], files.Reply]
    seen: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append(self.headers.get("authorization", "") + self.headers.get("x-api-key", ""))
        if self.path == "/token":
            self._say("application/json", b'{"access_token": "short-lived", "expires_in": 3600}')
            return
        streaming = b'"stream":true' in body.replace(b" ", b"") or "stream" in self.path.lower()
        found = self.replies[self.path, streaming]
        data = found.data()
        if not found.base64:
            data = data.replace(b"Hello there!", b"Hello you!").replace(b'"msg_1"', b'"%b"' % KEY.encode())
        self._say(found.content_type, data)

    def _say(self, kind: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture
def provider() -> Iterator[tuple[str, type[Provider]]]:
    handler = type("Handler", (Provider,), {"replies": {}, "seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


def documented(folder: str, tmp_path: Path, handler: type[Provider], *names: str) -> Path:
    """A copy of some exchanges, whose replies the provider gives."""
    for name in names:
        place = files.path_of(f"{folder}/{name}", tmp_path)
        place.parent.mkdir(exist_ok=True)
        shutil.copy(files.path_of(f"{folder}/{name}"), place)
        for streaming, form in files.load(f"{folder}/{name}").forms.items():
            handler.replies[form.sent.path, streaming] = form.reply
    return tmp_path


VARIABLES = {
    "anthropic": {"ANTHROPIC_API_KEY": KEY},
    "openai": {"OPENAI_API_KEY": KEY},
    "amazon-bedrock": {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": KEY},
    "databricks-model-serving": {"DATABRICKS_TOKEN": KEY},
}


@pytest.mark.parametrize("folder", VARIABLES)
def test_replies_are_recorded(folder: str, tmp_path: Path, provider: tuple[str, type[Provider]]) -> None:
    base, handler = provider
    root = documented(folder, tmp_path, handler, "text")
    if folder == "openai":
        handler.replies = {(path.removeprefix("/v1"), how): one for (path, how), one in handler.replies.items()}
    before = files.load(f"{folder}/text", root)
    said = record.main([folder], {**VARIABLES[folder], "RECORD_BASE_URL": base}, root)
    assert said == f"{folder}/text: recorded"
    after = files.load(f"{folder}/text", root)
    assert (after.source, len(after.date)) == ("recorded", 10)
    for streaming, form in after.forms.items():
        assert form.sent == before.forms[streaming].sent
        assert KEY not in form.reply.body
        if not form.reply.base64:
            assert "Hello you!" in after.answer["choices"][0]["message"]["content"]
    assert KEY not in files.path_of(f"{folder}/text", root).read_text("utf-8")
    assert len(handler.seen) == 2
    assert all(handler.seen), "a request without credentials"


def test_a_short_lived_token_is_fetched_first(tmp_path: Path, provider: tuple[str, type[Provider]]) -> None:
    base, handler = provider
    root = documented("google-cloud-vertex-ai", tmp_path, handler, "text")
    given = {"GOOGLE_SERVICE_ACCOUNT_JSON": account(token_uri=f"{base}/token"), "RECORD_BASE_URL": base}
    assert record.main(["google-cloud-vertex-ai"], given, root).endswith("recorded")
    assert handler.seen.count("Bearer short-lived") == 2


def test_what_does_not_show_what_it_should_changes_nothing(
    tmp_path: Path, provider: tuple[str, type[Provider]]
) -> None:
    base, handler = provider
    root = documented("anthropic", tmp_path, handler, "parallel-calls")
    file = files.path_of("anthropic/parallel-calls", root)
    before = file.read_bytes()
    for form in files.load("anthropic/text").forms.values():
        handler.replies[form.sent.path, form is files.load("anthropic/text").stream] = form.reply
    text = files.load("anthropic/text")
    handler.replies = {(form.sent.path, streaming): form.reply for streaming, form in text.forms.items()}
    said = record.main(["anthropic"], {"ANTHROPIC_API_KEY": KEY, "RECORD_BASE_URL": base}, root)
    assert "does not show tools, parallel calls" in said
    assert file.read_bytes() == before


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        record.main(["anthropic"], {})
    with pytest.raises(ConfigError, match="RECORD_BASE_URL"):
        record.main(["custom"], {"CUSTOM_API_KEY": "k"})
    with pytest.raises(ConfigError, match="takes one of"):
        record.main(["nobody"], {})
    assert record.VARIABLES.keys() == {name.partition("/")[0] for name in files.names()}


def test_what_names_an_account_is_taken_out() -> None:
    scrub = record._scrubbed
    assert scrub(b'{"organization": "org-abcdef123", "x": 1}', {}) == b'{"organization": "***", "x": 1}'
    assert scrub(b'{"id":"req_0123456789"}', {}) == b'{"id":"req_0"}'
    assert scrub(b"key-1 \xff", {"env:KEY": "key-1"}) == b"*** \xff"
