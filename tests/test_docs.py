"""The documentation is held to the code: what it shows runs, what it lists is all there is, what it links to exists.

Comments in a page say what a fence below them is: `<!-- run -->` is executed, `<!-- prints -->` is what that printed,
`<!-- file: NAME -->` is written beside, and `<!-- serve -->` starts a server with the `tesela.yaml` written before.
The fences of a page run in one folder, against a real server.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml
from starlette.routing import Route
from tests.fakes import contents
from tests.providers.test_vertex_settings import account

from tesela import errors, settings
from tesela.addresses import EngineAddress, attached, tasks_of
from tesela.config import BLOCKS as BLOCKS_OF_SETTINGS
from tesela.config import Config, load, variables
from tesela.control import PUBLIC, routes
from tesela.gateway import doors
from tesela.gateway.models import ENDS
from tesela.serving import ExternalModel
from tesela.snapshot_build import build
from tesela.wire.tasks import Task

ROOT = Path(__file__).resolve().parents[1]
HIDDEN = re.compile(r"(^|/)(\.|node_modules/|build/|dist/)")
PAGES = sorted(path for path in ROOT.rglob("*.md") if not HIDDEN.search(path.relative_to(ROOT).as_posix()))
PATIENCE_S = 60.0
TESELA = [sys.executable, "-c", "from tesela.cli import main; main()"]

FENCE = re.compile(
    r"(?:^<!-- (?P<mark>run|prints|serve|file: (?P<file>[\w./-]+)) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Fence(NamedTuple):
    """A fenced piece of a page.  `mark` is the first word of the comment above it, empty when there is none."""

    page: str
    line: int
    mark: str
    file: str
    kind: str
    text: str


def fences(page: Path) -> list[Fence]:
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    return [
        Fence(
            name,
            text.count("\n", 0, found.start("kind")) + 1,
            (found["mark"] or "").partition(":")[0],
            found["file"] or "",
            found["kind"],
            found["text"],
        )
        for found in FENCE.finditer(text)
    ]


FENCES = {page.relative_to(ROOT).as_posix(): fences(page) for page in PAGES}
RUNNABLE = [name for name, found in FENCES.items() if any(one.mark == "run" for one in found)]
YAML = [one for found in FENCES.values() for one in found if one.kind == "yaml"]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# ------------------------------------------------------------ what is shown runs

CONFIG = """\
endpoints:
  - name: databricks-meta-llama-3-3-70b-instruct
    config: {served_entities: [{external_model: {name: stand-in, provider: scripted, task: llm/v1/chat}}]}
  - name: databricks-gte-large-en
    config: {served_entities: [{external_model: {name: stand-in, provider: scripted, task: llm/v1/embeddings}}]}
"""


def environment(**more: str) -> dict[str, str]:
    """What a reader's shell has, with the environment of the clone first on the path."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TESELA_", "DATABRICKS_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return kept | {"PATH": path, "NO_PROXY": "127.0.0.1,localhost"} | more


