"""The vault: what was sealed opens with the same key in the same place, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import ConfigError
from tesela.store.vault import Vault

KEY = bytes(range(32))


@given(st.binary(max_size=300), st.text(max_size=40))
def test_what_was_sealed_opens(value: bytes, context: str) -> None:
    sealed = Vault(KEY).seal(value, context)
    assert Vault(KEY).unseal(sealed, context) == value
    assert len(value) < 4 or value not in sealed


def test_the_same_value_is_never_sealed_alike() -> None:
    vault = Vault(KEY)
    assert vault.seal(b"same", "a") != vault.seal(b"same", "a")


@pytest.mark.parametrize("context", ["secret/a/c", "secret/a/b ", ""])
def test_it_opens_in_no_other_place(context: str) -> None:
    vault = Vault(KEY)
    with pytest.raises(ConfigError, match="cannot be opened"):
        vault.unseal(vault.seal(b"value", "secret/a/b"), context)


def test_it_opens_with_no_other_key() -> None:
    with pytest.raises(ConfigError, match="master key"):
        Vault(bytes(32)).unseal(Vault(KEY).seal(b"value", "a"), "a")


def test_no_bit_of_it_can_be_changed_and_nothing_cut_off() -> None:
    vault = Vault(KEY)
    sealed = vault.seal(b"value", "a")
    changed = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))]
    for other in (*changed, *(sealed[:i] for i in range(len(sealed))), sealed + b"\0"):
        with pytest.raises(ConfigError):
            vault.unseal(other, "a")


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_another_size_is_refused_without_being_shown(size: int) -> None:
    with pytest.raises(ConfigError) as refused:
        Vault(b"k" * size)
    assert "32 bytes" in refused.value.message
    assert "kkk" not in str(refused.value)


def test_neither_its_repr_nor_its_errors_show_key_or_value() -> None:
    vault = Vault(b"k" * 32)
    assert "kkk" not in repr(vault)
    with pytest.raises(ConfigError) as refused:
        vault.unseal(vault.seal(b"sk-secret", "a"), "b")
    assert "sk-secret" not in str(refused.value)
