"""Errors as bytes: what each client reads, and what none of them may find."""

import json

import pytest

from tesela import errors
from tesela.errors import (
    InternalError,
    InvalidRequest,
    NotFound,
    RateLimited,
    TeselaError,
    TooLarge,
    Unauthenticated,
    UpstreamRateLimited,
)
from tesela.wire import problem


def tree(root: type[TeselaError] = TeselaError) -> list[type[TeselaError]]:
    """The classes of errors.py: a package may have signals of its own that never leave it."""
    below = [found for kind in root.__subclasses__() if kind.__module__ == errors.__name__ for found in tree(kind)]
    return [root, *below]


KNOWN_TO_THE_SDK = {
    "INVALID_PARAMETER_VALUE", "BAD_REQUEST", "UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_DOES_NOT_EXIST",
    "ENDPOINT_NOT_FOUND", "REQUEST_LIMIT_EXCEEDED", "TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL_ERROR",
    "RESOURCE_ALREADY_EXISTS", "RESOURCE_CONFLICT",
}  # fmt: skip


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_body_that_every_client_reads(kind: type[TeselaError]) -> None:
    error = kind('it "broke" \u2028 \n here', param="n")
    body = json.loads(problem.body(error))
    assert body == {
        "error_code": kind.code,
        "message": 'it "broke" \u2028 \n here',
        "type": kind.type,
        "code": kind.code,
        "param": "n",
    }
    # These keys would hide the message from the Databricks SDK.
    assert not {"error", "detail", "status", "scimType"} & body.keys()
    assert kind.code in KNOWN_TO_THE_SDK
    assert 400 <= kind.status <= 599


def test_the_tree_at_the_top_of_the_module_is_the_tree() -> None:
    drawn = errors.__doc__ or ""
    for kind in tree():
        assert kind.__name__ in drawn
        line = next(
            line for line in drawn.splitlines() if kind.__name__ in line.split() or f"└── {kind.__name__}" in line
        )
        numbers = [int(word) for word in line.split() if word.isdigit() and len(word) == 3]
        assert numbers in ([], [kind.status])


def test_reason_is_the_machine_readable_word_when_there_is_one() -> None:
    body = json.loads(problem.body(NotFound("no", param="model", reason="model_not_found")))
    assert (body["code"], body["error_code"]) == ("model_not_found", "RESOURCE_DOES_NOT_EXIST")


def test_headers() -> None:
    json_only = [(b"content-type", b"application/json")]
    assert problem.headers(InvalidRequest("x")) == json_only
    assert problem.headers(RateLimited("x", retry_after_s=3)) == [*json_only, (b"retry-after", b"3")]
    assert problem.headers(RateLimited("x", retry_after_s=0)) == [*json_only, (b"retry-after", b"0")]
    assert problem.headers(Unauthenticated("x")) == [*json_only, (b"www-authenticate", b'Bearer realm="tesela"')]
    assert problem.headers(TooLarge("x")) == json_only


def test_an_error_in_a_stream_is_one_line_with_an_error_key() -> None:
    data = problem.event(UpstreamRateLimited("slow\ndown", reason="rate_limit", param=None))
    assert b"\n" not in data
    assert json.loads(data) == {
        "error": {"message": "slow\ndown", "type": "rate_limit_error", "param": None, "code": "rate_limit"}
    }
    assert json.loads(problem.event(InternalError("x")))["error"]["code"] == "INTERNAL_ERROR"
