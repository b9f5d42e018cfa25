"""The secrets that served entities refer to: that they are there, and that whoever asks may read them."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from tesela.control.serving_shape import Entity
from tesela.errors import InvalidRequest, NotFound, PermissionDenied
from tesela.records import REFERRED_MAX
from tesela.snapshot import Principal

if TYPE_CHECKING:
    from tesela.store.store import Store

_REFERENCE = re.compile(r"^\s*\{\{\s*secrets/([^/{}\s]{1,128})/([^/{}\s]{1,128})\s*\}\}\s*\Z")
_VARIABLE = re.compile(r"^env:[A-Za-z_][A-Za-z0-9_]*$")

KEYS = frozenset({
    "openai_api_key", "microsoft_entra_client_secret", "anthropic_api_key", "cohere_api_key", "ai21labs_api_key",
    "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "private_key", "databricks_api_token",
    "databricks_client_secret", "palm_api_key", "token", "value",
})  # fmt: skip
"""The settings of providers that are secrets: those that have a twin ending in `_plaintext`."""


def references(entities: tuple[Entity, ...], at: str, store: "Store", reader: Principal | None) -> dict[str, str]:
    """The value of each reference, by the reference.  `at` is the path of the entities in the request.

    Raises InvalidRequest for one that leads nowhere, PermissionDenied when `reader`, if there is one, may not read it.
    """
    out: dict[str, str] = {}
    for path, text, setting in _texts(entities, at):
        if setting:
            _place(path, text)
        found = _REFERENCE.match(text)
        if found:
            out[f"{{{{secrets/{found[1]}/{found[2]}}}}}"] = _secret(store, reader, found[1], found[2], path)
    return out


def _place(path: str, text: str) -> None:
    """Raises InvalidRequest for a reference where none may stand."""
    if _VARIABLE.match(text):
        raise InvalidRequest(
            f"{path}: {text!r} would read the server's environment, which only the configuration file may; store the "
            "key as a secret and refer to it by {{secrets/scope/key}}",
            param=path,
        )
    field = path.rpartition(".")[2]
    if field == "instance_profile_arn":
        raise InvalidRequest(
            f"{path}: would use the keys of the server's own machine, which only the configuration file may; give "
            "aws_access_key_id and aws_secret_access_key",
            param=path,
        )
    if not _REFERENCE.match(text) or field in KEYS:
        return
    key = field.removesuffix("_plaintext")
    if key in KEYS:
        raise InvalidRequest(f"{path}: a reference to a secret belongs into {key!r}", param=path)
    raise InvalidRequest(f"{path}: is shown to all who may see the endpoint, so it cannot be a secret", param=path)


def _secret(store: "Store", reader: Principal | None, scope: str, key: str, path: str) -> str:
    try:
        if reader is not None:
            store.secrets.require(reader, scope, "READ")
        found = store.secrets.get(scope, key)
        if len(found) > REFERRED_MAX:
            raise InvalidRequest(
                f"{path}: the secret {key!r} in scope {scope!r} has {len(found)} bytes, and endpoints can refer to "
                f"{REFERRED_MAX} at most",
                param=path,
            )
        return found.decode()
    except NotFound as exc:
        hint = "'tesela secrets scopes create' makes scopes, 'tesela secrets put' secrets"
        raise InvalidRequest(f"{path}: {exc.message}; {hint}", param=path) from exc
    except PermissionDenied as exc:
        raise PermissionDenied(f"{path}: {exc.message}", param=path) from exc
    except UnicodeDecodeError as exc:
        raise InvalidRequest(f"{path}: the secret {key!r} in scope {scope!r} is not text", param=path) from exc


def _texts(entities: tuple[Entity, ...], at: str) -> Iterator[tuple[str, str, bool]]:
    """(path, text, whether it is a setting of a provider) of all that may refer to a secret."""
    for i, entity in enumerate(entities):
        if entity.external_model is not None:
            for name, value in msgspec.structs.asdict(entity.external_model).items():
                # The words of a script are answers, not settings.
                if isinstance(value, dict) and name != "scripted_config":
                    for path, text in _strings(value, f"{at}[{i}].external_model.{name}"):
                        yield path, text, True
        for name, text in (entity.environment_vars or {}).items():
            yield f"{at}[{i}].environment_vars.{name}", text, False


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _strings(inner, f"{path}[{i}]")
