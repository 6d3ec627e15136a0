"""Each method of authentication with everything that may be wrong, through a whole data plane over TLS."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dataplane.raw_http import RawAnswer
from dataplane.waiting import POLL_SECONDS
from matrix.cases import HANDSHAKE, Case, all_cases
from matrix.world import Shown, World, shown_in, world
from tidegate_dataplane.snapshot.entries import Method

CASES = all_cases()
OK = 200
FORBIDDEN = {"consumer_suspended": 403, "identity_provider_unavailable": 503}


def test_the_matrix_is_large_and_every_case_is_told_apart() -> None:
    assert len(CASES) >= 200
    assert len({str(case) for case in CASES}) == len(CASES)
    assert {case.method for case in CASES} == {Method.API_KEY, Method.JWT, Method.INTROSPECTION, Method.MTLS}
    assert all(any(case.code is None for case in CASES if case.method is method) for method in Method if method in USED)


USED = {case.method for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_nobody_is_let_in_wrongly(case: Case, tmp_path: Path) -> None:
    async with world(tmp_path) as found:
        # Else a refusal would say nothing.
        assert (await found.ask(case.method, found.good(case.method))).status == OK
        shown = case.show(found)
        if case.change is not None:
            assert (await found.ask(case.method, shown)).status == OK
            await case.change(found)
        answer = await (outcome(found, case, shown) if case.change is None else in_a_second(found, case, shown))
    if answer is None or case.code in (None, HANDSHAKE):
        assert (answer is None) == (case.code == HANDSHAKE), answer
        assert answer is None or answer.status == OK, answer.text
        return
    assert (answer.status, answer.json()["error"]["code"]) == (FORBIDDEN.get(str(case.code), 401), case.code), answer
    assert not shown_in(answer, shown)


async def outcome(found: World, case: Case, shown: Shown) -> RawAnswer | None:
    """The answer; None when not even a connection came about."""
    try:
        return await found.ask(case.method, shown)
    except (OSError, asyncio.IncompleteReadError):
        return None


async def in_a_second(found: World, case: Case, shown: Shown) -> RawAnswer | None:
    """A revocation list is a file, which is looked at every now and then: all else is in force at once."""
    async with asyncio.timeout(1.0):
        while (answer := await outcome(found, case, shown)) is not None and answer.status == OK:
            assert case.method is Method.MTLS, "let in after the change"
            await asyncio.sleep(POLL_SECONDS)
    return answer
