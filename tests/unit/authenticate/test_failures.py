"""Failed authentications are limited by address and by what keys begin with; the rest of the world is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.authenticate.failures import FailureLimiter, too_many_failures
from tidegate_dataplane.authenticate.rate import Rate
from tidegate_dataplane.engine import denials

NOW = 1_800_000_000.0
MINUTE = 60.0


def limiter(*, address: int = 3, prefix: int = 100, capacity: int = 1000) -> FailureLimiter:
    return FailureLimiter(Rate(address, MINUTE), Rate(prefix, MINUTE), capacity=capacity)


def test_an_address_may_fail_so_often_and_then_waits() -> None:
    limits = limiter(address=3)
    for number in range(3):
        assert limits.limited("192.0.2.1", (f"key-{number:06}",), NOW) is None
        limits.failed("192.0.2.1", (f"key-{number:06}",), NOW)
    assert limits.limited("192.0.2.1", ("another-one",), NOW) == pytest.approx(20.0)
    assert limits.address_limited("192.0.2.1", NOW) == pytest.approx(20.0)
    assert limits.limited("192.0.2.2", ("another-one",), NOW) is None
    assert limits.limited("192.0.2.1", ("another-one",), NOW + 20.1) is None


def test_a_whole_ipv6_network_is_one_address() -> None:
    limits = limiter(address=1)
    limits.failed("2001:db8::1", ("k" * 20,), NOW)
    assert limits.limited("2001:db8::ffff", ("x" * 20,), NOW) is not None
    assert limits.limited("2001:db8:0:1::1", ("x" * 20,), NOW) is None


def test_guesses_at_one_key_are_limited_from_wherever_they_come() -> None:
    limits = limiter(address=1000, prefix=5)
    for number in range(5):
        limits.failed(f"192.0.2.{number}", (f"tg_abcde{number}",), NOW)
    assert limits.limited("203.0.113.1", ("tg_abcdeXYZ",), NOW) is not None
    assert limits.address_limited("203.0.113.1", NOW) is None
    assert limits.limited("203.0.113.1", ("tg_other",), NOW) is None


def test_tokens_that_all_begin_alike_do_not_limit_each_other() -> None:
    limits = limiter(address=1000, prefix=1)
    token = "eyJhbGciOiJFUzI1NiJ9.e30."
    for number in range(10):
        limits.failed(f"192.0.2.{number}", (token + str(number),), NOW)
    assert limits.limited("203.0.113.1", (token + "x",), NOW) is None


def test_waiting_callers_do_not_wait_longer_for_asking_again() -> None:
    limits = limiter(address=1)
    denial = denials.UNKNOWN_KEY
    assert limits.answer(denial, "192.0.2.1", ("sk-unknown",), NOW) is denial
    for _ in range(100):
        told = limits.answer(denial, "192.0.2.1", ("sk-unknown",), NOW + 30)
        assert (told.status, told.code, told.retry_after) == (429, "too_many_failed_authentications", 30)
    assert limits.answer(denial, "192.0.2.1", ("sk-unknown",), NOW + 61) is denial


def test_the_answer_to_a_limited_caller_does_not_depend_on_what_was_wrong() -> None:
    limits = limiter(address=1)
    limits.failed("192.0.2.1", ("sk-unknown",), NOW)
    told = {
        limits.answer(denial, "192.0.2.1", ("sk-unknown",), NOW)
        for denial in (denials.UNKNOWN_KEY, denials.EXPIRED_KEY, denials.EARLY_KEY, denials.REVOKED_KEY)
    }
    assert told == {too_many_failures(60.0)}


def test_only_credentials_that_failed_are_counted() -> None:
    limits = limiter(address=1)
    for _ in range(10):
        assert limits.answer(denials.NO_KEY, "192.0.2.1", (), NOW) is denials.NO_KEY
        assert limits.answer(denials.SUSPENDED, "192.0.2.1", ("sk-known",), NOW) is denials.SUSPENDED
        refused = denials.method_not_accepted(None)
        assert limits.answer(refused, "192.0.2.1", ("sk-known",), NOW) is refused
    assert limits.entries == 0


def test_each_failure_is_told_with_its_reason() -> None:
    told: list[str] = []
    limits = FailureLimiter(Rate(2, MINUTE), Rate(100, MINUTE), on_failure=told.append)
    for denial in (denials.REVOKED_KEY, denials.EXPIRED_KEY, denials.UNKNOWN_KEY):
        limits.answer(denial, "192.0.2.1", ("sk-known",), NOW)
    assert told == ["unknown_key", "expired_key", "limited"]


def test_memory_is_bounded_and_the_least_recent_are_forgiven() -> None:
    limits = limiter(address=1, prefix=1, capacity=50)
    for number in range(500):
        limits.failed(f"192.0.{number // 250}.{number % 250}", (f"{number:08}",), NOW)
    assert limits.entries == 100
    assert limits.limited("192.0.0.0", ("00000000",), NOW) is None
    assert limits.limited("192.0.1.249", ("something",), NOW) is not None


def test_what_was_presented_is_not_kept() -> None:
    limits = limiter()
    limits.failed("192.0.2.1", ("sk-very-secret",), NOW)
    kept = repr(vars(limits)) + repr([vars(each) for each in (limits._addresses, limits._prefixes)])
    assert "sk-very" not in kept


@given(st.lists(st.tuples(st.floats(0, 600), st.integers(0, 3)), max_size=200))
def test_no_order_of_clocks_and_failures_lets_more_through_than_the_rate(events: list[tuple[float, int]]) -> None:
    """Over any ten minutes, an address fails at most its burst and what ten minutes give back."""
    limits = limiter(address=5)
    counted = [0] * 4
    for at, who in sorted(events):
        if limits.limited(f"192.0.2.{who}", (f"sk-guess-{who}",), NOW + at) is None:
            limits.failed(f"192.0.2.{who}", (f"sk-guess-{who}",), NOW + at)
            counted[who] += 1
    assert max(counted) <= 5 + 5 * 10


@pytest.mark.parametrize(
    ("text", "rate"),
    [("60/1m", Rate(60, 60.0)), ("5/30s", Rate(5, 30.0)), ("9/2h", Rate(9, 7200.0))],
)
def test_rates_are_read(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
    assert str(rate) == text


@pytest.mark.parametrize(
    "text",
    ["", "60", "60/", "60/m", "/1m", "0/1m", "60/0m", "-1/1m", "60/1d", "1.5/1m", "60/1m/2", "²/1m"],
)
def test_a_wrong_rate_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="60/1m"):
        Rate.parse(text)
