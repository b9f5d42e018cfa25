"""The systems of the table: how each is configured, started and addressed.

A recipe writes what its system needs into a folder and says how to start it. Every system gets the same
request, with a credential, and the same two upstreams; each runs one worker on the gateway's core.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from msgspec import Struct

from bench import crowded, nginx, rivals
from bench.dialects import DIALECTS, Dialect
from bench.orders import Target
from bench.process import BenchError, Child, await_answer, free_port
from bench.wire import chat_body, http_request

UPSTREAM_KEY = "sk-bench"
TOKEN_LIMIT_S = 20
PATH = "/serving-endpoints/chat/completions"


class Ground(Struct, frozen=True):
    """What all systems stand on: the upstreams' ports, the gateway's core, the folder for clones and results."""

    upstreams: Mapping[str, int]
    """Ports by kind: `whole` answers, paced `stream`, and the closed `loop` of streams."""
    core: int | None
    root: Path
    files: int


class Door(Struct, frozen=True):
    """Where one kind of request goes in."""

    port: int
    path: str
    headers: Mapping[str, str]
    model: str

    def target(self, stream: tuple[int, int] | None = None) -> Target:
        """The request to send; `stream` is (chunks, gap in µs)."""
        body = chat_body(self.model, stream=stream)
        return Target(self.port, http_request(self.port, self.path, self.headers, body))


Doors: TypeAlias = Mapping[str, Door]
"""The doors of a system, one for each upstream."""


class Recipe(Struct, frozen=True):
    """How to start a system. `doors` may wait for what the system makes at its start, such as a first token."""

    command: list[str]
    env: Mapping[str, str]
    doors: Callable[[Child], Doors]


Prepare: TypeAlias = Callable[[Ground, Path], Recipe]


class System(Struct, frozen=True):
    """One column of the table.

    `pace` is requests per second of the paced run and `streams` how many run at once in the paced streams. For those
    that do a hundredth as much, `stretch` is how many times longer the loads of whole answers last, and `loop_share`
    the part of the chunks that they relay in the closed loop.  `translated` are compared with the pass-through.
    """

    label: str
    prepare: Prepare
    version: Callable[[Ground], str]
    pace: float = 4000
    streams: int = 100
    stretch: float = 1
    loop_share: float = 1
    start_limit_s: float = 20
    translated: bool = False


class Running:
    """A started system that has answered once."""

    def __init__(self, key: str, system: System, ground: Ground, folder: Path) -> None:
        recipe = system.prepare(ground, folder)
        self.key = key
        self.system = system
        env = {**os.environ, **recipe.env}
        self.child = Child(
            recipe.command,
            core=ground.core,
            log=folder / f"{key}.log",
            env=env,
            cwd=folder,
        )
        try:
            self.doors = recipe.doors(self.child)
            request = self.doors["whole"].target().request
            self.start_s = await_answer(self.child, self.doors["whole"].port, request, limit_s=system.start_limit_s)
        except BaseException:
            self.child.end()
            raise


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _nginx(ground: Ground, folder: Path) -> Recipe:
    routes = {kind: (free_port(), upstream) for kind, upstream in ground.upstreams.items()}
    command = nginx.proxy_command(folder, routes, files=ground.files)
    headers = _bearer("dapi" + "0" * 32)
    doors = {kind: Door(port, PATH, headers, f"bench-{kind}") for kind, (port, _) in routes.items()}
    return Recipe(command, {}, lambda _: doors)


def tesela_config(upstreams: Mapping[str, int], dialect: Dialect | None = None) -> dict[str, Any]:
    """The configuration of Tesela in the bench: one endpoint per upstream, of a provider that is translated or not."""

    def endpoint(name: str, port: int) -> dict[str, Any]:
        custom = {
            "custom_provider_url": f"http://127.0.0.1:{port}/v1",
            "bearer_token_auth": {"token_plaintext": UPSTREAM_KEY},
        }
        model: dict[str, Any] = {
            "name": "upstream-model",
            "provider": "custom",
            "task": "llm/v1/chat",
            "custom_provider_config": custom,
        }
        if dialect is not None:
            model = {
                "name": dialect.model,
                "provider": dialect.provider,
                "task": "llm/v1/chat",
                dialect.field: dialect.settings(port, upstreams["whole"]),
            }
        return {"name": name, "config": {"served_entities": [{"name": f"{name}-entity", "external_model": model}]}}

    return {"endpoints": [endpoint(f"bench-{kind}", port) for kind, port in upstreams.items()]}


def _tesela(*switches: str, full: bool = False, dialect: Dialect | None = None) -> Prepare:
    def prepare(ground: Ground, folder: Path) -> Recipe:
        home, config, port = folder / "home", folder / "tesela.yaml", free_port()
        first = not home.exists()
        home.mkdir(exist_ok=True)
        asked = tesela_config(ground.upstreams, dialect)
        config.write_text(yaml.safe_dump(asked))
        if full and first:
            crowded.fill(home, asked["endpoints"][0]["config"])
        program = Path(sys.executable).with_name("tesela")
        address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command = [str(program), "serve", "--config", str(config), *address, *switches]

        def doors(child: Child) -> Doors:
            headers = _bearer(first_token(home / "token", child))
            return {kind: Door(port, PATH, headers, f"bench-{kind}") for kind in ground.upstreams}

        return Recipe(command, {"TESELA_HOME": str(home)}, doors)

    return prepare


def first_token(path: Path, child: Child) -> str:
    """The access token that Tesela keeps on loopback; waits for the first start to make it."""
    while child.alive() and time.monotonic() - child.started < TOKEN_LIMIT_S:
        token = path.read_text().strip() if path.exists() else ""
        if token:
            return token
        time.sleep(0.002)
    raise BenchError(f"{child.log.stem} made no first token within {TOKEN_LIMIT_S} s of its start: {child.tail()}")


def _litellm(ground: Ground, folder: Path) -> Recipe:
    port, config = free_port(), folder / "litellm.yaml"
    config.write_text(yaml.safe_dump(rivals.litellm_config(ground.upstreams, UPSTREAM_KEY)))
    command = [
        str(rivals.litellm_program(ground.root)),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
    ]
    command += ["--port", str(port), "--num_workers", "1"]
    headers = _bearer(rivals.LITELLM_KEY)
    doors = {kind: Door(port, "/v1/chat/completions", headers, f"bench-{kind}") for kind in ground.upstreams}
    return Recipe(command, rivals.LITELLM_ENV, lambda _: doors)


def _portkey(ground: Ground, _: Path) -> Recipe:
    port = free_port()
    command = [*rivals.portkey_command(ground.root), f"--port={port}", "--headless"]

    def door(upstream: int) -> Door:
        headers = {**_bearer(UPSTREAM_KEY), **rivals.portkey_headers(upstream)}
        return Door(port, "/v1/chat/completions", headers, "upstream-model")

    doors = {kind: door(upstream) for kind, upstream in ground.upstreams.items()}
    return Recipe(command, {"NODE_ENV": "production"}, lambda _: doors)


def _tesela_version(_: Ground) -> str:
    return metadata.version("tesela")


SYSTEMS: dict[str, System] = {
    "nginx": System("nginx, plain reverse proxy", _nginx, lambda _: nginx.version()),
    "nginx-again": System("nginx, a second one", _nginx, lambda _: nginx.version()),
    "tesela": System("Tesela, hot routes", _tesela(), _tesela_version),
    "tesela-crowded": System("Tesela, 1,000 endpoints, 10,000 tokens", _tesela(full=True), _tesela_version),
    "tesela-asgi": System("Tesela, plain ASGI", _tesela("--no-hot-routes"), _tesela_version),
    **{
        name: System(f"Tesela, {dialect.provider}", _tesela(dialect=dialect), _tesela_version, translated=True)
        for name, dialect in DIALECTS.items()
    },
    "portkey": System(
        "Portkey gateway",
        _portkey,
        lambda ground: rivals.portkey_version(ground.root),
        pace=200,
        stretch=2,
        loop_share=0.1,
        streams=20,
        start_limit_s=60,
    ),
    "litellm": System(
        "LiteLLM proxy",
        _litellm,
        lambda ground: rivals.litellm_version(ground.root),
        pace=25,
        stretch=4,
        loop_share=0.05,
        streams=4,
        start_limit_s=120,
    ),
}
ALWAYS = ("nginx", "nginx-again", "tesela", "tesela-crowded", "tesela-asgi", *DIALECTS)
ON_REQUEST = ("litellm", "portkey")
