"""Reading YAML with lines: any bytes give a mapping or one sentence."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tesela.configfile import parse
from tesela.errors import ConfigError
from tesela.places import Places

WORDS = "a|b|: |- |\n|  |[|]|{|}|, |&x |*x|<<: |!!int |!!bool |>|'|\"|#|? "
WORDS += "|1|.5|0x|1_0|~|---\n|...|%|@|\t|\0|2026-13-99|.nan|1:60|=|é"
PIECES = st.sampled_from([*WORDS.split("|"), "|"])


def read(data: bytes) -> None:
    """Either a mapping whose values all have a line, or a ConfigError in one line that names the file."""
    try:
        value, lines = parse(data, "f.yaml")
    except ConfigError as exc:
        message = exc.message
    else:
        assert isinstance(value, dict)
        assert all(line >= 1 for line in lines.values())
        return
    assert message.startswith("f.yaml:")
    assert "\n" not in message


@example("a: !!int ")
@example("a: !!bool maybe")
@given(st.lists(PIECES, max_size=30).map("".join))
def test_anything_that_looks_like_yaml(text: str) -> None:
    read(text.encode())


@given(st.binary(max_size=64))
def test_any_bytes(data: bytes) -> None:
    read(data)


def test_the_line_of_a_value_is_that_of_its_key() -> None:
    value, lines = parse(b"a: 1\n\nb:\n  - c: |\n      x\n    d:\n      e\n", "f")
    assert value == {"a": 1, "b": [{"c": "x\n", "d": "e"}]}
    assert lines == {"a": 1, "b": 3, "b[0]": 4, "b[0].c": 4, "b[0].d": 6}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("a", "f:1: a"),
        ("b[0].d", "f:6: b[0].d"),
        ("b[0].none[3].deep", "f:4: b[0].none[3].deep"),
        ("none", "f: none"),
        ("port", "the option --port"),
    ],
)
def test_places_name_the_nearest_line(path: str, said: str) -> None:
    places = Places("f", {"a": 1, "b": 3, "b[0]": 4, "b[0].d": 6}, {"port": "the option --port"})
    assert places(path) == said


def test_without_a_file_the_path_is_the_place() -> None:
    assert Places()("endpoints[0]") == "endpoints[0]"
    assert Places()("") == "the configuration"
