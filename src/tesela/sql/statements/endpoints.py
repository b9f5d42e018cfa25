"""What a statement must know of the endpoints that it names, asked as its owner: nothing is planned that they may not
query.  Blocks; for the thread that plans.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from tesela.errors import EngineError, PermissionDenied, StatementError, Unauthenticated
from tesela.sql.site import EndpointFacts
from tesela.wire.document import encode
from tesela.wire.tasks import Task

Get = Callable[[str], tuple[int, bytes]]
"""GET a path of the control plane as the statement's owner: status and body."""
QUERYING = ("CAN_QUERY", "CAN_MANAGE")
PASSING = frozenset(
    {"state", "creation_timestamp", "last_updated_timestamp", "creator", "start_time", "config_version"}
)
"""What an endpoint's configuration says beside what answers."""
BASE = "/api/2.0/serving-endpoints"


class Endpoints:
    """The endpoints of one statement; each is asked about once."""

    def __init__(self, get: Get) -> None:
        self._get = get
        self._facts: dict[str, EndpointFacts | None] = {}
        self._served: dict[str, str] = {}

    def __call__(self, name: str) -> EndpointFacts | None:
        """Raises StatementError for an endpoint that the owner may not query, or whose task SQL has no use for."""
        if name not in self._facts:
            self._facts[name] = self._look(name)
        return self._facts[name]

    def served(self, name: str) -> str:
        """A digest of what answers there now: another one, and kept answers are not taken for its own."""
        return self._served[name]

    def defaults(self, given: Mapping[str, str]) -> dict[str, str]:
        """The endpoints of the functions that name none: those given, and otherwise the first of each task."""
        out = dict(given)
        missing = [task for task in (Task.CHAT, Task.EMBEDDINGS) if str(task) not in out]
        if "default" in out:
            missing = [task for task in missing if task is Task.EMBEDDINGS]
        if not missing:
            return out
        status, body = self._get(BASE)
        _refused(status, body)
        if status != 200:
            return out
        listed = decode_json(body).get("endpoints", [])
        # What runs here costs nothing.
        listed.sort(key=lambda one: (one.get("endpoint_type") == "EXTERNAL_MODEL", str(one.get("name"))))
        for task in missing:
            for one in listed:
                if one.get("task") == str(task) and one.get("state", {}).get("ready") == "READY":
                    out[str(task)] = str(one["name"])
                    break
        return out

    def _look(self, name: str) -> EndpointFacts | None:
        status, body = self._get(f"{BASE}/{quote(name, safe='')}")
        if status in (400, 404):
            return None
        _refused(status, body)
        found = decode_json(body)
        if status == 403 or (status == 200 and found.get("permission_level") not in QUERYING):
            raise StatementError(
                f"you may not query endpoint {name!r}: whoever manages it can grant CAN_QUERY on it",
                error_class="INSUFFICIENT_PERMISSIONS",
                sql_state="42501",
            )
        if status != 200:
            raise EngineError(f"endpoint {name!r} could not be looked up (status {status}): {found.get('message', '')}")
        try:
            task = Task(found.get("task", ""))
        except ValueError as exc:
            raise StatementError(
                f"endpoint {name!r} has the task {found.get('task')!r}, which SQL has no use for",
                error_class="AI_FUNCTION_MODEL_SCHEMA_PARSE_ERROR",
                sql_state="2203G",
            ) from exc
        config = found.get("config", {})
        self._served[name] = hashlib.blake2b(encode(_stable(config)), digest_size=16).hexdigest()
        able = found.get("capabilities", {})
        return EndpointFacts(
            name,
            task,
            images=bool(able.get("image_input", True)),
            json_schema=bool(able.get("structured_output", True)),
        )


def _refused(status: int, body: bytes) -> None:
    if status == 401:
        raise Unauthenticated(
            str(decode_json(body).get("message") or "the statement's access token is not valid any more")
        )
    if status == 403 and b"was made for querying" in body:
        raise PermissionDenied(str(decode_json(body).get("message")))


def decode_json(body: bytes) -> dict[str, Any]:
    import json

    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _stable(value: Any) -> Any:
    """A configuration without what changes while the same thing answers."""
    if isinstance(value, dict):
        return {key: _stable(one) for key, one in sorted(value.items()) if key not in PASSING}
    return [_stable(one) for one in value] if isinstance(value, list) else value