@contextmanager
def serving_with(config: Path, home: Path) -> Iterator[dict[str, str]]:
    """A real server.  Gives the variables that it prints."""
    command = [*TESELA, "serve", "--port", "0", "--home", str(home), "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(), cwd=config.parent) as process:
        assert process.stdout is not None
        exported: dict[str, str] = {}
        for line in process.stdout:
            if found := re.match(r"\s*export (DATABRICKS_\w+)=(\S+)", line):
                exported[found[1]] = found[2]
            if len(exported) == 2:
                break
        try:
            assert len(exported) == 2, "the server did not start"
            yield exported
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("docs")
    config = folder / "tesela.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    with serving_with(config, folder / "home") as exported:
        yield exported


def run(fence: Fence, folder: Path, exported: Mapping[str, str]) -> str:
    """Run one fence as its reader would.  Gives what it printed."""
    program = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[fence.kind]
    done = subprocess.run(
        [*program, fence.text],
        cwd=folder,
        env=environment(**exported, HOME=str(folder)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{fence.page}:{fence.line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNNABLE)
def test_what_is_marked_runs_and_prints_what_it_promises(server: dict[str, str], tmp_path: Path, name: str) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    exported, printed = server, ""
    started: AbstractContextManager[dict[str, str]] | None = None
    try:
        for fence in FENCES[name]:
            if fence.mark == "file":
                (folder / fence.file).write_text(fence.text, encoding="utf-8")
            elif fence.mark == "serve":
                started = serving_with(folder / "tesela.yaml", tmp_path / "home")
                exported = started.__enter__()
            elif fence.mark == "run":
                printed = run(fence, folder, exported)
            elif fence.mark == "prints":
                assert printed.strip() == fence.text.strip(), f"{name}:{fence.line}"
    finally:
        if started is not None:
            started.__exit__(None, None, None)


def test_the_guides_have_something_to_run() -> None:
    assert {"README.md", "docs/guides/quickstart.md", "docs/guides/test-against-tesela-in-ci.md"} <= set(RUNNABLE)


def test_a_mark_is_above_a_fence() -> None:
    """A mark that is misspelt or has a blank line below it would silently mark nothing."""
    for name, found in FENCES.items():
        marks = re.findall(r"^<!-- (?![\w-]+:(?:start|end) )", page(name), re.MULTILINE)
        assert len(marks) == len([one for one in found if one.mark]), name


# ------------------------------------------------------------ configuration

BLOCKS = {
    "ai21labs_config": "ai21labs",
    "amazon_bedrock_config": "amazon-bedrock",
    "anthropic_config": "anthropic",
    "cohere_config": "cohere",
    "databricks_model_serving_config": "databricks-model-serving",
    "google_cloud_vertex_ai_config": "google-cloud-vertex-ai",
    "openai_config": "openai",
    "custom_provider_config": "custom",
    "scripted_config": "scripted",
}


def configurations(fence: Fence) -> Iterator[dict[str, Any]]:
    """The whole files that a fence shows.  The settings of one provider are shown without what is around them."""
    for piece in re.split(r"(?m)^(?=\w+_config:)", fence.text):
        found = yaml.safe_load(piece)
        if found and BLOCKS.keys() & found.keys():
            model = {"name": "m", "provider": BLOCKS[next(iter(found))], "task": "llm/v1/chat", **found}
            yield {"endpoints": [{"name": "e", "config": {"served_entities": [{"external_model": model}]}}]}
        elif found:
            yield found


def engines(config: Config) -> dict[str, EngineAddress]:
    """Where the models would answer if they ran."""
    chat, vectors = frozenset({Task.CHAT, Task.COMPLETIONS}), frozenset({Task.EMBEDDINGS})
    out = {
        "smollm2-135m-instruct": EngineAddress("smollm2-135m-instruct", chat, "/s"),
        "all-minilm-l6-v2": EngineAddress("all-minilm-l6-v2", vectors, "/s"),
    }
    listed = [entry for entry in config.settings.models if entry.base_url is None]
    return out | {entry.name: EngineAddress(entry.name, tasks_of(entry), "/s") for entry in listed}


@pytest.mark.parametrize("fence", YAML, ids=lambda one: f"{one.page}:{one.line}")
def test_every_configuration_can_be_used(tmp_path: Path, fence: Fence) -> None:
    found = list(configurations(fence))
    assert found
    for number, values in enumerate(found):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(values), encoding="utf-8")
        environ = dict.fromkeys(re.findall(r"env:(\w+)", fence.text), "x")
        if "SERVICE_ACCOUNT_JSON" in environ:
            environ["SERVICE_ACCOUNT_JSON"] = account()
        config = load(file, environ, {"home": tmp_path})
        assert config.notes == ()
        assert build(config, engines(config), contents()).snapshot.endpoints
        attached(config)


def names(struct: type[msgspec.Struct]) -> list[str]:
    return list(struct.__struct_fields__)


def in_blocks() -> list[str]:
    """The settings that stand in a block of their own."""
    return [f"{block}.{name}" for block, (kind, _) in BLOCKS_OF_SETTINGS.items() for name in names(kind)]


@pytest.mark.parametrize(
    "name",
    [
        *names(settings.Settings),
        *in_blocks(),
        *names(settings.ModelEntry),
        *names(settings.DeclaredCapabilities),
        *variables(),
    ],
)
def test_every_setting_is_in_the_reference(name: str) -> None:
    assert f"`{name}`" in page("docs/reference/configuration.md")


def test_every_setting_of_the_reference_is_one() -> None:
    text = page("docs/reference/configuration.md")
    shown = re.findall(r"^\| `([\w.]+)` \| (?:`TESELA_|see below|–)", text, re.MULTILINE)
    known = {*names(settings.Settings), *in_blocks()}
    assert set(shown) == known


def test_every_provider_is_in_the_page_of_endpoints() -> None:
    text = page("docs/concepts/endpoints.md")
    for block in (name for name in names(ExternalModel) if name in BLOCKS):
        assert f"| `{BLOCKS[block]}` |" in text


# ------------------------------------------------------------ errors


def family(kind: type[errors.TeselaError]) -> Iterator[type[errors.TeselaError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from family(child)


PARENTS = (errors.TeselaError, errors.RequestError, errors.UpstreamError)
ERRORS = [kind for kind in family(errors.TeselaError) if kind not in PARENTS]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_has_its_row_and_an_example(kind: type[errors.TeselaError]) -> None:
    text, name = page("docs/reference/errors.md"), kind.__name__
    row = re.search(rf"^\| \[`{name}`\]\(#{name.lower()}\) \| (.*) \|$", text, re.MULTILINE)
    assert row is not None
    cells = [cell.strip() for cell in row[1].split(" | ")]
    example = re.search(rf"^### {name}\n\n```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert example is not None
    if kind is errors.ConfigError:
        assert cells[:3] == ["–", "–", "–"]
        return
    status = "theirs" if kind is errors.UpstreamRejected else str(kind.status)
    assert cells[:3] == [status, f"`{kind.code}`", f"`{kind.type}`"]
    if not issubclass(kind, errors.RequestError):
        assert cells[3] == ("yes" if kind.retryable else "no")
    body = json.loads(example[2])
    assert list(body) == ["error_code", "message", "type", "code", "param"]
    assert (body["error_code"], body["type"]) == (kind.code, kind.type)


def test_every_error_of_the_page_is_one() -> None:
    shown = re.findall(r"^### (\w+)$", page("docs/reference/errors.md"), re.MULTILINE)
    assert sorted(shown) == sorted(kind.__name__ for kind in ERRORS)


# ------------------------------------------------------------ paths


def paths() -> set[str]:
    """Every method and path that answers, HEAD aside."""
    out = {f"POST {path.decode()}" for path in doors.DOORS}
    out |= {f"GET {base}/models{end.replace(':path', '')}" for base in doors.BASES for end in ENDS}
    for base in doors.GEMINI_BASES:
        place = f"{base}/{{version}}/models"
        out |= {f"POST {place}/{{name}}:{method.decode()}" for method in doors.METHODS}
        out |= {f"GET {place}{end.replace(':path', '')}" for end in ENDS}
    # The handlers look at the facts when they are called, not when the table is made.
    facts: Any = object()
    for route in routes(facts):
        assert isinstance(route, Route)
        path = re.sub(r":(?:uuid|int)\}", "}", route.path)
        out |= {f"{method} {path}" for method in (route.methods or set()) - {"HEAD"}}
    return out


INVOCATIONS = {
    "POST /serving-endpoints/{name}/invocations": ("a", None),
    "POST /serving-endpoints/{name}/served-models/{served}/invocations": ("a", "b"),
    "POST /endpoints/{name}/invocations": ("a", None),
}


def test_the_page_of_the_api_has_every_path_and_no_other() -> None:
    shown = re.findall(r"^\| `((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)` \|", page("docs/reference/api.md"), re.MULTILINE)
    assert len(shown) == len(set(shown))
    assert set(shown) == paths() | INVOCATIONS.keys()


@pytest.mark.parametrize("path", INVOCATIONS)
def test_the_paths_of_invocations_are_doors(path: str) -> None:
    door = doors.find(path.partition(" ")[2].replace("{name}", "a").replace("{served}", "b").encode())
    assert door is not None
    assert (door.endpoint, door.entity) == INVOCATIONS[path]


def test_the_public_paths() -> None:
    public = page("docs/reference/api.md").partition("## Public\n")[2]
    assert set(re.findall(r"`(?:GET|POST) (/[^`]*)`", public)) == {
        re.sub(r":(?:uuid|int)\}", "}", path) for path in PUBLIC
    }


# ------------------------------------------------------------ what pages refer to

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def prose(text: str) -> str:
    """A page without its fences and inline code, in which brackets mean other things."""
    return re.sub(r"`[^`\n]*`", "``", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(anchor)
    return found


@pytest.mark.parametrize("name", FENCES)
def test_every_link_leads_somewhere(name: str) -> None:
    here = ROOT / name
    for link in LINK.findall(prose(page(name))):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (here.parent / target).resolve() if target else here
        assert file.exists(), f"{name}: {link}"
        assert ROOT in (file, *file.parents), f"{name}: {link} leads out of the repository"
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{name}: {link}"


def test_every_page_is_reached_from_the_index() -> None:
    index = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in LINK.findall(prose(page("docs/README.md")))}
    assert {path for path in PAGES if path.parent.parent == ROOT / "docs"} <= index


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("name", FENCES)
def test_every_make_target_exists(name: str) -> None:
    spans = re.findall(r"`(make [^`\n]*)`|^\$? ?(make [^\n]*)$", page(name), re.MULTILINE)
    for span in (inline or line for inline, line in spans):
        for word in re.findall(r"^make ([a-z]+)\b(?!=)", span):
            assert word in targets(), f"{name}: {span}"


def test_every_make_target_is_in_the_contributors_table() -> None:
    shown = re.findall(r"^\| `make ([a-z]+)` \|", page("CONTRIBUTING.md"), re.MULTILINE)
    assert set(shown) == targets() - {"help"}


def test_every_example_is_in_the_table_of_the_readme() -> None:
    shown = set(re.findall(r"\(examples/([\w.]+)\)", page("README.md")))
    assert shown == {path.name for path in (ROOT / "examples").iterdir() if path.suffix in (".py", ".sh")}


# ------------------------------------------------------------ dependencies


def dependencies() -> set[str]:
    """Every package that pyproject.toml asks for, Tesela's own extras aside."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for group in (*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values()):
        asked += group
    return {re.split(r"[\[<>=! ;]", one)[0] for one in asked} - {"tesela"}


def test_every_dependency_has_its_reason() -> None:
    section = page("CONTRIBUTING.md").partition("## Dependencies")[2]
    assert {name for name in dependencies() if f"`{name}`" not in section} == set()


def test_every_reason_has_its_dependency() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", page("CONTRIBUTING.md").partition("## Dependencies")[2], re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} <= dependencies()
