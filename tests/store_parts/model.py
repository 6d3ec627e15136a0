"""Simulated data planes that keep their own books, for tests of what the store grants them.

A plane knows what it used, what it holds and what it was granted, in each slot of each counter; it tells the store
these figures, and only spends what the store said it may. The truth is the sum of these books.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from store_parts.script import ScriptServer
from tidegate_dataplane.store import encoding
from tidegate_dataplane.store.encoding import MUST_DECLARE, OK, Header, Reply
from tidegate_dataplane.store.protocol import SPARE_SECONDS, Declared, Kind, Line, Result


@dataclass(frozen=True)
class Counter:
    """A limit of a kind; `width` is the length of its window or slot in ms, `slots` how many old ones count."""

    key: bytes
    kind: Kind
    limit: int
    width: int = 0
    slots: int = 0

    def slot(self, now_ms: int) -> int:
        if self.kind is Kind.WINDOW:
            return now_ms // self.width * self.width
        return now_ms // self.width if self.kind is Kind.SLIDING else 0

    def live(self, slot: int, now_ms: int) -> bool:
        """Whether what happened in `slot` still counts."""
        return self.slot(now_ms) - (self.slots if self.kind is Kind.SLIDING else 0) <= slot <= self.slot(now_ms)

    def shape(self, now_ms: int) -> tuple[int, int, int]:
        if self.kind is Kind.WINDOW:
            start = self.slot(now_ms)
            return start, start + self.width, start + 2 * self.width
        return (self.width, self.slots, 0) if self.kind is Kind.SLIDING else (0, 0, 0)


@dataclass
class Book:
    """One plane's figures in one slot of one counter."""

    used: int = 0
    held: list[int] = field(default_factory=list)
    granted: int = 0
    total: int = 0

    @property
    def firm(self) -> int:
        return self.used + sum(self.held)

    @property
    def spare(self) -> int:
        return max(0, self.granted - self.firm)


class Plane:
    """One data plane. `lost` says that the answer to a batch never comes."""

    def __init__(self, server: ScriptServer, name: str) -> None:
        self.server = server
        self.owner = name.ljust(32, "0")
        self.sequence = self.acknowledged = self.epoch = self.version = 0
        self.fresh = True
        self.known: set[str] | None = set()
        self.books: dict[tuple[Counter, int], Book] = {}
        self.slots: dict[Counter, int] = {}
        self.confirmed_ms = 0
        self.sent: list[bytes] = []
        self.unanswered: set[tuple[Counter, int]] = set()

    def header(self) -> Header:
        self.sequence += 1
        return Header(self.owner, self.sequence, self.acknowledged, self.epoch, self.fresh, self.version)

    def book(self, counter: Counter, slot: int) -> Book:
        return self.books.setdefault((counter, slot), Book())

    def line(self, counter: Counter, slot: int, *, need: int = 0, want: int = 0, keep_spare: bool = True) -> Line:
        book = self.books.get((counter, slot), Book())
        keep = max(book.granted, book.firm) if keep_spare else book.firm
        shape = counter.shape(self.server.now_ms)
        return Line(
            counter.key, counter.kind, *shape, slot, counter.limit, book.used, book.firm, keep, need, max(need, want)
        )

    def exchange(self, lines: list[tuple[Counter, Line]], *, lost: bool = False) -> list[Result] | None:
        """One decision. None: no answer, or the store wants a declaration first."""
        # What the store may have granted without our knowing is given back by naming it.
        named = {(counter, line.slot) for counter, line in lines}
        doubtful = dict.fromkeys(self.unanswered)
        reports = [[self.line(*each)] for each in {**self.books, **doubtful} if each not in named]
        command = self.server.exchange_command(self.header(), [[line for _, line in lines], *reports])
        self.sent.append(command)

        reply: Reply = encoding.decode_reply(self.server.call(command))
        if reply.code == MUST_DECLARE:
            return None
        if lost:
            self.unanswered |= {(counter, counter.slot(self.server.now_ms)) for counter, _ in lines}
            return None
        self.unanswered.clear()
        assert reply.code == OK
        self.learn(reply.epoch, reply.version, reply.members)
        self.confirmed_ms = self.server.now_ms
        for (counter, line), result in zip(lines, reply.results[0], strict=True):
            if counter.kind is Kind.BUCKET:
                continue
            self.adopt(counter, line, result)
        return reply.results[0]

    def adopt(self, counter: Counter, line: Line, result: Result) -> None:
        if line.slot == result.slot or line.need or line.want:
            self.slots[counter] = result.slot
            book = self.book(counter, result.slot)
            book.granted, book.total = result.granted, result.slot_total

    def learn(self, epoch: int, version: int, members: list[str]) -> None:
        self.acknowledged, self.epoch, self.fresh = self.sequence, epoch, False
        if version != self.version:
            self.version, self.known = version, set(members)

    def declare(self) -> bool:
        """All of it, in two calls as the store does."""
        now = self.server.now_ms
        rows = [
            Declared(
                counter.key,
                counter.kind,
                *counter.shape(now),
                slot,
                counter.limit,
                book.used,
                book.firm,
                max(book.granted, book.firm),
                book.total,
            )
            for (counter, slot), book in self.books.items()
        ]
        known = None if self.known is None else sorted(self.known)
        for some, begin, final in ((rows, True, False), ([], False, True)):
            reply = self.server.declare(self.header(), some, begin=begin, final=final, known=known)
            if reply.code != OK:
                return False
            self.learn(reply.epoch, reply.version, reply.members)
            for ((_, _), book), result in zip(list(self.books.items()) if some else [], reply.results, strict=True):
                if result.granted >= book.firm:
                    book.granted = result.granted
        return True

    def reserve(self, counter: Counter, amount: int, *, want: int = 0, lost: bool = False) -> Result | None:
        """Exact: ask the store for it."""
        slot = self.slots.get(counter, counter.slot(self.server.now_ms))
        results = self.exchange([(counter, self.line(counter, slot, need=amount, want=want))], lost=lost)
        if results is None:
            return None
        if results[0].status == 0:
            self.book(counter, results[0].slot).held.append(amount)
        return results[0]

    def spend_spare(self, counter: Counter, amount: int) -> bool:
        """Leased: out of what was granted before, in the present slot, while the store was heard of lately."""
        now = self.server.now_ms
        if now - self.confirmed_ms > SPARE_SECONDS * 1000:
            return False
        book = self.books.get((counter, counter.slot(now)))
        if book is None or book.spare < amount:
            return False
        book.held.append(amount)
        return True

    def settle(self, counter: Counter, actual: int) -> int:
        """The oldest reservation comes to its end; returns by how much it overshot."""
        for (each, _), book in self.books.items():
            if each == counter and book.held:
                reserved = book.held.pop(0)
                if counter.kind is not Kind.GAUGE:
                    book.used += actual
                    return max(0, actual - reserved)
                return 0
        return 0

    def forget_old(self) -> None:
        for counter, slot in list(self.books):
            if not counter.live(slot, self.server.now_ms) and counter.kind is not Kind.GAUGE:
                del self.books[counter, slot]


def truth(planes: list[Plane], counter: Counter, now_ms: int) -> int:
    """What all planes together have used and hold, in slots that count."""
    return sum(
        book.firm
        for plane in planes
        for (each, slot), book in plane.books.items()
        if each == counter and counter.live(slot, now_ms)
    )
