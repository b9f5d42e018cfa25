"""Requests as the clients' checks need them: one call, its decoded answer, and what every answer must hold."""

import json
from typing import Any
from urllib.parse import quote

import requests
from requests.auth import AuthBase

from tesela.verify.outcome import Target, require

TIMEOUT_S = (10.0, 300.0)


class NoAuth(AuthBase):
    """Sends nothing, not even what ~/.netrc has for the host."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.pop("Authorization", None)
        return request


class Bearer(NoAuth):
    def __init__(self, access_token: str) -> None:
        self.access_token = access_token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.access_token}"
        return request


def call(
    target: Target,
    method: str,
    path: str,
    body: Any = None,
    *,
    status: int = 200,
    auth: AuthBase | None = None,
) -> requests.Response:
    """One request.  Raises when the status is not the expected one."""
    answer = requests.request(
        method,
        target.host + path,
        json=body,
        auth=auth or Bearer(target.access_token),
        headers={"Accept": "application/json"},
        timeout=TIMEOUT_S,
        allow_redirects=False,
    )
    require(
        answer.status_code == status,
        f"{method} {path} answered {answer.status_code}, not {status}: {answer.text}",
    )
    return answer


def decoded(answer: requests.Response) -> dict[str, Any]:
    value = answer.json()
    require(
        isinstance(value, dict),
        f"the answer is a JSON {type(value).__name__}, not an object",
    )
    return dict(value)


def invocations(name: str) -> str:
    return f"/serving-endpoints/{quote(name, safe='')}/invocations"


def events(answer: requests.Response) -> list[dict[str, Any]]:
    """The chunks of a stream, read as strictly as MLflow does."""
    found: list[dict[str, Any]] = []
    done = False
    for line in answer.content.decode().split("\n"):
        if not line.strip():
            continue
        field, _, data = line.partition(":")
        require(field == "data", f"the stream holds a line that MLflow refuses: {line!r}")
        if data.strip() == "[DONE]":
            done = True
        else:
            found.append(json.loads(data))
    require(done, "the stream ends without data: [DONE]")
    require(found, "the stream is empty")
    return found


def chat_answer(answer: dict[str, Any]) -> None:
    require(answer.get("object") == "chat.completion", f"object is {answer.get('object')!r}")
    message = answer["choices"][0]["message"]
    require(message.get("role") == "assistant", "the message has no role assistant")
    require(isinstance(message.get("content"), str), "the message has no text")
    counted(answer)


def counted(answer: dict[str, Any]) -> None:
    usage = answer.get("usage") or {}
    require(
        usage.get("total_tokens", 0) > 0,
        "the answer counts no tokens in usage.total_tokens",
    )
    parts = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
    require(parts == usage["total_tokens"], f"usage does not add up: {usage}")
