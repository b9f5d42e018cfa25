"""`tesela endpoints create`, `update`, `delete` and `permissions` against a real server, and waiting against one with
prepared answers."""

import contextlib
import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from tests.system.processes import Served, until

pytestmark = pytest.mark.slow

SERVING = "/api/2.0/serving-endpoints"
FILE_YAML = """\
name: {name}
description: Its own chat endpoint once more.
tags: [{{key: team, value: x}}]
config:
  served_entities:
    - {{name: one, external_model: {{name: chat, provider: openai, task: llm/v1/chat,
        openai_config: {{openai_api_base: "{host}/serving-endpoints", openai_api_key_plaintext: {token}}}}}}}
"""


@pytest.fixture
def name(served: Served) -> Iterator[str]:
    made = f"made-{uuid4().hex[:8]}"
    yield made
    requests.delete(f"{served.host}{SERVING}/{made}", headers=bearer(served), timeout=30)


def bearer(served: Served) -> dict[str, str]:
    return {"authorization": f"Bearer {served.token}"}


def seen(served: Served, name: str) -> Any:
    """The endpoint, or None when there is none."""
    answer = requests.get(f"{served.host}{SERVING}/{name}", headers=bearer(served), timeout=30)
    return answer.json() if answer.ok else None


def whole(served: Served, name: str, **more: Any) -> dict[str, Any]:
    """An endpoint on the server's own `chat`."""
    settings = {
        "openai_api_base": served.host + "/serving-endpoints",
        "openai_api_key_plaintext": served.token,
    }
    model = {"name": "chat", "provider": "openai", "task": "llm/v1/chat", "openai_config": settings}
    return {"name": name, "config": {"served_entities": [{"name": "one", "external_model": model}]}, **more}


def made(admin: Any, served: Served, name: str, **more: Any) -> Any:
    done = admin("endpoints", "create", "-f", "-", stdin=json.dumps(whole(served, name, **more)).encode())
    assert done.returncode == 0, done.stderr
    return seen(served, name)


def test_create_from_a_file_and_query(admin: Any, served: Served, name: str, tmp_path: Path) -> None:
    (tmp_path / "endpoint.yaml").write_text(FILE_YAML.format(name=name, host=served.host, token=served.token))
    done = admin("endpoints", "create", "-f", "endpoint.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == (
        f"Endpoint {name} was made and is ready at {served.host}/serving-endpoints/{name}/invocations\n"
    )
    assert served.token.encode() not in done.stdout + done.stderr
    assert seen(served, name)["tags"] == [{"key": "team", "value": "x"}]
    until(lambda: admin("query", name, "Hi").stdout == b"Hi\n")


def test_create_from_standard_input_as_json_with_tabs(admin: Any, served: Served, name: str) -> None:
    text = json.dumps(whole(served, name), indent="\t")
    done = admin("endpoints", "create", "--file", "-", "--json", "--no-wait", stdin=text.encode())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == name == seen(served, name)["name"]


def test_create_all_of_a_list(admin: Any, served: Served, name: str) -> None:
    other = name + "-too"
    text = json.dumps({"endpoints": [whole(served, name), whole(served, other)], "port": 1})
    done = admin("endpoints", "create", "-f", "-", stdin=text.encode())
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.decode().splitlines()] == [name, other]
    assert b"standard input: only its endpoints are read, not port\n" in done.stderr
    assert admin("endpoints", "delete", other, "--yes").returncode == 0


def test_a_name_that_is_taken_is_one_sentence(admin: Any, served: Served, name: str) -> None:
    made(admin, served, name)
    done = admin("endpoints", "create", "-f", "-", stdin=json.dumps(whole(served, name)).encode())
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.count(b"\n") == 1
    assert f"there is an endpoint '{name}' already" in done.stderr.decode()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "standard input:1: "),
        ("name: [", "standard input:"),
        ("config: {}", "standard input: an endpoint needs a name"),
        ("name: 7\nconfig: {}", "standard input: an endpoint needs a name"),
        ("endpoints: {}", "standard input: endpoints must be a list"),
        ("endpoints: []", "standard input: endpoints must be a list"),
        ("endpoints: [{name: a}, 7]", "standard input: endpoints[1]: an endpoint must be a mapping"),
        ("name: a\nname: b", "standard input:2: "),
        ("name: a\nconfig: {}\x00", "standard input:"),
    ],
)
def test_a_file_of_another_shape(tesela: Any, server: Any, text: str, sentence: str) -> None:
    done = tesela("endpoints", "create", "-f", "-", stdin=text.encode())
    assert done.returncode == 2, done.stderr
    assert done.stderr.decode().startswith(f"tesela: {sentence}")
    assert server.asked == []


def test_a_file_that_is_not_there(tesela: Any, server: Any) -> None:
    done = tesela("endpoints", "create", "-f", "nowhere.yaml")
    assert (done.returncode, done.stderr) == (2, b"tesela: nowhere.yaml: cannot be read: No such file or directory\n")
    assert server.asked == []


