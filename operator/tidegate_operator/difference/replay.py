"""Recorded requests, decided once more on both sides.

A line of an audit log has no headers, no body, no claims and no counters. Where a decision looks at these, that is
counted and said; what cannot be decided at all is counted with the reason, and never guessed.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from tidegate_dataplane.engine.assume import CannotAssume, assume
from tidegate_dataplane.engine.by_target import targets_of
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.engine.path import LISTING, parse_path
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import NOBODY, Consumer, Identity, Route
from tidegate_dataplane.snapshot.entries import Method, Operation, previous_name
from tidegate_operator.difference.effect import Example, Replay, ReplayedChange
from tidegate_operator.difference.outcome import usable
from tidegate_operator.difference.profile import depends_on, expressions_of, profile_of
from tidegate_operator.difference.sides import Sides
from tidegate_operator.usage.lines import TORN, Fault, Line

_EXAMPLES = 3
_MOST_CHANGES = 200
_MOST_REMEMBERED = 200_000
_MALFORMED = "the request was refused before it was understood"
_UNKNOWN_CALLER = "who called is not recorded (the credential was refused)"
_NO_CONSUMER = "the caller is an AIConsumer of neither side (its token alone made it known)"
_NO_TOKEN = "no provider vouches for the consumer's token on either side"  # noqa: S105 - words, not a token
_LISTING = "it asked for the list of models"
# Refusals that no rule decides: counters, what was seen of callers before, what is not known of a price.
_NOT_OF_RULES = frozenset(
    {
        *("rate_limit_exceeded", "quota_exceeded", "quota_unavailable", "price_unknown", "audit_unavailable"),
        *("risk_denied", "approval_required", "insufficient_user_authentication", "upstream_overloaded"),
    }
)


_OPERATIONS = frozenset(one.value for one in Operation)


class RequestLine(Line):
    """A line of a log, as far as deciding anew needs it."""

    request_id: str = ""
    status: int = 0
    code: str = ""
    method: str = ""
    address: str = ""
    host: str = ""
    path: str = ""


class Decided(NamedTuple):
    """What a side says: the route that takes the call, the refusal if any, and the targets that may serve it."""

    route: str
    status: int
    code: str = ""
    rule: str = ""
    targets: frozenset[str] = frozenset()

    def __str__(self) -> str:
        if self.status != 200:
            return f"{self.status} {self.code}{f' by {self.rule}' if self.rule else ''}"
        return f"allowed to {', '.join(sorted(self.targets))}"


class _Undecided(NamedTuple):
    why: str


class _Answer(NamedTuple):
    before: Decided
    after: Decided
    assumed: tuple[str, ...]


class Replayer:
    """Takes the lines of a log, one by one, and adds up; memory does not grow with the log."""

    def __init__(self, sides: Sides) -> None:
        self._old, self._new = sides.old.runtime, sides.new.runtime
        self._sensitive = _Sensitive.of(self._old, self._new)
        self._known: dict[Hashable, _Answer | _Undecided] = {}
        self._changes: Counter[tuple[str, str, str]] = Counter()
        self._examples: dict[tuple[str, str, str], list[Example]] = {}
        self._undecided: Counter[str] = Counter()
        self._assumed: Counter[str] = Counter()
        self._requests = self._decided = self._differing = self._otherwise = 0
        self._foreign = self._torn = self._lost = 0

    def fault(self, fault: Fault) -> None:
        """A line that is none of a log's, or not complete."""
        if fault.message == TORN:
            self._torn += 1
        else:
            self._foreign += 1

    def take(self, line: RequestLine) -> None:
        """The next line; raises ValueError for a time that is none."""
        if line.event:
            self._lost += line.records
            return
        at = datetime.fromisoformat(line.time).timestamp()
        self._requests += 1
        answer = self._answer(line, at)
        if isinstance(answer, _Undecided):
            self._undecided[answer.why] += 1
            return
        self._decided += 1
        self._assumed.update(answer.assumed)
        self._otherwise += not _as_recorded(answer.before, line)
        if answer.before != answer.after:
            self._differing += 1
            self._note(answer, line)

    def _note(self, answer: _Answer, line: RequestLine) -> None:
        before, after = answer.before, answer.after
        moved = before.route != after.route
        where = f" on AIRoute {after.route}" if moved and after.route else ""
        name = before.route or after.route, str(before), f"{after}{where}"
        if name not in self._examples and len(self._examples) >= _MOST_CHANGES:
            name = "", "(other decisions)", "(other decisions)"
        self._changes[name] += 1
        examples = self._examples.setdefault(name, [])
        if len(examples) < _EXAMPLES:
            examples.append(Example(line.request_id, line.time, line.consumer, line.model))

    def result(self) -> Replay:
        """What came of it so far."""
        return Replay(
            requests=self._requests,
            decided=self._decided,
            differing=self._differing,
            changes=tuple(
                ReplayedChange(count, before, after, route, tuple(self._examples[route, before, after]))
                for (route, before, after), count in sorted(self._changes.items(), key=lambda item: (-item[1], item[0]))
            ),
            undecided=dict(self._undecided),
            assumed=dict(self._assumed),
            not_as_recorded=self._otherwise,
            foreign=self._foreign,
            torn=self._torn,
            lost=self._lost,
        )

    def _answer(self, line: RequestLine, at: float) -> _Answer | _Undecided:
        name = (
            line.consumer,
            line.method,
            line.key,
            line.operation,
            line.model,
            line.host,
            line.path,
            line.route,
            line.outcome == "Rejected",
            line.address if self._sensitive.address else "",
            int(at) if self._sensitive.time else 0,
        )
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            known = self._known[name] = self._decide(line, at)
        return known

    def _decide(self, line: RequestLine, at: float) -> _Answer | _Undecided:
        call = self._call(line)
        if isinstance(call, _Undecided):
            return call
        if not line.consumer and line.method != Method.ANONYMOUS.value:
            return _Undecided(_UNKNOWN_CALLER)
        if line.consumer and line.consumer not in self._old.consumers and line.consumer not in self._new.consumers:
            return _Undecided(_NO_CONSUMER)
        before, after = (_decide(runtime, line, call, at) for runtime in (self._old, self._new))
        if before is None or after is None:
            return _Undecided(_NO_TOKEN)
        return _Answer(before, after, tuple(dict.fromkeys(self._assumptions(call))))

    def _call(self, line: RequestLine) -> Call | _Undecided:
        if line.operation not in _OPERATIONS or line.outcome == "Rejected":
            return _Undecided(_MALFORMED)
        base, operation = parse_path(line.path)
        if operation is LISTING or not line.model:
            return _Undecided(_LISTING)
        if operation is None:
            return _Undecided(_MALFORMED)
        route = self._old.routes.get(line.route) or self._new.routes.get(line.route)
        return Call(
            host=line.host,
            path=line.path,
            base=base,
            operation=Operation(line.operation),
            model=line.model,
            # Those that its route asks for it must have had.
            headers={} if route is None else dict(route.entry.headers),
            address=line.address,
            peer=line.address,
            prompt_tokens=1,
        )

    def _assumptions(self, call: Call) -> Iterator[str]:
        for runtime in (self._old, self._new):
            claim = runtime.table.find(call.host, call.base, call.operation, call.model, call.headers)
            route = None if claim is None else runtime.routes[claim[0]]
            if route is not None:
                yield from _lacking(route)


