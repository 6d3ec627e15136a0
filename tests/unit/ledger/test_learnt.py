"""What is reserved for calls that set no limit follows what models write."""

import random

from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.ledger.learnt import DEFAULT_OUTPUT_TOKENS, LEAST_SAMPLES, MAX_MODELS, Learnt
from tidegate_dataplane.snapshot.entries import Operation

CHAT = Operation.CHAT


def learnt(outputs: list[int], model: str = "team-a/one gpt") -> Learnt:
    found = Learnt()
    for each in outputs:
        found.learn(model, CHAT, each)
    return found


def test_few_calls_prove_nothing() -> None:
    found = learnt([7] * (LEAST_SAMPLES - 1))
    assert found.reserve("team-a/one gpt", CHAT) == DEFAULT_OUTPUT_TOKENS
    found.learn("team-a/one gpt", CHAT, 7)
    assert found.reserve("team-a/one gpt", CHAT) == 7


def test_models_and_operations_are_kept_apart() -> None:
    found = learnt([7] * 100)
    assert found.reserve("team-a/one gpt", Operation.RESPONSES) == DEFAULT_OUTPUT_TOKENS
    assert found.reserve("team-b/one gpt", CHAT) == DEFAULT_OUTPUT_TOKENS


def test_what_writes_nothing_needs_nothing() -> None:
    found = Learnt()
    found.learn("m", Operation.EMBEDDINGS, 5)
    assert found.reserve("m", Operation.EMBEDDINGS) == 0
    assert len(found) == 0


@given(st.integers(0, 2**31), st.integers(1, 7), st.floats(0.1, 1.5))
def test_the_reservation_is_the_95th_percentile_or_an_eighth_more(seed: int, mean: int, spread: float) -> None:
    source = random.Random(seed)
    outputs = [int(source.lognormvariate(mean, spread)) for _ in range(LEAST_SAMPLES + 32 * 15)]
    exact = sorted(outputs)[-(-len(outputs) * 95 // 100) - 1]
    assert max(1, exact) <= learnt(outputs).reserve("team-a/one gpt", CHAT) <= max(1, exact * 9 // 8 + 1)


def test_a_model_that_changes_its_ways_is_learnt_anew() -> None:
    found = learnt([4_000] * 5_000)
    for _ in range(20_000):
        found.learn("team-a/one gpt", CHAT, 10)
    assert found.reserve("team-a/one gpt", CHAT) == 10


def test_memory_has_a_bound_and_what_is_in_use_stays() -> None:
    found = learnt([9] * 100, "busy")
    for number in range(3 * MAX_MODELS):
        found.learn(f"invented {number}", CHAT, 1)
        found.learn("busy", CHAT, 9)
    assert len(found) == MAX_MODELS
    assert found.reserve("busy", CHAT) == 9