def test_update_with_a_configuration(admin: Any, served: Served, name: str) -> None:
    config = made(admin, served, name) and whole(served, name)["config"]
    config["served_entities"][0]["name"] = "two"
    done = admin("endpoints", "update", name, "-f", "-", stdin=json.dumps(config).encode())
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().startswith(f"Endpoint {name} was changed and is ready at ")
    now = seen(served, name)["config"]
    assert ([one["name"] for one in now["served_entities"]], now["config_version"]) == (["two"], 2)


def test_update_with_a_whole_endpoint(admin: Any, served: Served, name: str) -> None:
    made(admin, served, name, tags=[{"key": "old", "value": "1"}, {"key": "kept", "value": "2"}], description="said")
    wanted = whole(
        served,
        name,
        tags=[{"key": "kept", "value": "3"}, {"key": "new"}],
        ai_gateway={"usage_tracking_config": {"enabled": True}},
        rate_limits=[{"calls": 5, "renewal_period": "minute"}],
        description="said",
    )
    done = admin("endpoints", "update", name, "-f", "-", "--json", stdin=json.dumps(wanted).encode())
    assert done.returncode == 0, done.stderr
    now = seen(served, name)
    assert json.loads(done.stdout)["tags"] == now["tags"] == [{"key": "kept", "value": "3"}, {"key": "new"}]
    assert now["ai_gateway"] == {"usage_tracking_config": {"enabled": True}}
    assert now["rate_limits"] == [{"calls": 5, "renewal_period": "minute"}]
    assert now["config"]["config_version"] == 2


def test_update_takes_what_get_prints(admin: Any, served: Served, name: str) -> None:
    assert admin("secrets", "scopes", "create", name).returncode == 0
    assert admin("secrets", "put", name, "key", stdin=served.token.encode()).returncode == 0
    wanted = whole(served, name)
    settings = wanted["config"]["served_entities"][0]["external_model"]["openai_config"]
    del settings["openai_api_key_plaintext"]
    settings["openai_api_key"] = f"{{{{secrets/{name}/key}}}}"
    assert admin("endpoints", "create", "-f", "-", stdin=json.dumps(wanted).encode()).returncode == 0
    shown = admin("endpoints", "get", name, "--json").stdout
    done = admin("endpoints", "update", name, "-f", "-", stdin=shown)
    assert done.returncode == 0, done.stderr
    until(lambda: admin("query", name, "Hi").stdout == b"Hi\n")
    assert admin("secrets", "scopes", "delete", name, "--yes").returncode == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"description": "another"}, "description is given to an endpoint when it is made"),
        ({"name": "somebody-else"}, "is about endpoint 'somebody-else'"),
        ({"tags": "team"}, "tags must be a list"),
    ],
)
def test_what_cannot_be_changed_is_refused_before_anything_is(
    admin: Any, served: Served, name: str, change: dict[str, Any], sentence: str
) -> None:
    before = made(admin, served, name, description="said")
    done = admin("endpoints", "update", name, "-f", "-", stdin=json.dumps(whole(served, name) | change).encode())
    assert done.returncode == 2
    assert sentence in done.stderr.decode()
    assert seen(served, name) == before


@pytest.mark.parametrize("text", ["{}", "", "id: abc", "endpoints: [{name: other, config: {}}]"])
def test_an_update_with_nothing_in_it(admin: Any, served: Served, name: str, text: str) -> None:
    before = made(admin, served, name)
    done = admin("endpoints", "update", name, "-f", "-", stdin=text.encode())
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(b"tesela: ")
    assert seen(served, name) == before


def test_an_endpoint_of_the_file_says_which_file(admin: Any, served: Served) -> None:
    done = admin("endpoints", "delete", "chat", "--yes")
    assert done.returncode == 1
    assert b"tesela.yaml" in done.stderr


def test_delete_asks_and_without_a_terminal_wants_yes(admin: Any, served: Served, name: str) -> None:
    made(admin, served, name)
    done = admin("endpoints", "delete", name)
    assert done.returncode == 2
    assert b"pass --yes" in done.stderr
    assert answered_at_terminal(admin, "n", "endpoints", "delete", name) == 130
    assert seen(served, name) is not None
    assert answered_at_terminal(admin, "y", "endpoints", "delete", name) == 0
    assert seen(served, name) is None


def test_delete_goes_on_after_one_that_is_not_there(admin: Any, served: Served, name: str) -> None:
    made(admin, served, name)
    done = admin("endpoints", "delete", "nobody", name, "nothing", "-y")
    assert done.returncode == 1
    assert seen(served, name) is None
    assert ["nobody" in line or "nothing" in line for line in done.stderr.decode().splitlines()] == [True, True]


