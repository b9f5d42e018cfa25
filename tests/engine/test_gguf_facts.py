import struct
from pathlib import Path

import pytest

from tesela.engine.gguf import read_facts
from tesela.errors import ConfigError


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _file(context: int = 4096) -> bytes:
    pairs = [
        _text("general.architecture") + struct.pack("<I", 8) + _text("llama"),
        _text("general.name") + struct.pack("<I", 8) + _text("Tiny é"),
        _text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 100) + _text("word") * 100,
        _text("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 100) + bytes(400),
        _text("some.list") + struct.pack("<IIQ", 9, 5, 2) + struct.pack("<ii", 1, -1),
        _text("some.flag") + struct.pack("<I?", 7, True),
        _text("llama.context_length") + struct.pack("<II", 4, context),
        _text("llama.embedding_length") + struct.pack("<II", 4, 64),
        _text("tokenizer.chat_template") + struct.pack("<I", 8) + _text("{{ messages }}"),
    ]
    tensor = _text("w") + struct.pack("<IQQIQ", 2, 64, 10, 0, 0)
    return b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor


def test_reads_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(_file())
    facts = read_facts(path)
    assert (facts.architecture, facts.name, facts.context_length) == ("llama", "Tiny é", 4096)
    assert (facts.embedding_length, facts.parameters, facts.chat_template) == (64, 640, "{{ messages }}")


def test_every_shorter_file_is_refused(tmp_path: Path) -> None:
    path, whole = tmp_path / "cut.gguf", _file()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigError, match="not a whole GGUF file"):
            read_facts(path)


@pytest.mark.parametrize(
    "raw", [b"PK\x03\x04" + bytes(40), b"GGUF" + bytes([9]) + bytes(40), b"GGUF\x03" + b"\xff" * 60]
)
def test_other_files_are_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(raw)
    with pytest.raises(ConfigError):
        read_facts(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.gguf"):
        read_facts(tmp_path / "gone.gguf")
