"""Which paths are doors of the data plane, and which only look like it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.gateway.doors import BASES, OPENAI_DOORS, Door, Manners, find
from tesela.wire.tasks import PATH, Task


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("task", Task)
def test_openai_doors(base: str, task: Task) -> None:
    assert find(f"{base}{PATH[task]}".encode()) == Door(Manners.OPENAI, task)


def test_these_are_all_openai_doors() -> None:
    assert set(BASES) == {"/serving-endpoints", "/v1", "/ai-gateway/mlflow/v1", "/ai-gateway/openai/v1"}
    assert len(OPENAI_DOORS) == len(BASES) * len(Task)


@pytest.mark.parametrize(
    ("path", "endpoint", "entity"),
    [
        (b"/serving-endpoints/a/invocations", "a", None),
        (b"/serving-endpoints/a.b-c_d/invocations", "a.b-c_d", None),
        (b"/serving-endpoints/system.ai.llama/x y/invocations", "system.ai.llama/x y", None),
        (b"/serving-endpoints/a%2Fb/invocations", "a/b", None),
        (b"/serving-endpoints/a%2fb%20c/invocations", "a/b c", None),
        (b"/serving-endpoints/%C3%A9/invocations", "é", None),
        (b"/serving-endpoints/%ff/invocations", "\ufffd", None),
        (b"/serving-endpoints/%/invocations", "%", None),
        (b"/serving-endpoints/%zz/invocations", "%zz", None),
        (b"/serving-endpoints/%2e%2e/invocations", "..", None),
        (b"/serving-endpoints/a%3Fb%23c/invocations", "a?b#c", None),
        (b"/serving-endpoints/chat/completions/invocations", "chat/completions", None),
        (b"/serving-endpoints/invocations/invocations", "invocations", None),
        (b"/serving-endpoints/a/served-models/b/invocations", "a", "b"),
        (b"/serving-endpoints/a/b/served-models/c/invocations", "a/b", "c"),
        (b"/serving-endpoints/a%2Fb/served-models/c%20d/invocations", "a/b", "c d"),
        (b"/serving-endpoints/a/served-models/b/c/invocations", "a", "b/c"),
        (b"/endpoints/a/invocations", "a", None),
        (b"/endpoints/a%2Fb/invocations", "a/b", None),
    ],
)
def test_invocation_doors(path: bytes, endpoint: str, entity: str | None) -> None:
    assert find(path) == Door(Manners.DATABRICKS, None, endpoint, entity)


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"/",
        b"*",
        b"/v1",
        b"/v1/chat/completions/",
        b"/v1/chat/completions?x=1",
        b"//v1/chat/completions",
        b"/V1/chat/completions",
        b"/v1/Chat/completions",
        b"/v1/chat%2Fcompletions",
        b"/v1/models",
        b"/chat/completions",
        b"/v2/chat/completions",
        b"http://host/v1/chat/completions",
        b"/invocations",
        b"/serving-endpoints/invocations",
        b"/serving-endpoints//invocations",
        b"/serving-endpoints/a/invocations/",
        b"/serving-endpoints/a/invocationsx",
        b"/serving-endpoints/a/xinvocations",
        b"/serving-endpoints/a/invocations?x=1",
        b"/serving-endpoints/a/served-models//invocations",
        b"/serving-endpoints/a",
        b"/Serving-endpoints/a/invocations",
        b"/api/2.0/serving-endpoints/a/invocations",
        b"/endpoints/invocations",
        b"/endpoints//invocations",
        b"/endpoints",
        b"x/serving-endpoints/a/invocations",
    ],
)
def test_no_false_doors(path: bytes) -> None:
    assert find(path) is None


PARTS = ["/serving-endpoints/", "/endpoints/", "/invocations", "/served-models/", "/v1", "/chat/completions", "a", "%"]


@given(st.binary(max_size=60) | st.lists(st.sampled_from([*PARTS, "/"]), max_size=7).map("".join).map(str.encode))
def test_whatever_is_found_names_something(path: bytes) -> None:
    door = find(path)
    if door is not None:
        assert (door.task is None) == (door.endpoint is not None)
        assert door.endpoint != ""
        assert door.entity != ""
        assert door.entity is None or door.endpoint is not None
