"""What is secret stays so: every byte that a real server writes is searched for every secret that it was given.

Keys, tokens and client secrets go through the API, into errors and to a provider that repeats what it was sent; then
all files, both outputs, the answers and the command lines of its processes are searched.
"""

import base64
import json
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest
from tests.system.processes import MESSAGES, Served, until

pytestmark = pytest.mark.slow

KEEPERS = {"token": "first", "master.key": "master"}
"""The files that are meant to hold a secret, and which one."""


class Said(NamedTuple):
    """An answer of the server."""

    status: int
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class Echo(BaseHTTPRequestHandler):
    """A provider that refuses every request and repeats its key, as some do."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        status = {"/401": 401, "/403": 403, "/429": 429, "/500": 500, "/400": 400}.get(self.path[:4], 404)
        said = {"error": {"message": f"Incorrect API key provided: {self.headers['authorization']}", "code": "wrong"}}
        data = json.dumps(said).encode() if status != 500 else b"<html>" + str(self.headers).encode() + b"</html>"
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing: the tests' own output is not what is searched."""


@pytest.fixture
def provider() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the server keeps its sockets; the path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="tsls"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


class Session:
    """Speaks to a server, and remembers what it said and which secrets it must not have kept."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.secrets: dict[str, bytes] = {}
        self.said: list[tuple[str, str]] = []

    def secret(self, name: str, value: str | bytes | None = None) -> str:
        """A new secret, or one that the server has made."""
        value = f"sk-{name}-{secrets.token_hex(16)}" if value is None else value
        self.secrets[name] = value.encode() if isinstance(value, str) else value
        return value if isinstance(value, str) else value.decode("latin-1")

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, tells: bool = False, **headers: str
    ) -> Said:
        """`tells`: this answer is the one that may show a secret."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        with self.served.connected() as connection:
            sent = {"Authorization": f"Bearer {token or self.served.token}", **headers}
            connection.request(method, path, data, {name.replace("_", "-"): value for name, value in sent.items()})
            answer = connection.getresponse()
            said = Said(answer.status, answer.read().decode())
        if not tells:
            self.said.append((f"{method} {path[:80]}", said.text))
        return said

    def put(self, key: str, value: str, **more: Any) -> Said:
        return self.ask("POST", "/api/2.0/secrets/put", {"scope": "s", "key": key, "string_value": value, **more})

    def endpoint(self, name: str, base: str, **key: str) -> Said:
        model = {
            "name": "m",
            "provider": "openai",
            "task": "llm/v1/chat",
            "openai_config": {"openai_api_base": base, **key},
        }
        body = {"name": name, "config": {"served_entities": [{"name": "m", "external_model": model}]}}
        return self.ask("POST", "/api/2.0/serving-endpoints", body)

    def query(self, name: str, token: str | None = None) -> Said:
        return self.ask("POST", f"/serving-endpoints/{name}/invocations", {"messages": MESSAGES}, token=token)


def test_no_secret_is_in_anything_that_the_server_writes(tmp_path: Path, provider: str, run_folder: Path) -> None:
    with Served(tmp_path) as served:
        session = Session(served)
        session.secret("first", served.token)
        stored_secrets(session)
        endpoints_with_keys(session, provider)
        tokens(session)
        client_secrets(session)
        the_audit(session)
        master = base64.b64decode((served.home / "master.key").read_text())
        session.secret("master", (served.home / "master.key").read_text().strip())
        session.secret("master-raw", master)
        # While it runs the write-ahead log is there, and so are the files of its processes.
        found = in_files(session, served.home) + in_files(session, run_folder)
        found += in_command_lines(session)
        served.end(signal.SIGTERM)
        assert served.process.stdout is not None
        written = (served.banner.replace(served.token, "") + served.process.stdout.read()).encode()
        written += served.noise.read_bytes()
        assert b"Traceback" not in written
        found += in_files(session, served.home) + [f"its output: {name}" for name in within(session, written)]
        found += [
            f"the answer to {what}: {name}" for what, text in session.said for name in within(session, text.encode())
        ]
    assert len(session.secrets) > 12
    assert found == []


