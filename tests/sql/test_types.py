"""Types: DDL and JSON schema, both ways."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import StatementError
from tesela.sql.arrow import arrow
from tesela.sql.types import PLAIN, STRING, Type, of_schema, of_value, read, schema, write

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)


def structs(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    def build(fields: dict[str, Type]) -> Type:
        return Type("STRUCT", tuple(fields.values()), tuple(fields))

    return st.dictionaries(NAMES, inner, max_size=4).map(
        lambda fields: build({name: one for name, one in fields.items() if lowers(fields).count(name.lower()) == 1})
    )


def lowers(fields: dict[str, Type]) -> list[str]:
    return [name.lower() for name in fields]


TYPES = st.recursive(
    st.sampled_from([Type(name) for name in sorted(PLAIN)])
    | st.integers(1, 38).flatmap(lambda p: st.integers(0, p).map(lambda s: Type("DECIMAL", precision=p, scale=s))),
    lambda inner: (
        inner.map(lambda one: Type("ARRAY", (one,)))
        | inner.map(lambda one: Type("MAP", (STRING, one)))
        | structs(inner)
    ),
    max_leaves=8,
)


@given(TYPES)
def test_what_is_written_is_read_again(kind: Type) -> None:
    assert read(write(kind)) == kind
    assert isinstance(arrow(write(kind)), pa.DataType)


@given(TYPES)
def test_a_schema_leads_back_to_the_same_schema(kind: Type) -> None:
    assert schema(of_schema(schema(kind))) == schema(kind)


@given(st.text(max_size=40))
def test_any_text_is_a_type_or_an_error_of_ours(text: str) -> None:
    try:
        kind = read(text)
    except StatementError:
        return
    assert read(write(kind)) == kind


@pytest.mark.parametrize(
    ("ddl", "same"),
    [
        ("string", "STRING"),
        ("varchar(10)", "STRING"),
        ("long", "BIGINT"),
        ("decimal", "DECIMAL(10, 0)"),
        ("numeric(5)", "DECIMAL(5, 0)"),
        ("a int, b string", "STRUCT<a: INT, b: STRING>"),
        ("`a b` int", "STRUCT<`a b`: INT>"),
        ("struct<a:int not null comment 'it''s', b array<string>>", "STRUCT<a: INT, b: ARRAY<STRING>>"),
        ("map<string,struct<>>", "MAP<STRING, STRUCT<>>"),
    ],
)
def test_ddl(ddl: str, same: str) -> None:
    assert write(read(ddl)) == same


@pytest.mark.parametrize(
    "ddl", ["", "  ", "foo", "array", "array<", "array<int", "struct<a>", "struct<a int,>", "int(3)", "decimal(39)",
            "struct<a int, A string>", "int int int", "a int,", "map<int>", "struct<a:int>>", "array<" * 200]
)  # fmt: skip
def test_what_is_no_type(ddl: str) -> None:
    with pytest.raises(StatementError, match="is not a type"):
        read(ddl)


def test_the_type_of_an_example() -> None:
    assert write(of_value({"a": 1, "b": [1.5], "c": {"d": None}, "e": True})) == (
        "STRUCT<a: BIGINT, b: ARRAY<DOUBLE>, c: STRUCT<d: STRING>, e: BOOLEAN>"
    )
