"""A real server, Debian's Chromium, and somebody who is signed in.

Without a browser, or without the built pages, these tests are skipped; `.ci/run` installs both.  Each page fails its
test when the browser reports an error of a script or a breach of the policy.  Screenshots go to `screenshots/`.
"""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, expect, sync_playwright
from tests.system.processes import COMMAND, Served

import tesela

ROOT = Path(__file__).resolve().parents[2]
STATIC = Path(tesela.__file__).parent / "static" / "index.html"
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
SCREENSHOTS = ROOT / "screenshots"
PATIENCE_MS = 15_000
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
FLAGS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-proxy-server",
    # A name that is not this machine's own: over plain http browsers keep some of their functions from it.
    "--host-resolver-rules=MAP tesela.test 127.0.0.1",
]  # fmt: skip
XSS = (
    "<img src=x onerror=window.hurt=1>",
    "<script>window.hurt=1</script>",
    '"><svg onload=window.hurt=1>',
    "javascript:window.hurt=1",
    "{{constructor.constructor('window.hurt=1')()}}",
)
"""Strings that must be shown and never run: `hurt` tells."""


def served(name: str, model: str, task: str = "chat", more: str = "") -> str:
    """An endpoint of the configuration file on a scripted model; docs/guides/scripted-model.md has their names."""
    entity = f"name: m, external_model: {{name: '{model}', provider: scripted, task: llm/v1/{task}}}"
    return f"  - {{name: {name}, {more}config: {{served_entities: [{{{entity}}}]}}}}\n"


FILE = "endpoints:\n" + "".join((
    served("echo", "echo"),
    served("polite", "my-model"),
    served("echo-slowly", "echo+drip-15ms"),
    served("slow", "long-400+drip-20ms"),
    served("fast", "long-600+drip-5ms"),
    served("huge", "long-20000"),
    served("fast-b", "long-600+drip-5ms"),
    served("fast-c", "long-600+drip-5ms"),
    served("fast-d", "long-600+drip-5ms"),
    served("cut", "cut-after-3"),
    served("busy", "error-429"),
    served("down", "error-503"),
    served("broken", "bad-json"),
    served("error-late", "error-after-2"),
    served("tools", "tool-call"),
    served("words", "echo", "completions"),
    served("vectors", "vectors", "embeddings"),
))  # fmt: skip
"""The endpoints of every test here.  Local models come beside them where a test asks for them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = "no Chromium is installed" if not CHROMIUM else "" if STATIC.exists() else "the web pages are not built"
    if os.environ.get("TESELA_BROWSER_REQUIRED") and reason:
        raise pytest.UsageError(reason)
    for item in items:
        if reason and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`tesela serve` with the scripted endpoints above; its banner has a one-time code that nobody has used."""
    with Served(tmp_path_factory.mktemp("browser"), file=FILE) as running:
        yield running


# For one module at a time: while it runs, Playwright holds an event loop in this thread, and other tests have theirs.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    # Chromium's sandbox does not start for root, which continuous integration often is.
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    running = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
    yield running
    running.close()


Open = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, server: Served) -> Iterator[Open]:
    """`visit(path, token=…, width=…, dark=…, language=…)`: a browser of its own, signed in by the token, at a path.

    With `hostile` the policy may have had to block a style of a text.
    Without a token it is the admin's; `token=None` signs nobody in.  Errors of scripts fail the test at its end.
    """
    contexts: list[BrowserContext] = []
    troubles: list[str] = []

    def open_(
        path: str = "/",
        *,
        token: str | None = server.token,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        language: str = "en",
        host: str = server.host,
        hostile: bool = False,
        grants: tuple[str, ...] = ("clipboard-read", "clipboard-write"),
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", locale=language,
            base_url=host, permissions=list(grants), reduced_motion="reduce",
        )  # fmt: skip
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", lambda message: troubles.extend(_trouble(message, hostile)))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: troubles.extend(_elsewhere(request.url, host)))
        if token is not None:
            answer = context.request.post(
                "/api/2.0/tesela/session", data={"token": token}, headers={"x-tesela-page": "1"}
            )
            assert answer.ok, answer.text()
        page.goto(path)
        return page

    expect.set_options(timeout=PATIENCE_MS)
    yield open_
    hurt = [page.url for context in contexts for page in context.pages if page.evaluate("window.hurt === 1")]
    for context in contexts:
        context.close()
    assert hurt == [], "a text was run as a script"
    assert troubles == []


