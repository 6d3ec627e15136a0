"""What is reserved for a request is not less than what the provider may do for it, however it is written."""

from __future__ import annotations

import base64
import json
import random
import timeit
from typing import Any

import pytest

from tidegate_dataplane.errors import Failure
from tidegate_dataplane.proxy.intake import Prompt, read_prompt
from tidegate_dataplane.proxy.usage import PICTURE_TOKENS, bound_input, reserve_output
from tidegate_dataplane.snapshot.entries import Operation


def read(operation: Operation = Operation.CHAT, **fields: Any) -> Prompt:
    whole: dict[str, Any] = {"model": "m"}
    if operation is Operation.CHAT:
        whole["messages"] = [{"role": "user", "content": "hi"}]
    return read_prompt(json.dumps(whole | fields, ensure_ascii=False).encode(), operation)


def output(prompt: Prompt, operation: Operation = Operation.CHAT) -> int:
    return reserve_output(operation, prompt.max_output, prompt.choices)


LONG = "what a model reads " * 1_000


@pytest.mark.parametrize(
    "beside",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "description": LONG}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"description": LONG}}}},
        {"functions": [{"name": "f", "description": LONG}]},
        {"chat_template": LONG},
    ],
)
def test_what_a_model_reads_beside_the_messages_is_reserved(beside: dict[str, Any]) -> None:
    assert read(**beside).prompt_tokens >= len(LONG) / 4


def test_instructions_are_reserved() -> None:
    assert read(Operation.RESPONSES, input="hi", instructions=LONG).prompt_tokens >= len(LONG) / 4


def test_what_no_model_reads_is_not_reserved() -> None:
    assert read(metadata={"note": LONG}, logit_bias={"1": 2}, temperature=0.5).prompt_tokens <= 16


def test_of_two_limits_the_higher_one_counts() -> None:
    assert output(read(max_completion_tokens=1, max_tokens=4_000)) == 4_000
    assert output(read(max_completion_tokens=4_000, max_tokens=1)) == 4_000
    assert output(read(max_completion_tokens=None, max_tokens=7)) == 7
    assert read(max_completion_tokens=None).max_output is None


def test_no_output_at_all_cannot_be_asked_for() -> None:
    assert output(read(max_tokens=0)) == 1


def test_every_prompt_of_several_is_answered() -> None:
    completion = Operation.COMPLETION
    assert output(read(completion, prompt=["a", "b", "c"], max_tokens=10), completion) == 30
    assert output(read(completion, prompt=[[1, 2], [3]], max_tokens=10, n=2), completion) == 40
    assert output(read(completion, prompt=[1, 2, 3], max_tokens=10), completion) == 10
    assert output(read(completion, prompt=[], max_tokens=10), completion) == 10
    assert output(read(completion, prompt="a", max_tokens=10), completion) == 10


def test_answers_that_only_compete_are_written_too() -> None:
    completion = Operation.COMPLETION
    assert output(read(completion, prompt="a", max_tokens=10, best_of=20), completion) == 200
    assert output(read(completion, prompt="a", max_tokens=10, n=5, best_of=3), completion) == 50
    with pytest.raises(Failure, match="best_of"):
        read(completion, prompt="a", best_of=10**6)


def test_what_runs_on_unseen_is_refused() -> None:
    with pytest.raises(Failure, match="background"):
        read(Operation.RESPONSES, input="hi", background=True)
    assert read(Operation.RESPONSES, input="hi", background=False).model == "m"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [  # by the tokenizer cl100k_base
        ("我们需要在今天下午之前完成这个项目的所有测试和文档编写工作，请大家配合。" * 20, 600),
        ("오늘 오후까지 이 프로젝트의 모든 테스트와 문서를 완료해야 합니다." * 20, 660),
        ("نحن بحاجة إلى إكمال جميع اختبارات هذا المشروع ووثائقه بعد ظهر اليوم." * 20, 1_000),
        ("हमें आज दोपहर तक इस परियोजना के सभी परीक्षण और दस्तावेज़ पूरे करने हैं।" * 20, 1_440),
        ("The quick brown fox jumps over the lazy dog and then it goes home to sleep in peace. " * 20, 381),
        (json.dumps([{"id": number, "name": f"n{number}", "value": number * 1.37} for number in range(200)]), 4_586),
    ],
)
def test_texts_of_all_sorts_take_no_more_than_is_reserved(text: str, tokens: int) -> None:
    for written in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
        assert tokens <= bound_input(written.encode()) <= 8 * tokens


def test_numbers_of_tokens_are_as_many_tokens() -> None:
    many = [random.Random(5).randint(0, 9) for _ in range(2_000)]
    assert bound_input(json.dumps(many, separators=(",", ":")).encode()) >= 2_000


def pictures(url: str, count: int = 1) -> list[dict[str, Any]]:
    content = [{"type": "image_url", "image_url": {"url": url}} for _ in range(count)]
    return [{"role": "user", "content": [{"type": "text", "text": "what is this?"}, *content]}]


def test_a_picture_counts_by_what_it_is_and_not_by_its_bytes() -> None:
    data = "data:image/png;base64," + base64.b64encode(random.Random(1).randbytes(300_000)).decode()
    for url in ("https://example.com/a.png", data):
        assert PICTURE_TOKENS <= read(messages=pictures(url)).prompt_tokens <= PICTURE_TOKENS + 100
    assert 3 * PICTURE_TOKENS <= read(messages=pictures(data, 3)).prompt_tokens <= 3 * PICTURE_TOKENS + 200
    item = [{"role": "user", "content": [{"type": "input_image", "image_url": data}]}]
    reserved = read(Operation.RESPONSES, input=item).prompt_tokens
    assert PICTURE_TOKENS <= reserved <= PICTURE_TOKENS + 100


@pytest.mark.parametrize(
    "opening", ["data:image/png;base64,", '"url":"data:image/png;base64,', '\\"url\\":"data:image/']
)
def test_a_text_that_pretends_to_be_a_picture_counts_as_a_text(opening: str) -> None:
    assert read(messages=[{"role": "user", "content": opening + LONG}]).prompt_tokens >= len(LONG) / 4


def test_it_takes_no_time() -> None:
    text = json.dumps([{"role": "user", "content": LONG * 5}]).encode()
    best = min(timeit.repeat(lambda: bound_input(text), number=20, repeat=5)) / 20
    assert best / (len(text) / 1024) < 5e-6, "2 us a KB, and some patience with a busy machine"
