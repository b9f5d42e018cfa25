"""Reads a YAML file so that every value remembers the line it stands on.

Only plain data is read: no tags, no duplicate keys, bounded size, depth and number of values (an alias counts each
time it is used).  Nothing here knows what the values mean.
"""

from pathlib import Path
from typing import Any

import yaml

from tesela.errors import ConfigError

MAX_BYTES = 4 * 1024 * 1024
MAX_VALUES = 200_000
MAX_DEPTH = 40

KINDS = {"null": "nothing", "bool": "true or false", "int": "a whole number", "float": "a number"}

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"


def read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The values of a file and the line of each.  An empty file is an empty mapping.  Raises ConfigError."""
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as exc:
        raise ConfigError(f"{name}: there is no such file") from exc
    except OSError as exc:
        raise ConfigError(f"{name}: cannot be read: {exc.strerror or exc}") from exc
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{name}: is larger than {MAX_BYTES // (1024 * 1024)} MiB, which no configuration needs")
    return parse(data, name)


def parse(data: bytes, name: str) -> tuple[dict[str, Any], dict[str, int]]:
    """As `read`, from bytes.  `name` stands in the messages."""
    try:
        node = yaml.compose(str(data, "utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        raise ConfigError(f"{name}:{line}: is not UTF-8") from exc
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{name}:{line}: is not valid YAML: {exc.problem or exc.context}") from exc
    except (yaml.YAMLError, RecursionError) as exc:
        raise ConfigError(f"{name}: is not valid YAML, or is nested too deeply") from exc
    if node is None:
        return {}, {}
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{name}:{node.start_mark.line + 1}: must be a mapping of settings, such as `port: 8787`")
    builder = _Builder(name)
    value = builder.mapping(node, "", 0)
    return value, builder.lines


class _Builder:
    """Turns composed nodes into plain values."""

    def __init__(self, name: str) -> None:
        self.lines: dict[str, int] = {}
        self._name = name
        self._left = MAX_VALUES
        self._scalars = yaml.constructor.SafeConstructor()

    def value(self, node: yaml.Node, path: str, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise self._wrong(node, f"holds more than {MAX_VALUES} values (aliases count each time they are used)")
        if depth > MAX_DEPTH:
            raise self._wrong(node, f"is nested deeper than {MAX_DEPTH} levels")
        self.lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(node.value)]
        return self._scalar(node)

    def mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged |= self._merge(value_node, path, depth)
                continue
            key = self._key(key_node)
            if key in out:
                raise self._wrong(key_node, f"{key!r} is given twice")
            inner = f"{path}.{key}" if path else key
            out[key] = self.value(value_node, inner, depth + 1)
            self.lines[inner] = key_node.start_mark.line + 1
        return merged | out

    def _merge(self, node: yaml.Node, path: str, depth: int) -> dict[str, Any]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        out: dict[str, Any] = {}
        for source in reversed(sources):
            if not isinstance(source, yaml.MappingNode):
                raise self._wrong(node, "`<<` can only take in a mapping or a list of them")
            out |= self.value(source, path, depth + 1)
        return out

    def _key(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode) and node.tag.removeprefix(_TAG) in ("str", "int", "bool", "float"):
            return str(node.value)
        raise self._wrong(node, "a key must be a plain word")

    def _scalar(self, node: yaml.Node) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind in ("str", "timestamp"):
            return node.value
        if kind in KINDS:
            try:
                return self._scalars.construct_object(node)
            except (LookupError, ValueError) as exc:
                raise self._wrong(node, f"{str(node.value)[:60]!r} cannot be read as {KINDS[kind]}") from exc
        raise self._wrong(node, f"the tag {node.tag!r} is not allowed; write plain values")

    def _wrong(self, node: yaml.Node, what: str) -> ConfigError:
        return ConfigError(f"{self._name}:{node.start_mark.line + 1}: {what}")
