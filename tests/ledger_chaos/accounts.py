"""Whether the ledger agrees with what was delivered, plane by plane, to the unit.

What a call must have been charged:

- finished: what the provider reported;
- left by its caller in the middle: the prompt and what the gateway handed over, as its audit record says; that must lie
  between what the caller got and what the provider sent;
- under way on a plane that was killed: nobody could write that down, so between what the caller got and what the
  provider sent, with the prompt or without it;
- refused: nothing.

A plane that was never killed has no such doubtful calls: its figure must be the exact sum.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ledger_chaos.callers import Call, End
from ledger_chaos.fleet import Plane
from ledger_chaos.provider import PROMPT_TOKENS, Provider, Work
from ledger_chaos.world import cost

# A call that ended so shortly before its plane was killed may not be settled, and its audit line not be written.
_UNWRITTEN_SECONDS = 3.0
# An estimate counts events, and the first and the last one of a stream have no token.
_FRAMES = 2


Records: TypeAlias = dict[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Charge:
    """Tokens and micro-dollars, at the least and at the most."""

    tokens: tuple[int, int]
    cost: tuple[int, int]

    @classmethod
    def exact(cls, input: int, output: int) -> Charge:
        tokens, money = input + output, cost(input, output)
        return cls((tokens, tokens), (money, money))

    @classmethod
    def between(cls, least: tuple[int, int], most: tuple[int, int]) -> Charge:
        """From and to (input, output)."""
        return cls((sum(least), sum(most)), (cost(*least), cost(*most)))


@dataclass
class Book:
    """What one plane must have charged in all; `problems` are calls that contradict themselves."""

    tokens: tuple[int, int] = (0, 0)
    cost: tuple[int, int] = (0, 0)
    doubtful: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, charge: Charge) -> None:
        self.tokens = (self.tokens[0] + charge.tokens[0], self.tokens[1] + charge.tokens[1])
        self.cost = (self.cost[0] + charge.cost[0], self.cost[1] + charge.cost[1])
        self.doubtful += charge.tokens[0] != charge.tokens[1]


def keep_books(planes: Iterable[Plane], calls: Iterable[Call], provider: Provider) -> dict[int, Book]:
    """The book of each plane, by its number."""
    of_plane: dict[int, list[Call]] = {}
    for call in calls:
        of_plane.setdefault(call.plane, []).append(call)
    planes = list(planes)
    records = {plane.number: read_audit(plane.audit) for plane in planes}
    prompt = _estimated_prompt(records.values())
    return {
        plane.number: _book(plane, of_plane.get(plane.number, []), provider, records[plane.number], prompt)
        for plane in planes
    }


def _estimated_prompt(audits: Iterable[Records]) -> int:
    """What a prompt counts until the provider reports: each has the same text, and a caller who left shows it.

    One plane alone may have no record of a caller who left, and only reports.
    """
    return max((record["tokens"]["input"] for of in audits for record in of.values() if "tokens" in record), default=0)


def _book(plane: Plane, calls: Iterable[Call], provider: Provider, records: Records, prompt: int) -> Book:
    book = Book()
    for call in calls:
        work = provider.work.get(call.request_id)
        if work is not None:
            charge = _charge(call, work, records.get(call.request_id), _was_killed(plane, call), prompt)
            if isinstance(charge, Charge):
                book.add(charge)
            else:
                book.problems.append(f"{call}: {charge}")
        elif call.end in (End.FINISHED, End.LEFT):
            book.problems.append(f"{call}: the provider never saw it")
    return book


def _charge(call: Call, work: Work, record: Mapping[str, Any] | None, killed: bool, prompt: int) -> Charge | str:
    if call.end is End.FINISHED and not (killed and record is None):
        if call.received != work.output:
            return f"{work} delivered another number of tokens"
        if call.reported not in (None, (PROMPT_TOKENS, work.output)):
            return f"{work} reported something else"
        return Charge.exact(PROMPT_TOKENS, work.output)
    if record is not None and "tokens" in record:
        return _written(call, work, record["tokens"])
    if killed:
        most = max(prompt, PROMPT_TOKENS), work.emitted + _FRAMES
        return Charge.between((0, call.received), most)
    if record is not None:
        return Charge.exact(0, 0) if call.received == 0 else f"{record} charges nothing for it"
    return "there is no audit record of it, and its plane was not killed"


def _written(call: Call, work: Work, tokens: Mapping[str, Any]) -> Charge | str:
    input, output = tokens["input"], tokens["output"]
    if not call.received <= output <= work.emitted + _FRAMES:
        return f"{work} was charged {output} output tokens ({tokens['source']})"
    return Charge.exact(input, output)


def _was_killed(plane: Plane, call: Call) -> bool:
    # The span begins when the kill is asked for: a call may still come in before it strikes.
    return any(call.began <= up and down <= call.ended + _UNWRITTEN_SECONDS for down, up in plane.downs)


def read_audit(path: Path) -> Records:
    """The records of a plane by request id; a line that a kill tore is left out."""
    found: dict[str, Mapping[str, Any]] = {}
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if "requestId" in record:
            found[record["requestId"]] = record
    return found
