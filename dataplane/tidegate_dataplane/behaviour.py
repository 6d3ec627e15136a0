"""What a data plane has seen of its callers: from where, when and for what each consumer calls.

Only routes whose policies weigh risk are remembered. Memory is bounded: of consumers and addresses the ones seen last
stay, of each consumer so many networks, countries and models. What was seen is lost with the process; the signals that
ask for what is new begin only when enough has been seen again.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, TypeVar

from msgspec import Struct

from tidegate_dataplane.engine.admit import address_scope
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decision import Decision, Risk, RiskOutcome
from tidegate_dataplane.expressions.clock import time_zone
from tidegate_dataplane.runtime.objects import RiskSection, Route
from tidegate_dataplane.snapshot.entries import SignalKind

MAX_CONSUMERS: Final = 50_000
MAX_ADDRESSES: Final = 20_000
MAX_PENDING: Final = 1_000
MAX_USED: Final = 100_000
_MAX_NETWORKS: Final = 64
_MAX_COUNTRIES: Final = 16
_MAX_MODELS: Final = 64
_MAX_PERIODS: Final = 8
# Failures are counted in slots of so many seconds, for at most a day.
_SLOT: Final = 10
_MAX_SLOTS: Final = 512
_DAY: Final = 86_400

K = TypeVar("K")
V = TypeVar("V")


class _Window(Struct):
    """Counts over a sliding period by two fixed windows: the one before counts by the part that still overlaps."""

    number: int = 0
    before: int = 0
    count: int = 0

    def add(self, number: int) -> None:
        self._move(number)
        self.count += 1

    def total(self, now: float, period: float) -> float:
        self._move(int(now // period))
        return self.count + self.before * (1 - now % period / period)

    def _move(self, number: int) -> None:
        if number > self.number:
            self.before = self.count if number == self.number + 1 else 0
            self.count = 0
            self.number = number


class _Profile(Struct):
    """One consumer: sets that forget what was not seen for longest, and hours of the day by time zone."""

    calls: int = 0
    networks: dict[str, None] = {}
    countries: dict[str, None] = {}
    models: dict[str, None] = {}
    hours: dict[str, int] = {}
    windows: dict[float, _Window] = {}


class Pending(Struct, frozen=True, rename="camel"):
    """A call that waits for an approval; `first` and `last` are the seconds at which it was refused."""

    request: str
    consumer: str
    route: str
    operation: str
    model: str
    address: str
    risk: Risk
    first: float
    last: float
    times: int = 1


class Behaviour:
    """Remembers; answers what `engine.risk.Observed` asks. Belongs to one event loop."""

    def __init__(self) -> None:
        self._profiles: OrderedDict[str, _Profile] = OrderedDict()
        self._failures: OrderedDict[str, dict[int, int]] = OrderedDict()
        self._used: OrderedDict[str, float] = OrderedDict()
        self._pending: OrderedDict[str, Pending] = OrderedDict()

    def calls(self, consumer: str) -> int:
        return self._ask(consumer, lambda profile: profile.calls, 0)

    def knows_address(self, consumer: str, address: str) -> bool:
        return self._ask(consumer, lambda profile: network_of(address) in profile.networks, False)

    def knows_country(self, consumer: str, country: str) -> bool:
        return self._ask(consumer, lambda profile: bool(country) and country in profile.countries, False)

    def knows_model(self, consumer: str, model: str) -> bool:
        return self._ask(consumer, lambda profile: model in profile.models, False)

    def usual_hour(self, consumer: str, zone: str, now: float) -> bool:
        return self._ask(consumer, lambda profile: bool(profile.hours.get(zone, 0) >> _hour(zone, now) & 1), False)

    def recent_calls(self, consumer: str, period: float, now: float) -> int:
        profile = self._profiles.get(consumer)
        window = None if profile is None else profile.windows.get(period)
        return 0 if window is None else int(window.total(now, period))

    def recent_failures(self, address: str, period: float, now: float) -> int:
        slots = self._failures.get(address_scope(address), {})
        since = int(now - period) // _SLOT
        return sum(count for slot, count in slots.items() if slot > since)

    def used(self, grant: str) -> bool:
        return grant in self._used

    @property
    def pending(self) -> list[Pending]:
        """Calls that wait for an approval, the latest first."""
        return list(reversed(self._pending.values()))

    def failed(self, address: str, now: float) -> None:
        """An authentication from this address failed."""
        slots = _touch(self._failures, address_scope(address), dict[int, int], MAX_ADDRESSES)
        slot = int(now) // _SLOT
        slots[slot] = slots.get(slot, 0) + 1
        if len(slots) > _MAX_SLOTS:
            oldest = int(now - _DAY) // _SLOT
            for old in [each for each in slots if each < oldest] or [min(slots)]:
                del slots[old]

    def learn(self, call: Call, decision: Decision, now: float) -> None:
        """Take in a decision of a route that weighs risk; to be called once for each, before the next is made."""
        risk, consumer, route = decision.risk, decision.consumer, decision.route
        if risk is None or consumer is None or route is None:
            return
        sections = _sections(route)
        profile = _touch(self._profiles, consumer.key, _Profile, MAX_CONSUMERS)
        _count_calls(profile, sections, now)
        if decision.denial is None:
            _remember(profile, sections, call, now)
        elif risk.outcome is RiskOutcome.APPROVAL:
            self._hold(consumer.key, route.key, call, risk, now)
        if decision.grant:
            self._pending.pop(risk.request, None)

    def use(self, grant: str, now: float) -> None:
        """This approval has let its call through."""
        self._used[grant] = now
        if len(self._used) > MAX_USED:
            self._used.popitem(last=False)

    def _hold(self, consumer: str, route: str, call: Call, risk: Risk, now: float) -> None:
        known = self._pending.pop(risk.request, None)
        self._pending[risk.request] = Pending(
            request=risk.request,
            consumer=consumer,
            route=route,
            operation=call.operation,
            model=call.model,
            address=call.address,
            risk=risk,
            first=now if known is None else known.first,
            last=now,
            times=1 if known is None else known.times + 1,
        )
        if len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)

    def _ask(self, consumer: str, question: Callable[[_Profile], V], otherwise: V) -> V:
        profile = self._profiles.get(consumer)
        return otherwise if profile is None else question(profile)


def network_of(address: str) -> str:
    """What counts as one place: of IPv4 the /24, for providers hand addresses around in it; of IPv6 the /64."""
    scope = address_scope(address)
    return scope if ":" in scope else scope.rpartition(".")[0]


def _sections(route: Route) -> tuple[RiskSection, ...]:
    return route.guard.risks if route.shadow is None else (*route.guard.risks, *route.shadow.risks)


def _count_calls(profile: _Profile, sections: Iterable[RiskSection], now: float) -> None:
    periods = {signal.period for section in sections for signal in section.signals if signal.kind is SignalKind.BURST}
    for period in periods:
        window = profile.windows.get(period)
        if window is None:
            if len(profile.windows) >= _MAX_PERIODS:
                profile.windows.pop(next(iter(profile.windows)))
            window = profile.windows[period] = _Window()
        window.add(int(now // period))


def _remember(profile: _Profile, sections: Iterable[RiskSection], call: Call, now: float) -> None:
    profile.calls += 1
    _put(profile.networks, network_of(call.address), _MAX_NETWORKS)
    _put(profile.models, call.model, _MAX_MODELS)
    for section in sections:
        for signal in section.signals:
            if signal.kind is SignalKind.NEW_COUNTRY and (country := call.proxy_headers.get(signal.header, "")):
                _put(profile.countries, country[:16], _MAX_COUNTRIES)
            elif signal.kind is SignalKind.UNUSUAL_HOUR:
                profile.hours[signal.zone] = profile.hours.get(signal.zone, 0) | 1 << _hour(signal.zone, now)


def _put(seen: dict[str, None], value: str, most: int) -> None:
    """Move to the end; what was not seen for longest stands first and goes."""
    seen.pop(value, None)
    seen[value] = None
    if len(seen) > most:
        del seen[next(iter(seen))]


def _touch(table: OrderedDict[K, V], key: K, make: Callable[[], V], most: int) -> V:
    value = table.get(key)
    if value is None:
        value = table[key] = make()
        if len(table) > most:
            table.popitem(last=False)
    else:
        table.move_to_end(key)
    return value


def _hour(zone: str, now: float) -> int:
    return datetime.fromtimestamp(now, time_zone(zone)).hour
