"""Whatever the pieces in which a stream arrives, what passes is the same, in whole events."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.proxy.events import MAX_EVENT_BYTES, EventRelay, EventTooLarge
from tidegate_dataplane.proxy.reports import Report


def data(value: object) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def reported(input: int, output: int) -> Report:
    return Report(Usage(input, output, source="Reported"), has_input=True)


USAGE = {"prompt_tokens": 3, "completion_tokens": 4}
CONTENT = data({"choices": [{"delta": {"content": 'say "usage":null, ok'}}], "usage": None})
STREAM = CONTENT + b": a comment\n\n" + data({"choices": [], "usage": USAGE}) + b"data: [DONE]\n\n"


@given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.booleans(), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_the_cuts_between_chunks_never_matter(cuts: list[int], hide_usage: bool, line_end: bytes) -> None:
    stream = STREAM.replace(b"\n", line_end)
    whole = EventRelay(hide_usage=hide_usage)
    expected = whole.feed(stream) + whole.finish()
    relay = EventRelay(hide_usage=hide_usage)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    passed = [relay.feed(stream[start:end]) for start, end in pairwise(places)]
    assert b"".join(passed) + relay.finish() == expected
    assert relay.report == whole.report == reported(3, 4)


def test_what_was_asked_for_passes_untouched() -> None:
    relay = EventRelay(hide_usage=False)
    assert relay.feed(STREAM) == STREAM


def test_only_usage_is_hidden_and_never_a_callers_text() -> None:
    relay = EventRelay(hide_usage=True)
    passed = relay.feed(STREAM)
    first, *others = passed.split(b"\n\n")
    assert json.loads(first.removeprefix(b"data: ")) == {"choices": [{"delta": {"content": 'say "usage":null, ok'}}]}
    assert others == [b": a comment", b"data: [DONE]", b""]


def test_usage_beside_content_is_counted_and_left_where_it_is() -> None:
    event = data({"choices": [{"delta": {"content": "x"}}], "usage": USAGE})
    relay = EventRelay(hide_usage=True)
    assert relay.feed(event) == event
    assert relay.report == reported(3, 4)


def test_the_end_of_a_responses_stream_reports() -> None:
    usage = {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11}
    relay = EventRelay(hide_usage=False)
    relay.feed(b"event: response.completed\n" + data({"type": "response.completed", "response": {"usage": usage}}))
    assert relay.report == reported(5, 6)


def test_an_event_that_does_not_end_is_not_kept_for_ever() -> None:
    relay = EventRelay(hide_usage=True)
    assert relay.feed(b"x" * MAX_EVENT_BYTES) == b""
    with pytest.raises(EventTooLarge):
        relay.feed(b"x")


def test_large_deltas_count_by_their_size() -> None:
    relay = EventRelay(hide_usage=True)
    relay.feed(data({"choices": [{"delta": {"content": ""}}]}))
    relay.feed(data({"choices": [{"delta": {"content": "word " * 800}}]}))
    assert 900 <= relay.fresh <= 1100


def test_only_events_with_text_count_as_tokens() -> None:
    relay = EventRelay(hide_usage=False)
    relay.feed(data({"choices": [{"delta": {"role": "assistant", "content": ""}}]}))
    assert relay.estimate == 0
    relay.feed(data({"choices": [{"delta": {"content": " tide"}}]}) * 5)
    assert relay.fresh == relay.estimate == 5
    relay.feed(data({"choices": [{"delta": {}, "finish_reason": "length"}]}) + data({"choices": [], "usage": USAGE}))
    relay.feed(b"data: [DONE]\n\n")
    assert relay.estimate == 5