def stored_secrets(session: Session) -> None:
    assert session.ask("POST", "/api/2.0/secrets/scopes/create", {"scope": "s"}).status == 200
    for name in ("kept", "replaced", "deleted"):
        assert session.put(name, session.secret(name)).status == 200
    assert session.put("replaced", session.secret("replacing")).status == 200
    assert session.ask("POST", "/api/2.0/secrets/delete", {"scope": "s", "key": "deleted"}).status == 200
    raw = session.secret("bytes", os.urandom(24)).encode("latin-1")
    both = {"scope": "s", "key": "bytes", "bytes_value": base64.b64encode(raw).decode()}
    assert session.ask("POST", "/api/2.0/secrets/put", both).status == 200
    assert session.ask("GET", "/api/2.0/secrets/get?scope=s&key=kept", tells=True).status == 200
    wrong = session.secret("wrong")
    for status, said in [
        (400, session.put("wrong", wrong, bytes_value="QUJD")),
        (400, session.put("wrong name", wrong)),
        (400, session.put(wrong + "?", "x")),
        (400, session.put("wrong", {"value": wrong})),  # type: ignore[arg-type]
        (404, session.put("wrong", wrong, scope="nowhere")),
        (400, session.ask("POST", "/api/2.0/secrets/put", b'{"scope": "s", "string_value": "' + wrong.encode())),
        (400, session.ask("POST", "/api/2.0/secrets/put", [wrong])),
        (400, session.ask("POST", "/api/2.0/secrets/put", {"scope": "s", "key": "k", "bytes_value": wrong})),
        (413, session.ask("POST", "/api/2.0/secrets/put", {"string_value": wrong, "more": "x" * 2_000_000})),
        (405, session.ask("PUT", "/api/2.0/secrets/put", {"string_value": wrong})),
        (401, session.ask("GET", "/api/2.0/secrets/list?scope=s", token=wrong)),
    ]:
        assert said.status == status, said
    # Cut off in the middle of the body.
    with session.served.connected() as connection:
        connection.putrequest("POST", "/api/2.0/secrets/put")
        connection.putheader("Authorization", f"Bearer {session.served.token}")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b'{"scope": "s", "key": "cut", "string_value": "' + wrong.encode())


def endpoints_with_keys(session: Session, provider: str) -> None:
    """Those that fail say why; the keys are in none of it."""
    plain = session.secret("plain")
    assert session.endpoint("closed", "http://127.0.0.1:1/v1", openai_api_key="{{secrets/s/kept}}").status == 200
    for status in (400, 401, 403, 429, 500):
        said = session.endpoint(f"e{status}", f"{provider}/{status}", openai_api_key_plaintext=plain)
        assert said.status == 200, said
    wrong = session.secret("misplaced")
    for said in (
        session.endpoint("wrong", provider, openai_api_key=wrong),
        session.endpoint("wrong", provider, openai_api_key="{{secrets/s/kept}}", openai_api_key_plaintext=wrong),
        session.endpoint("wrong", provider, openai_api_key_plaintext=[wrong]),  # type: ignore[arg-type]
        session.endpoint("wrong", provider, openai_api_key_plaintext=wrong, no_such_setting=wrong),
    ):
        assert 400 <= said.status < 500, said
    for name in ("closed", "e400", "e401", "e403", "e429", "e500"):
        assert until(lambda name=name: (said := session.query(name)).status != 404 and said).status >= 400  # type: ignore[misc]
        for path in (f"/{name}", f"/{name}/openapi", f"/{name}/metrics", f"/{name}/served-models/m/logs"):
            session.ask("GET", f"/api/2.0/serving-endpoints{path}")
    session.ask("GET", "/api/2.0/serving-endpoints")
    assert session.ask("DELETE", "/api/2.0/serving-endpoints/e403").status == 200


def tokens(session: Session) -> None:
    created = session.ask("POST", "/api/2.0/token/create", {"comment": "for a test"}, tells=True).json()
    token = session.secret("token", created["token_value"])
    until(lambda: session.ask("GET", "/api/2.0/token/list", token=token).status == 200)
    session.query("e500", token=token)
    revoked = session.ask("POST", "/api/2.0/token/delete", {"token_id": created["token_info"]["token_id"]})
    assert revoked.status == 200
    assert until(lambda: session.ask("GET", "/api/2.0/token/list", token=token).status == 401)
    assert session.ask("POST", "/api/2.0/token/delete", {"token_id": token}).status == 404
    assert session.query("chat", token=session.secret("nobody's", "dapi" + secrets.token_hex(16))).status == 401


