"""The filter language: what it finds, and that whatever is sent is either read or refused in a sentence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.control.scim_filter import DEPTH_MAX, Path, parse, path, values
from tesela.errors import InvalidRequest
from tesela.wire.document import encode

ATTRIBUTES = {
    "id": frozenset[str](),
    "userName": frozenset[str](),
    "externalId": frozenset[str](),
    "active": frozenset[str](),
    "name": frozenset({"givenName", "familyName"}),
    "emails": frozenset({"value", "type"}),
}
ANN = {
    "id": "12",
    "userName": "ann@example.com",
    "externalId": "X",
    "active": True,
    "name": {"givenName": "Ann", "familyName": 'O"Hara'},
    "emails": [{"value": "ann@example.com", "type": "work"}, {"value": "ann@home.example", "type": "home"}],
}
BARE = {"id": "13", "userName": "bob@example.com", "active": False}


@pytest.mark.parametrize(
    ("text", "ann", "bare"),
    [
        ('userName eq "ann@example.com"', True, False),
        ('username EQ "ANN@example.com"', True, False),
        ("userName eq 'ann@example.com'", True, False),
        ("userName eq ann@example.com", True, False),
        ('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ann@example.com"', True, False),
        ('userName ne "ann@example.com"', False, True),
        ('userName co "@EXAMPLE"', True, True),
        ('userName sw "a"', True, False),
        ('userName ew "b@example.com"', False, True),
        ('userName co ""', True, True),
        ('id eq "12"', True, False),
        ("id eq 12", True, False),
        ('externalId eq "x"', False, False),
        ('externalId eq "X"', True, False),
        ("externalId eq null", False, True),
        ("externalId ne null", True, False),
        ('externalId ne "X"', False, True),
        ("externalId pr", True, False),
        ("emails pr", True, False),
        ("active eq true", True, False),
        ('active eq "False"', False, True),
        ("active ne true", False, True),
        ('name.givenName eq "ann"', True, False),
        ('NAME.GIVENNAME eq "ann"', True, False),
        (r'name.familyName eq "O\"Hara"', True, False),
        ("name.familyName eq 'O\"Hara'", True, False),
        ('emails eq "ann@home.example"', True, False),
        ('emails.type eq "HOME"', True, False),
        ('emails[type eq "home" and value sw "ann"]', True, False),
        ('emails[type eq "work" and value ew "home.example"]', False, False),
        ('userName sw "a" and active eq false', False, False),
        ('userName sw "a" or active eq false', True, True),
        ('userName sw "a" and active eq false or id eq "12"', True, False),
        ('id eq "12" or userName sw "a" and active eq false', True, False),
        ('(id eq "12" or userName sw "b") and active eq false', False, True),
        ('not (userName sw "a")', False, True),
        ('  ( ( id   eq\t"12" ) )  ', True, False),
        (r'userName eq "\u0061nn@example.com"', True, False),
        ('userName eq "or"', False, False),
    ],
)
def test_what_it_finds(text: str, ann: bool, bare: bool) -> None:
    test = parse(text, ATTRIBUTES)
    assert (test(ANN), test(BARE)) == (ann, bare)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "an attribute is missing at its end"),
        ("   ", "an attribute is missing"),
        ("userName", "one of eq, ne, co, sw, ew, pr is missing"),
        ("userName eq", "a value is missing at its end"),
        ("userName eq )", "a value is missing at character 13"),
        ('userName like "x"', "'like' is none of"),
        ('userName eq "x', "does not end"),
        ("userName eq 'x", "does not end"),
        (r'userName eq "\q"', "not a JSON string"),
        (r'userName eq "\ud800"', "not a JSON string"),
        ('userName eq "x" "y"', "does not continue it"),
        ('userName eq "x" id eq "y"', "does not continue it"),
        ('userName eq "x" and', "an attribute is missing"),
        ('and userName eq "x"', "is no attribute here"),
        ('(userName eq "x"', "a ')' is missing"),
        ('emails[type eq "x"', "a ']' is missing"),
        ('userName eq "x")', "does not continue it"),
        ("active co true", "'co' compares text"),
        ('password eq "x"', "'password' is no attribute here; there are active, emails"),
        ('name.password eq "x"', "'name.password' is no attribute here"),
        ('emails[password eq "x"]', "'password' is no attribute here; there are type, value"),
        ('"userName" eq "x"', "an attribute is missing at character 1"),
        ("(" * 40 + "id pr" + ")" * 40, f"nested more than {DEPTH_MAX} deep"),
        ("not " * 2000 + "id pr", "characters"),
        ("not " * 900 + "id pr", f"nested more than {DEPTH_MAX} deep"),
        ('userName eq "' + "x" * 1_000_000 + '"', "1000014 characters"),
        ("x" * 3000 + " pr", "is no attribute here"),
        ("'; DROP TABLE principals; --", "does not end"),
        ("1=1; --", "is no attribute here"),
    ],
)
def test_what_it_refuses(text: str, why: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(text, ATTRIBUTES)
    assert why in refused.value.message
    assert refused.value.param == "filter"
    assert len(refused.value.message) < 400


def outcome(text: str) -> bool | None:
    """What a filter says of Ann; None when it is refused.  Anything else that is raised is a fault."""
    try:
        test = parse(text, ATTRIBUTES)
    except InvalidRequest:
        return None
    assert test({}) in (True, False)
    return test(ANN)


LONG = (
    r'not (userName sw "a\"b") and emails[type eq "home" or value pr] or (name.givenName ne null and '
    "active eq true or externalId co 'x')"
)


def test_cut_anywhere_it_is_read_or_refused() -> None:
    read = 0
    for end in range(len(LONG) + 1):
        for start in (0, end // 2):
            read += outcome(LONG[start:end]) is not None
    assert read > 3
    assert parse(LONG, ATTRIBUTES)(ANN)


WORDS = st.sampled_from(
    ["userName", "emails", "active", "name.givenName", "eq", "ne", "co", "pr", "and", "or", "not", "(", ")", "[", "]",
     '"x"', "'x'", "true", "null", "x", ".", '"', "\\", " "]
)  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=20).map(" ".join), st.lists(WORDS).map("".join)))
def test_whatever_is_sent_is_read_or_refused(text: str) -> None:
    assert outcome(text) in (True, False, None)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(TEXT, TEXT)
def test_any_text_is_found_by_itself(one: str, other: str) -> None:
    resource = {"externalId": one}
    quoted = encode(one).decode()
    assert parse(f"externalId eq {quoted}", ATTRIBUTES)(resource)
    assert not parse(f"not (externalId eq {quoted})", ATTRIBUTES)(resource)
    assert parse(f"externalId eq {encode(other).decode()}", ATTRIBUTES)(resource) == (one == other)
    assert parse(f"externalId co {encode(other).decode()}", ATTRIBUTES)(resource) == (other in one)
    assert parse(f"externalId sw {encode(other).decode()}", ATTRIBUTES)(resource) == one.startswith(other)
    assert parse(f"externalId ew {encode(other).decode()}", ATTRIBUTES)(resource) == one.endswith(other)


LEAF = st.sampled_from([("id pr", True), ("externalId pr", True), ('id eq "no"', False), ("active eq false", False)])
TREE: Any = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]}) and ({two[1][0]})", two[0][1] and two[1][1])),
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]}) or ({two[1][0]})", two[0][1] or two[1][1])),
        inner.map(lambda one: (f"not ({one[0]})", not one[1])),
    ),
    max_leaves=6,
)


@given(TREE)
def test_logic_is_logic(tree: tuple[str, bool]) -> None:
    assert parse(tree[0], ATTRIBUTES)(ANN) is tree[1]


def test_paths_and_values() -> None:
    assert path("EMAILS.Type", ATTRIBUTES) == Path("emails", "type")
    assert values(ANN, Path("emails")) == ["ann@example.com", "ann@home.example"]
    assert values(ANN, Path("name", "givenName")) == ["Ann"]
    assert values(BARE, Path("name", "givenName")) == values(BARE, Path("emails")) == []
