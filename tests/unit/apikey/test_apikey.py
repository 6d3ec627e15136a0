"""Keys that Tidegate makes: their form, and that a typing error is noticed."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tidegate_dataplane.apikey import LENGTH, PATTERN, checksum_fits, digest_of, issue_key, well_formed

RANDOM = st.binary(min_size=32, max_size=32)


def test_the_form_is_fixed_for_all_time() -> None:
    assert issue_key(bytes(32)) == "tdg_" + "0" * 43 + "1d2zzO"
    assert digest_of("tdg_x") == "8591e3934ea14bee52b89fbab8caccfc7bbb2ea647635a348f7a34e63ca51987"


@given(RANDOM)
def test_every_key_is_well_formed_and_found_by_the_pattern(random: bytes) -> None:
    key = issue_key(random)
    assert len(key) == LENGTH == 53
    assert well_formed(key) is True
    assert re.findall(PATTERN, f'export KEY="{key}"; echo') == [key]


@given(RANDOM, RANDOM)
def test_different_randomness_makes_different_keys(one: bytes, other: bytes) -> None:
    assume(one != other)
    assert issue_key(one) != issue_key(other)


@given(RANDOM, st.integers(min_value=4, max_value=52), st.characters(codec="ascii"))
def test_one_wrong_character_is_noticed(random: bytes, position: int, character: str) -> None:
    key = issue_key(random)
    assume(key[position] != character)
    assert well_formed(key[:position] + character + key[position + 1 :]) is False


@given(RANDOM, st.integers(min_value=4, max_value=51))
def test_two_swapped_characters_are_noticed(random: bytes, at: int) -> None:
    key = issue_key(random)
    assume(key[at] != key[at + 1])
    assert well_formed(key[:at] + key[at + 1] + key[at] + key[at + 2 :]) is False


@pytest.mark.parametrize("key", ["tdg_", "tdg_short", issue_key(bytes(32)) + "\n", issue_key(bytes(32))[:-1], "tdg_ü"])
def test_what_only_begins_like_a_key_is_not_one(key: str) -> None:
    assert well_formed(key) is False


@pytest.mark.parametrize("key", ["", "sk-abcdef", "TDG_" + "0" * 49])
def test_keys_of_other_forms_are_not_judged(key: str) -> None:
    assert well_formed(key) is None
    assert checksum_fits(key.encode()) is None


@pytest.mark.parametrize("size", [0, 31, 33])
def test_less_or_more_than_256_bits_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        issue_key(bytes(size))