def _lacking(route: Route) -> Iterator[str]:
    """What rules of a route look at that no line has."""
    reads = {name for source in expressions_of(route.guard) for name in depends_on(source)}
    for name, words in (
        ("request.headers", "request headers: only those that its route asks for"),
        ("request.proxyHeaders", "headers of a trusted proxy: none"),
        ("request.bodyBytes", "size of the body: 0"),
        ("token", "claims of the token: those of the AIConsumer's own credential"),
    ):
        if name in reads:
            yield words
    if profile_of(route).whole:
        yield "risk: nothing was seen of the caller before"


class _Sensitive(NamedTuple):
    """Whether any decision may depend on when and from where a call comes."""

    time: bool
    address: bool

    @classmethod
    def of(cls, *runtimes: Runtime) -> "_Sensitive":
        time = address = False
        for runtime in runtimes:
            for route in runtime.routes.values():
                reads = {name for source in expressions_of(route.guard) for name in depends_on(source)}
                ends = route.subscriptions is not None and any(
                    one.not_after != float("inf") for one in route.subscriptions.by_consumer.values()
                )
                time = time or "now" in reads or ends or bool(route.guard.risks)
                address = address or bool(route.guard.networks or route.guard.risks or reads & _ADDRESSES)
            time = time or any(
                key.not_before is not None or key.not_after is not None or key.previous
                for consumer in runtime.consumers.values()
                for key in consumer.entry.keys
            )
        return cls(time, address)


_ADDRESSES = {"request.address", "request.peer"}


def _decide(runtime: Runtime, line: RequestLine, call: Call, at: float) -> Decided | None:
    """What a side says; None where it cannot tell who the caller is."""
    who = _identity(runtime, line, at)
    if not isinstance(who, Identity):
        return who
    decision = decide_for(runtime, call, who, at)
    route = "" if decision.route is None else decision.route.key
    denial = decision.denial
    if denial is not None:
        rule = denial.rule
        return Decided(route, denial.status, denial.code, "" if rule is None or rule.kind == "AIRoute" else str(rule))
    found = decision.route.tiers if decision.tiers is None and decision.route is not None else decision.tiers or ()
    targets = frozenset(f"{one.backend.key} {one.model or call.model}" for one in targets_of(found))
    return Decided(route, 200, targets=targets)


def _identity(runtime: Runtime, line: RequestLine, at: float) -> Identity | Decided | None:
    if not line.consumer:
        return NOBODY
    consumer = runtime.consumers.get(line.consumer)
    if consumer is None:
        return Decided("", 401, "no such consumer")
    methods = [Method(name) for name in line.method.split("+") if name in set(Method)]
    if Method.API_KEY in methods and line.key:
        with_key = _with_key(consumer, line.key, at)
        if with_key is None:
            return Decided("", 401, f"key {line.key} does not work")
        consumer = with_key
    try:
        return assume(runtime, consumer, methods)
    except CannotAssume:
        return None


def _with_key(consumer: Consumer, name: str, at: float) -> Consumer | None:
    """The consumer as it presents that key; None when it has none of that name that works."""
    found = [key for key in consumer.entry.keys if name in (key.name, previous_name(key.name)) and usable(key, at)]
    return replace(consumer, entry=replace(consumer.entry, keys=tuple(found))) if found else None


def _as_recorded(decided: Decided, line: RequestLine) -> bool:
    """Whether the line says the same; limits, risk and failures are none of a rule's."""
    if line.outcome != "Denied" or line.code in _NOT_OF_RULES:
        return decided.status == 200
    return decided.status == line.status