def _trouble(message: ConsoleMessage, hostile: bool) -> list[str]:
    """What the browser complains of; a status that the server gave is told by the page itself.

    With `hostile` texts the browser reports what of them the policy kept from working while the sanitiser read them;
    Chromium 156 does so for handlers of events, too.
    """
    reading = "/purify" in message.location.get("url", "")
    if hostile and re.match("Applying inline style violates|Setting the document.s base URI", message.text):
        return []
    if hostile and reading and message.text.startswith("Executing inline event handler violates"):
        return []
    known = re.match(
        # The second says that this header holds over https and on this machine only, which no server can change.
        r"Failed to load resource: (the server responded with a status|net::)|"
        r"The Cross-Origin-Opener-Policy header has been ignored, because",
        message.text,
    )
    return [] if message.type not in ("error", "warning") or known else [f"{message.type}: {message.text}"]


def _elsewhere(url: str, host: str) -> list[str]:
    return [] if url.startswith((f"{host}/", "data:", "blob:")) else [f"a request left the host: {url}"]


@pytest.fixture
def page(visit: Open) -> Page:
    """The first page, as the admin."""
    return visit("/")


@pytest.fixture(scope="session")
def axe() -> Callable[[Page], None]:
    """`axe(page)` fails when https://github.com/dequelabs/axe-core finds something serious."""
    source = AXE.read_text(encoding="utf-8")

    def check(page: Page) -> None:
        page.evaluate(source + "; undefined")
        found: Any = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [
            f"{one['id']} ({one['impact']}): {one['help']}: "
            + "; ".join(node["html"][:160] for node in one["nodes"][:4])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == []

    return check


@pytest.fixture
def shot(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`shot(page, "name")` keeps a picture; nobody can scroll sideways on a page that is kept."""

    def take(page: Page, name: str, *, full: bool = False) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"the page is {wide} px wider than the window"

    return take


def api(server: Served, method: str, path: str, body: Any = None) -> Any:
    """A request beside the browser, as the admin."""
    asked = urllib.request.Request(server.host + path, method=method, data=json.dumps(body).encode() if body else None)
    asked.add_header("authorization", f"Bearer {server.token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(asked, timeout=30) as answer:
        return json.load(answer)


def make(server: Served, name: str, **more: Any) -> None:
    model = {"name": "echo", "provider": "scripted", "task": "llm/v1/chat"}
    entities = [{"name": "one", "external_model": model}]
    api(server, "POST", "/api/2.0/serving-endpoints", {"name": name, "config": {"served_entities": entities}, **more})


def grant(server: Served, endpoint: str, user: str, level: str = "CAN_QUERY") -> None:
    id_ = api(server, "GET", f"/api/2.0/serving-endpoints/{endpoint}")["id"]
    allowed = {"access_control_list": [{"user_name": user, "permission_level": level}]}
    api(server, "PATCH", f"/api/2.0/permissions/serving-endpoints/{id_}", allowed)


@pytest.fixture
def somebody(server: Served) -> Callable[[str], str]:
    """`somebody("ann@example.com")`: an access token of a user who is no admin."""

    def make(name: str) -> str:
        with requests.Session() as session:
            session.trust_env = False
            session.headers["authorization"] = f"Bearer {server.token}"
            users = f"{server.host}/api/2.0/preview/scim/v2/Users"
            found = session.get(users, params={"filter": f'userName eq "{name}"'}, timeout=30).json()
            if not found.get("Resources"):
                session.post(users, json={"userName": name}, timeout=30).raise_for_status()
        done = subprocess.run(
            [*COMMAND, "tokens", "create", "--for", name],
            env=server.environ, cwd=server.folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        token = re.search(r"dapi[0-9a-f]{32}", done.stdout)
        assert token, done.stdout
        return token[0]

    return make
