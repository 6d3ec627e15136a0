"""The text of a stream is the same text however it was cut, and is counted as the whole."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples.texts import TEXTS
from tidegate_dataplane.counting.encodings import Encoding
from tidegate_dataplane.counting.output import RAW_BYTES, TEXT_CHARS, Delivered, texts_of
from tidegate_dataplane.counting.tokenizer import count

ALL = "".join(TEXTS.values())


def tokens(text: str) -> int:
    return count(text, Encoding.O200K) or 0


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(index: int = 0, **fields: Any) -> bytes:
    return event({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": index, "delta": fields}]})


def pieces(text: str, source: random.Random, most: int = 12) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = start + source.randint(1, most)
        yield text[start:end]
        start = end


def delivered(*parts: bytes) -> Delivered:
    found = Delivered()
    for part in parts:
        found.keep(part)
    return found


@pytest.mark.parametrize("name", TEXTS)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_the_cuts_between_deltas_never_matter(name: str, seed: int, most: int) -> None:
    source = random.Random(seed)
    found = delivered(*(delta(content=piece) for piece in pieces(TEXTS[name], source, most)), b"data: [DONE]\n\n")
    assert found.tokens(tokens) == tokens(TEXTS[name])
    assert found.exact


def test_choices_and_kinds_are_texts_of_their_own() -> None:
    found = delivered(
        delta(0, content="unbe"),
        delta(1, content="liev"),
        delta(0, content="lievable"),
        delta(1, content="able"),
        delta(0, reasoning_content="Let me see."),
        delta(0, refusal="No."),
        delta(0, tool_calls=[{"index": 0, "id": "call_1", "function": {"name": "look_up", "arguments": ""}}]),
        delta(0, tool_calls=[{"index": 0, "function": {"arguments": '{"city":"Pa'}}]),
        delta(0, tool_calls=[{"index": 0, "function": {"arguments": 'ris"}'}}]),
    )
    expected = ["unbelievable", "lievable", "Let me see.", "No.", 'look_up{"city":"Paris"}']
    assert found.tokens(tokens) == sum(map(tokens, expected))


def test_completions_and_responses() -> None:
    assert delivered(
        event({"choices": [{"index": 0, "text": "Hello "}]}), event({"choices": [{"text": "there"}]})
    ).tokens(tokens) == tokens("Hello there")
    found = delivered(
        b"event: response.created\n" + event({"type": "response.created", "response": {"id": "r", "output": []}}),
        *(
            b"event: response.output_text.delta\n"
            + event({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": piece})
            for piece in ("Hel", "lo th", "ere")
        ),
        event({"type": "response.output_text.done", "text": "Hello there"}),
        event({"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '{"a":1}'}),
        event({"type": "response.audio.delta", "delta": "AAAA" * 100}),
    )
    assert found.tokens(tokens) == tokens("Hello there") + tokens('{"a":1}')


def test_an_emoji_whose_halves_come_apart_is_one() -> None:
    halves = [
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ude80"}}]}\n\n',
    ]
    assert delivered(*halves).tokens(tokens) == tokens("\U0001f680")


def test_text_in_another_form_is_found_and_said_to_be_no_count() -> None:
    found = delivered(delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hello there"}]}]))
    assert found.tokens(tokens) == tokens("Hello there")
    assert not found.exact


@pytest.mark.parametrize(
    "data", [b"data: \xff\n\n", b"data: {\n\n", b"data: 7\n\n", b": hi\n\n", b"data: " + b"[" * 9999]
)
def test_what_is_no_event_is_no_text(data: bytes) -> None:
    assert delivered(data).tokens(tokens) == 0


def test_what_a_report_covers_is_forgotten() -> None:
    found = delivered(delta(content="Hello"))
    assert not found.is_empty()
    found.clear()
    assert found.is_empty()
    found.keep(delta(role="assistant", content=""))
    assert found.is_empty()


@pytest.mark.parametrize("encoding", Encoding)
def test_a_long_stream_keeps_little_and_is_counted_within_a_thousandth(encoding: Encoding) -> None:
    source = random.Random(7)
    text = ALL * 60
    found = Delivered()
    most = 0
    for piece in pieces(text, source):
        found.keep(delta(content=piece))
        if found.is_long:
            found.fold(lambda part: count(part, encoding) or 0)
        most = max(most, found.size)
    assert found.folded > 0
    assert most <= TEXT_CHARS + 2 * RAW_BYTES
    assert found.tokens(lambda part: count(part, encoding) or 0) == pytest.approx(count(text, encoding), rel=0.001)


def test_the_texts_of_a_whole_answer() -> None:
    chat = {
        "choices": [
            {"message": {"content": "one", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}},
            {"message": {"content": None, "refusal": "two"}},
        ]
    }
    assert texts_of(json.dumps(chat).encode()) == ["one", "f{}", "two"]
    assert texts_of(b'{"choices":[{"text":"three"}]}') == ["three"]
    responses = {"output": [{"content": [{"type": "output_text", "text": "four"}]}, {"name": "g", "arguments": "1"}]}
    assert texts_of(json.dumps(responses).encode()) == ["four", "g1"]
    assert texts_of(b"{") is None
    assert texts_of(b'{"choices":[7,{"message":[]}],"output":{}}') == []
