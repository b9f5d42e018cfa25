"""Keys that were given in plain inside an endpoint's configuration, sealed where they stand.

The fields of a provider's settings whose names end in `_plaintext` are the ones.  A sealed value is bound to its
endpoint, so it cannot be copied into another one and be opened there.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from tesela.store.vault import Vault

PLAIN = "_plaintext"
PREFIX = "sealed:v1:"


def seal(config: dict[str, Any], endpoint_id: str, vault: Vault) -> dict[str, Any]:
    """The configuration as it may be stored."""
    context = _context(endpoint_id)

    def one(value: str) -> str:
        return PREFIX + b64encode(vault.seal(value.encode(), context)).decode()

    return _keys(config, one)


def opened(config: dict[str, Any], endpoint_id: str, vault: Vault) -> dict[str, Any]:
    """The configuration as it was asked for.  Raises ConfigError when another master key sealed it."""
    context = _context(endpoint_id)

    def one(value: str) -> str:
        return vault.unseal(b64decode(value.removeprefix(PREFIX)), context).decode()

    return _keys(config, one)


def without_keys(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration as it may be shown: neither the keys nor their sealed form are in it."""
    return _each_model(config, _hidden)


def _context(endpoint_id: str) -> str:
    return f"endpoint/{endpoint_id}"


def _keys(config: dict[str, Any], one: Callable[[str], str]) -> dict[str, Any]:
    return _each_model(config, lambda value: _replaced(value, one))


def _each_model(config: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """The same configuration with every external model changed."""
    out = dict(config)
    for served in ("served_entities", "served_models"):
        entities = config.get(served)
        if isinstance(entities, list):
            out[served] = [
                {**entity, "external_model": change(entity["external_model"])}
                if isinstance(entity, dict) and entity.get("external_model") is not None
                else entity
                for entity in entities
            ]
    return out


def _replaced(value: Any, one: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {
            key: one(inner) if key.endswith(PLAIN) and isinstance(inner, str) else _replaced(inner, one)
            for key, inner in value.items()
        }
    return [_replaced(inner, one) for inner in value] if isinstance(value, list) else value


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(inner) for key, inner in value.items() if not key.endswith(PLAIN)}
    return [_hidden(inner) for inner in value] if isinstance(value, list) else value
