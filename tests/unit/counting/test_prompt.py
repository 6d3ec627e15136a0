"""What a prompt costs: its text, and what the format adds."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.counting.encodings import Encoding
from tidegate_dataplane.counting.prompt import Counted, count_prompt
from tidegate_dataplane.counting.tokenizer import count
from tidegate_dataplane.snapshot.entries import Operation

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def counted(operation: Operation, **fields: Any) -> Counted:
    raw = msgspec.json.decode(json.dumps(fields), type=dict[str, msgspec.Raw])
    return count_prompt(operation, raw, lambda text: count(text, Encoding.O200K) or 0)


def chat(*messages: Any, **more: Any) -> Counted:
    return counted(Operation.CHAT, messages=list(messages), **more)


def test_each_message_costs_three_tokens_and_its_role_and_the_answer_three() -> None:
    hello = {"role": "user", "content": "Hello!"}  # two tokens
    assert chat(hello) == Counted(3 + 1 + 2 + 3, True)
    assert chat(hello, hello).tokens == 2 * (3 + 1 + 2) + 3


def test_a_name_costs_itself_and_one_more() -> None:
    without = chat({"role": "user", "content": "Hello!"}).tokens
    assert chat({"role": "user", "content": "Hello!", "name": "Anna"}).tokens == without + 1 + 1


def test_text_in_parts_counts_as_text() -> None:
    parts = [{"type": "text", "text": "Hello"}, {"type": "text", "text": "!"}]
    assert chat({"role": "user", "content": parts}) == chat({"role": "user", "content": "Hello!"})


def test_escapes_of_json_are_no_tokens() -> None:
    assert chat({"role": "user", "content": "预算\n"}).tokens < 15


def test_a_picture_is_estimated_and_said_to_be() -> None:
    low = {"type": "image_url", "image_url": {"url": "data:", "detail": "low"}}
    plain = chat({"role": "user", "content": []}).tokens
    assert chat({"role": "user", "content": [IMAGE]}) == Counted(plain + 765, False)
    assert chat({"role": "user", "content": [low]}) == Counted(plain + 85, False)


@pytest.mark.parametrize("beside", ["tools", "response_format", "functions"])
def test_tools_are_estimated(beside: str) -> None:
    hello = {"role": "user", "content": "Hello!"}
    found = chat(hello, **{beside: [{"type": "function", "function": {"name": "look_up", "parameters": {}}}]})
    assert found.tokens > chat(hello).tokens + 10
    assert not found.exact
    assert chat(hello, **{beside: None}).exact


def test_text_tokens_and_lists_of_both() -> None:
    assert counted(Operation.EMBEDDINGS, input="Hello!") == Counted(2, True)
    assert counted(Operation.EMBEDDINGS, input=["Hello!", "Hello!"]) == Counted(4, True)
    assert counted(Operation.EMBEDDINGS, input=[1, 2, 3]) == Counted(3, True)
    assert counted(Operation.COMPLETION, prompt=[[1, 2], [3]]) == Counted(3, True)


def test_a_responses_input_is_a_message() -> None:
    as_chat = chat({"role": "user", "content": "Hello!"})
    assert counted(Operation.RESPONSES, input="Hello!") == as_chat
    assert (
        counted(Operation.RESPONSES, input=[{"role": "user", "content": [{"type": "input_text", "text": "Hello!"}]}])
        == as_chat
    )
    instructed = chat({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"})
    assert counted(Operation.RESPONSES, input="Hello!", instructions="Be brief.") == instructed


def test_what_the_provider_remembers_cannot_be_counted() -> None:
    assert not counted(Operation.RESPONSES, input="Hello!", previous_response_id="resp_1").exact


NAMES = st.sampled_from(["role", "content", "type", "text", "name", "image_url"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@given(st.sampled_from(Operation), JSON)
def test_nothing_that_a_caller_sends_breaks_it(operation: Operation, value: Any) -> None:
    fields = dict.fromkeys(("messages", "input", "prompt", "instructions", "tools"), value)
    assert counted(operation, **fields).tokens >= 1


def test_deep_nesting_is_survived() -> None:
    deep = msgspec.Raw(b"[" * 900 + b"]" * 900)
    for operation, name in ((Operation.CHAT, "messages"), (Operation.EMBEDDINGS, "input")):
        assert count_prompt(operation, {name: deep}, len).tokens >= 1
