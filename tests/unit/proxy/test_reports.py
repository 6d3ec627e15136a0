"""What providers report is read wholly where it can be true, and not believed where it cannot."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.proxy import reports
from tidegate_dataplane.proxy.reports import MAX_TOKENS, Report, count_pictures, read_event, read_usage
from tidegate_dataplane.proxy.usage import REPORTED


def read(usage: Any) -> Report | None:
    return read_usage(json.dumps({"id": "x", "usage": usage}).encode())


def used(usage: Any) -> Usage:
    found = read(usage)
    assert found is not None
    return found.usage


def test_all_that_chat_reports() -> None:
    assert used(
        {
            "prompt_tokens": 1000,
            "completion_tokens": 500,
            "total_tokens": 1500,
            "prompt_tokens_details": {"cached_tokens": 640, "audio_tokens": 30},
            "completion_tokens_details": {"reasoning_tokens": 320, "audio_tokens": 40, "accepted_prediction_tokens": 9},
        }
    ) == Usage(1000, 500, cached=640, reasoning=320, input_audio=30, output_audio=40, source=REPORTED)


def test_all_that_responses_report() -> None:
    usage = {
        "input_tokens": 75,
        "input_tokens_details": {"cached_tokens": 32},
        "output_tokens": 1186,
        "output_tokens_details": {"reasoning_tokens": 1024},
        "total_tokens": 1261,
    }
    expected = Usage(75, 1186, cached=32, reasoning=1024, source=REPORTED)
    assert used(usage) == expected
    event = json.dumps({"type": "response.completed", "response": {"id": "r", "usage": usage}}).encode()
    found = read_event(event).report
    assert found is not None
    assert found.usage == expected


def test_all_that_images_report() -> None:
    body = {
        "data": [{"b64_json": "AAAA"}, {"b64_json": "BBBB"}],
        "usage": {
            "input_tokens": 50,
            "output_tokens": 272,
            "total_tokens": 322,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
            "output_tokens_details": {"image_tokens": 272},
        },
    }
    found = read_usage(json.dumps(body).encode())
    assert found is not None
    assert found.usage == Usage(50, 272, input_image=40, output_image=272, source=REPORTED)
    assert count_pictures(json.dumps(body).encode()) == 2


def test_embeddings_report_no_output() -> None:
    found = read({"prompt_tokens": 8, "total_tokens": 8})
    assert found == Report(Usage(8, 0, source=REPORTED), has_input=True)


@pytest.mark.parametrize("value", [-1, "12", True, None, [], {}, 1.5, MAX_TOKENS + 1, 10**40, 1e30])
def test_a_number_that_cannot_be_is_not_believed(value: Any) -> None:
    found = read({"prompt_tokens": value, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": value}})
    assert found == Report(Usage(0, 5, source=REPORTED), has_input=False)


def test_a_whole_number_may_be_written_as_a_float() -> None:
    assert used({"prompt_tokens": 12.0, "completion_tokens": 3.0}) == Usage(12, 3, source=REPORTED)


@pytest.mark.parametrize("usage", [None, 7, "x", [], {}, {"prompt_tokens": 0, "completion_tokens": 0}, {"total": 9}])
def test_zeros_and_nonsense_are_no_report(usage: Any) -> None:
    assert read(usage) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"usage":', b"\xff", b"[" * 100_000])
def test_what_is_no_answer_reports_nothing(body: bytes) -> None:
    assert read_usage(body) is None
    assert read_event(body).report is None
    assert count_pictures(body) == 0


NUMBER = st.integers(-5, 2000) | st.floats(allow_nan=False) | st.text(max_size=3) | st.none() | st.booleans()
SMALL = st.integers(-1, 30)
PART_NAMES = ["cached_tokens", "audio_tokens", "reasoning_tokens", "image_tokens", "cache_write_tokens"]
PARTS = st.dictionaries(st.sampled_from(PART_NAMES), NUMBER)
NAMES = ["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"]
DETAILS = ["prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details"]


@given(
    st.dictionaries(st.sampled_from(NAMES), NUMBER),
    st.dictionaries(st.sampled_from(DETAILS), PARTS | NUMBER),
)
def test_no_part_is_ever_more_than_its_whole(numbers: dict[str, Any], details: dict[str, Any]) -> None:
    found = read({**numbers, **details})
    if found is None:
        return
    usage = found.usage
    assert 0 <= usage.cached + usage.cache_write <= usage.input <= MAX_TOKENS
    assert max(usage.input_audio, usage.input_image) <= usage.input
    assert max(usage.reasoning, usage.output_audio, usage.output_image) <= usage.output <= MAX_TOKENS


@given(
    st.dictionaries(st.sampled_from(NAMES), st.none() | SMALL),
    st.dictionaries(st.sampled_from(DETAILS), st.none() | st.dictionaries(st.sampled_from(PART_NAMES), SMALL)),
    st.none() | st.sampled_from(["default", "flex", "x" * 65]),
)
def test_the_quick_reader_says_what_the_careful_one_says(
    numbers: dict[str, Any], details: dict[str, Any], service: str | None
) -> None:
    usage = {**numbers, **details}
    found = read_usage(json.dumps({"usage": usage, "service_tier": service}).encode())
    assert found == reports._careful(usage, service)
