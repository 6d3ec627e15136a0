"""Counting is exact, linear, and harmless, whatever the text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samples.texts import TEXTS
from tidegate_dataplane.counting.cuts import CUT_CHARS, cut, last_cut
from tidegate_dataplane.counting.encodings import Encoding, encoding_of
from tidegate_dataplane.counting.tokenizer import count, estimate

# (o200k_base, cl100k_base), on which four implementations agreed: splintr, bpe-openai, rs-bpe and tiktoken.
KNOWN = {
    "English": (115, 115),
    "German": (112, 130),
    "French": (90, 104),
    "Spanish": (74, 84),
    "Russian": (84, 154),
    "Greek": (91, 224),
    "Chinese": (100, 155),
    "Japanese": (106, 146),
    "Korean": (87, 151),
    "Arabic": (70, 156),
    "Hindi": (82, 266),
    "Thai": (82, 174),
    "emoji": (74, 104),
    "Python": (154, 154),
    "JavaScript": (108, 107),
    "JSON": (101, 98),
    "Markdown": (89, 92),
}
AWKWARD = ["don't", " ", "\n", "\r\n", "\u0301", "'s", "½", "²", "１", "\x1c", "//", "a", "Ab", "."]
ANY_TEXT = st.lists(st.sampled_from([*TEXTS.values(), *AWKWARD]) | st.text(max_size=8), max_size=12).map("".join)


@pytest.mark.parametrize("name", TEXTS)
def test_known_texts_have_their_known_number_of_tokens(name: str) -> None:
    assert (count(TEXTS[name], Encoding.O200K), count(TEXTS[name], Encoding.CL100K)) == KNOWN[name]


@pytest.mark.parametrize("encoding", Encoding)
@settings(max_examples=300)
@given(ANY_TEXT, st.integers(1, 400))
def test_a_cut_after_a_word_costs_nothing(encoding: Encoding, text: str, limit: int) -> None:
    limit = min(limit, len(text))
    place = last_cut(text, limit)
    if 0 < place < limit:  # not where it had to fall anywhere
        assert count(text[:place], encoding) + count(text[place:], encoding) == count(text, encoding)  # type: ignore[operator]


@given(ANY_TEXT, st.integers(1, 50))
def test_parts_are_short_and_make_up_the_text(text: str, size: int) -> None:
    parts = list(cut(text, size))
    assert "".join(parts) == text
    assert all(0 < len(part) <= size for part in parts)


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("name", ["Chinese", "Japanese", "Thai", "Python", "emoji"])
def test_a_long_text_is_the_sum_of_what_it_is_made_of(name: str, encoding: Encoding) -> None:
    text = TEXTS[name] + "x. "
    times = 20 * CUT_CHARS // len(text)
    one = count(text, encoding) or 0
    two = count(text * 2, encoding) or 0
    assert count(text * times, encoding) == pytest.approx(one + (times - 1) * (two - one), rel=0.0005)


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("unit", ["a", " ", "\n", "^", "'", "\u0301", "aA", "字", "\U0001f600", "0", "\t ", "é"])
def test_a_megabyte_of_one_character_takes_no_longer_than_it_may(unit: str, encoding: Encoding) -> None:
    text = unit * (1024 * 1024 // len(unit.encode()))
    count("warm", encoding)
    started = time.perf_counter()
    tokens = count(text, encoding)
    assert time.perf_counter() - started < 5  # quadratic time would be minutes
    assert tokens is not None
    assert 0 < tokens <= len(text.encode())


def test_what_looks_like_a_special_token_is_text() -> None:
    for encoding in Encoding:
        assert (count("<|endoftext|>", encoding) or 0) > 3


def test_half_a_surrogate_pair_is_counted_as_what_replaces_it() -> None:
    assert count("a\ud800b", Encoding.O200K) == count("a\ufffdb", Encoding.O200K)
    assert count("\ud83d" + "\ude80", Encoding.O200K) == count("\U0001f680", Encoding.O200K)
    assert estimate("\ud800") == 1


def test_nothing_is_no_tokens() -> None:
    assert count("", Encoding.O200K) == 0
    assert estimate("") == 0


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o", Encoding.O200K),
        ("gpt-4o-mini-2024-07-18", Encoding.O200K),
        ("ft:gpt-4o-mini:acme::1", Encoding.O200K),
        ("openai/gpt-4.1-nano", Encoding.O200K),
        ("gpt-5.1", Encoding.O200K),
        ("GPT-5", Encoding.O200K),
        ("chatgpt-4o-latest", Encoding.O200K),
        ("o3-mini", Encoding.O200K),
        ("gpt-4", Encoding.CL100K),
        ("gpt-4-turbo", Encoding.CL100K),
        ("gpt-3.5-turbo", Encoding.CL100K),
        ("gpt-35-turbo-16k", Encoding.CL100K),
        ("text-embedding-3-large", Encoding.CL100K),
        ("gpt-40", None),
        ("o10", None),
        ("o1x", None),
        ("llama-3.1-8b", None),
        ("mistral-small", None),
        ("", None),
    ],
)
def test_only_known_models_have_a_tokenizer(model: str, encoding: Encoding | None) -> None:
    assert encoding_of(model) is encoding
