"""Facts about a GGUF file, read from its head without touching the weights.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.  Long arrays (the vocabulary) are skipped, so
this takes milliseconds and needs no library.
"""

import math
import struct
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from tesela.errors import ConfigError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
#: No sensible file has a longer string or name; a larger number means that this is not GGUF any more.
_LONGEST_STRING = 16 * 2**20
#: Longer arrays are skipped.
_LONGEST_ARRAY = 64


class GGUFFacts(Struct, frozen=True):
    """What the file says of itself; "" and 0 where it does not say."""

    architecture: str
    name: str
    context_length: int
    embedding_length: int
    parameters: int
    chat_template: str
    licence: str


def read_facts(path: str | Path) -> GGUFFacts:
    """Raises ConfigError when the file is missing, is not GGUF, or ends before its head does."""
    try:
        with Path(path).open("rb") as file:
            fields, parameters = _read_head(file)
    except OSError as exc:
        raise ConfigError(f"the model file {path} cannot be read: {exc.strerror}") from exc
    except (struct.error, UnicodeDecodeError, ValueError) as exc:
        raise ConfigError(f"{path} is not a whole GGUF file: {exc}") from exc
    architecture = str(fields.get("general.architecture", ""))
    return GGUFFacts(
        architecture=architecture,
        name=str(fields.get("general.name", "")),
        context_length=int(fields.get(f"{architecture}.context_length", 0)),
        embedding_length=int(fields.get(f"{architecture}.embedding_length", 0)),
        parameters=parameters,
        chat_template=str(fields.get("tokenizer.chat_template", "")),
        licence=str(fields.get("general.license", "")),
    )


def _read_head(file: BinaryIO) -> tuple[dict[str, Any], int]:
    magic, version, tensors, pairs = struct.unpack("<4sIQQ", file.read(24))
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"it begins with {magic!r}, version {version}")
    fields = {}
    for _ in range(pairs):
        key = _string(file)
        fields[key] = _value(file, *struct.unpack("<I", file.read(4)))
    parameters = 0
    for _ in range(tensors):
        _string(file)
        (dimensions,) = struct.unpack("<I", file.read(4))
        parameters += math.prod(struct.unpack(f"<{dimensions}Q", file.read(8 * dimensions)))
        struct.unpack("<IQ", file.read(12))
    return fields, parameters


def _string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LONGEST_STRING:
        raise ValueError(f"a string of {length} bytes at {file.tell()}")
    raw = file.read(length)
    if len(raw) != length:
        raise ValueError("it ends in the middle of a string")
    return raw.decode()


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        if count <= _LONGEST_ARRAY:
            return [_value(file, inner) for _ in range(count)]
        if inner in _SCALARS:
            file.seek(count * struct.calcsize(_SCALARS[inner]), 1)
        else:
            for _ in range(count):
                (length,) = struct.unpack("<Q", file.read(8))
                file.seek(length, 1)
        return None
    if kind not in _SCALARS:
        raise ValueError(f"a value of unknown type {kind} at {file.tell()}")
    code = "<" + _SCALARS[kind]
    return struct.unpack(code, file.read(struct.calcsize(code)))[0]