def client_secrets(session: Session) -> None:
    robot = {"displayName": "robot", "active": True}
    made = session.ask("POST", "/api/2.0/preview/scim/v2/ServicePrincipals", robot)
    assert made.status in (200, 201), made
    path = f"/api/2.0/accounts/servicePrincipals/{made.json()['id']}/credentials/secrets"
    client_secret = session.secret("client secret", session.ask("POST", path, {}, tells=True).json()["secret"])
    session.ask("GET", path)
    client = made.json()["applicationId"]

    def signed_in(secret: str, grant: str = "client_credentials", **more: str) -> Said:
        basic = base64.b64encode(f"{client}:{secret}".encode()).decode()
        form = urlencode({"grant_type": grant, "scope": "all-apis", **more}).encode()
        return session.ask(
            "POST", "/oidc/v1/token", form, tells=True,
            Authorization=f"Basic {basic}", Content_Type="application/x-www-form-urlencoded",
        )  # fmt: skip

    said = until(lambda: (said := signed_in(client_secret)).status == 200 and said)
    access_token = session.secret("access token", said.json()["access_token"])
    assert until(lambda: session.ask("GET", "/api/2.0/preview/scim/v2/Me", token=access_token).status == 200)
    wrong = session.secret("wrong client secret")
    for refused in (signed_in(wrong), signed_in(client_secret, "password"), signed_in("x", assertion=access_token)):
        assert 400 <= refused.status < 500, refused
        session.said.append(("signing in", refused.text))
    forged = access_token[:-8] + "AAAAAAAA"
    assert session.ask("GET", "/api/2.0/preview/scim/v2/Me", token=session.secret("forged", forged)).status == 401


def the_audit(session: Session) -> None:
    said = session.ask("GET", "/api/2.0/tesela/audit?limit=1000")
    assert said.status == 200, said
    actions = {(one["action"], one["status"]) for one in said.json()["records"]}
    assert ("secrets.put", 200) in actions
    assert any(status == 400 for _, status in actions)


def within(session: Session, data: bytes) -> list[str]:
    """The names of the secrets that are in these bytes, as they are or in a usual disguise."""
    return [name for name, value in session.secrets.items() if any(form in data for form in disguises(value))]


def disguises(value: bytes) -> set[bytes]:
    return {
        value,
        value[::-1],
        value.hex().encode(),
        quote(value).encode(),
        json.dumps(value.decode("latin-1"))[1:-1].encode(),
        *(form for before in range(3) for form in base64_forms(value, before)),
    }


def base64_forms(value: bytes, before: int) -> list[bytes]:
    """How it looks inside of a longer text in base64, that many bytes after one of its steps."""
    out = []
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(b"\0" * before + value).rstrip(b"=")
        # The characters at both ends depend on what stands beside.
        out.append(whole[-(-before * 8 // 6) : -1])
    return out


def in_files(session: Session, folder: Path) -> list[str]:
    out = []
    for file in sorted(folder.rglob("*")):
        if file.is_symlink() or not file.is_file():
            continue
        meant = KEEPERS.get(file.relative_to(folder).as_posix(), "")
        out += [
            f"{file.relative_to(folder)}: {name}"
            for name in within(session, file.read_bytes())
            if name != meant and not (meant == "master" and name == "master-raw")
        ]
    return out


def in_command_lines(session: Session) -> list[str]:
    """Anyone on the machine can read the command lines of all processes."""
    processes = {session.served.process.pid}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == session.served.process.pid:
                processes.add(int(stat.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    assert len(processes) > 1
    return [
        f"the command line of a process: {name}"
        for pid in processes
        for name in within(session, Path(f"/proc/{pid}/cmdline").read_bytes())
    ]


def test_a_planted_secret_is_found(tmp_path: Path) -> None:
    session = Session.__new__(Session)
    session.secrets, session.said = {"planted": b"sk-planted/+\xff"}, []
    for at, form in enumerate(disguises(b"sk-planted/+\xff")):
        (tmp_path / str(at)).write_bytes(b"before " + form + b" after")
    (tmp_path / "clean").write_bytes(b"sk-planted")
    assert len(in_files(session, tmp_path)) == len(disguises(b"sk-planted/+\xff"))