def test_permissions_are_given_lowered_and_taken(admin: Any, served: Served, name: str) -> None:
    made(admin, served, name)
    assert admin("principals", "create", "user", f"{name}@example.com").returncode == 0
    ann = f"user:{name}@example.com"

    def levels(*arguments: str) -> dict[str, str]:
        done = admin("endpoints", "permissions", name, *arguments)
        assert done.returncode == 0, done.stderr
        return {row.split("\t")[1]: row.split("\t")[3] for row in done.stdout.decode().splitlines()}

    before = levels()
    assert before == {"admin@localhost": "CAN_MANAGE", "admins": "CAN_MANAGE"}
    given = levels("--grant", f"{ann}=CAN_MANAGE", "--grant", "group:users=CAN_VIEW")
    assert given == before | {f"{name}@example.com": "CAN_MANAGE", "users": "CAN_VIEW"}
    assert levels("--grant", f"{ann}=CAN_QUERY") == given | {f"{name}@example.com": "CAN_QUERY"}
    assert levels("--revoke", ann, "--revoke", "group:users") == before
    done = admin("endpoints", "permissions", name, "--revoke", ann)
    assert done.returncode == 1
    assert f"{ann} was not given anything" in done.stderr.decode()
    shown = json.loads(admin("endpoints", "permissions", name, "--json").stdout)
    assert shown["object_type"] == "serving-endpoint"


def test_an_endpoint_without_an_id_has_no_permissions_to_tell(tesela: Any, server: Any) -> None:
    server.endpoint("built-in")
    done = tesela("endpoints", "permissions", "built-in")
    assert done.returncode == 1
    assert done.stderr.decode().startswith("tesela: endpoint 'built-in' has no id at http://")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--grant", "ann@example.com=CAN_QUERY"],
        ["--grant", "user:ann@example.com"],
        ["--grant", "user:ann@example.com=ALL"],
        ["--grant", "user:=CAN_QUERY"],
        ["--revoke", "robot:x"],
    ],
)
def test_a_grant_has_a_form(tesela: Any, server: Any, arguments: list[str]) -> None:
    assert tesela("endpoints", "permissions", "x", *arguments).returncode == 2
    assert server.asked == []


def state(update: str, ready: str = "NOT_READY", deployment: str = "DEPLOYMENT_CREATING", told: str = "") -> Any:
    entity = {"name": "m", "state": {"deployment": deployment, "deployment_state_message": told}}
    return {
        "name": "slow",
        "state": {"ready": ready, "config_update": update},
        "pending_config": {"served_entities": [entity]},
    }


def waiting(tesela: Any, server: Any, answer: Any, *more: str) -> subprocess.Popen[bytes]:
    """`create` against prepared answers, once it has asked how far the endpoint is."""
    server.answer("POST", SERVING, answer)
    server.answer("GET", f"{SERVING}/slow", answer)
    (tesela.folder / "slow.yaml").write_text("name: slow\nconfig: {}\n")
    process: subprocess.Popen[bytes] = tesela.start(
        "endpoints", "create", "-f", "slow.yaml", *more, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    # What is asked a second time was answered the first.
    until(lambda: [asked[0] for asked in server.asked].count("GET") > 1 or process.poll() is not None)
    return process


def test_it_waits_until_the_endpoint_is_ready(tesela: Any, server: Any) -> None:
    process = waiting(tesela, server, state("IN_PROGRESS", told="loading the model"))
    server.answer("GET", f"{SERVING}/slow", state("NOT_UPDATING", "READY"))
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert err == b"slow: loading the model\n"
    assert out.startswith(b"Endpoint slow was made and is ready at ")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (state("UPDATE_FAILED", told="out of memory"), "did not get its configuration: out of memory"),
        (state("UPDATE_CANCELED"), "did not get its configuration: the server gave no reason"),
        (state("NOT_UPDATING", "NOT_READY", "DEPLOYMENT_FAILED", "it fell over"), "does not serve: it fell over"),
    ],
)
def test_an_endpoint_that_fails_says_why(tesela: Any, server: Any, answer: Any, sentence: str) -> None:
    process = waiting(tesela, server, answer)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, b"")
    assert err.decode() == f"tesela: endpoint 'slow' {sentence}\n"


def test_it_does_not_wait_for_ever(tesela: Any, server: Any) -> None:
    process = waiting(tesela, server, state("IN_PROGRESS"), "--timeout", "1s")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"endpoint 'slow' was not ready in 1 seconds; it goes on" in err


def test_ctrl_c_ends_the_waiting_and_says_so(tesela: Any, server: Any) -> None:
    process = waiting(tesela, server, state("IN_PROGRESS"))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert b"No longer waiting; endpoint 'slow' goes on being made ready.\n" in err
    assert b"Traceback" not in err


def answered_at_terminal(command: Any, answer: str, *arguments: str) -> int:
    """The exit code of a command whose question is answered at a terminal."""
    ours, theirs = pty.openpty()
    process = command.start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the other side of a pseudo-terminal is closed
        while piece := os.read(ours, 65536):
            shown += piece
            if shown.endswith(b"[y/N]: "):
                os.write(ours, answer.encode() + b"\n")
    os.close(ours)
    code: int = process.wait(timeout=30)
    assert b"are you sure" in shown
    return code
