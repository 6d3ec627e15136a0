"""What a decision comes to, in words that can be compared between two sides."""

from functools import lru_cache
from ipaddress import ip_network
from typing import NamedTuple

from msgspec.structs import replace

from tidegate_dataplane.engine.assume import CannotAssume, assume, methods_of_consumer
from tidegate_dataplane.engine.by_target import targets_of
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.engine.decision import Decision, Denial, methods_of
from tidegate_dataplane.engine.limits import Limit, limits_of
from tidegate_dataplane.engine.network import refused
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import NOBODY, Consumer, Identity, Network, Route, Target
from tidegate_dataplane.snapshot.entries import KeyEntry, Method
from tidegate_operator.difference.slots import Slot

ALLOWED = 200
NO_CREDENTIAL = "no_credential"
_ELSEWHERE = ("192.0.2.1", "2001:db8::1", "10.0.0.1", "172.16.0.1")


class Outcome(NamedTuple):
    """What becomes of a call: `status` 200 and what it may do then, else why not.

    `code` and `rule` (`AIPolicy team-a/rules rule no-nights`; "" where it is the route that refuses) are of a refusal,
    the others of a call that is let in. `methods` are the ways to prove oneself that do. `targets` are those that rules
    leave, where they leave out some. `shadow` are rules of Shadow policies that would refuse.
    """

    status: int
    code: str = ""
    rule: str = ""
    methods: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    targets: tuple[str, ...] = ()
    shadow: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        return self.status == ALLOWED

    def __str__(self) -> str:
        """Such as `403 permission_denied by AIPolicy team-a/rules rule no-nights`."""
        if self.allowed:
            return f"allowed by {' or '.join(self.methods)}"
        if self.code == NO_CREDENTIAL:
            return "it has no credential that works"
        return f"{self.status} {self.code}{f' by {self.rule}' if self.rule else ''}"


WITHOUT_CREDENTIAL = Outcome(401, NO_CREDENTIAL)


def outcome(runtime: Runtime, slot: Slot, who: tuple[Identity, ...], now: float, address: str | None) -> Outcome:
    """What becomes of the calls of one consumer, by whatever it can prove.

    `address` None: from wherever the policies of the route let in calls, if there is such a place.
    """
    if not who:
        return WITHOUT_CREDENTIAL
    call = slot.call(favourable_address(runtime, slot.taken_by(runtime)) if address is None else address)
    denial: Denial | None = None
    allowed: dict[str, Decision] = {}
    for identity in who:
        decision = decide_for(runtime, call, identity, now)
        if decision.denial is None:
            allowed[methods_of(identity)] = decision
        elif denial is None:
            denial = decision.denial
    if allowed:
        return _let_in(tuple(allowed), next(iter(allowed.values())), now)
    return _refused(denial) if denial is not None else WITHOUT_CREDENTIAL


def _let_in(methods: tuple[str, ...], decision: Decision, now: float) -> Outcome:
    return Outcome(
        status=ALLOWED,
        methods=methods,
        limits=tuple(replace(limit, scope="") for limit in limits_of(decision, now)),
        targets=() if decision.tiers is None else tuple(map(_target, targets_of(decision.tiers))),
        shadow=tuple(map(str, decision.shadow)),
    )


def _refused(denial: Denial) -> Outcome:
    rule = denial.rule
    return Outcome(denial.status, denial.code, "" if rule is None or rule.kind == "AIRoute" else str(rule))


def _target(target: Target) -> str:
    return f"{target.backend.key} {target.model or '(as asked)'}"


def identities_of(runtime: Runtime, consumer: Consumer | None, now: float) -> tuple[Identity, ...]:
    """All that a consumer can prove at that time: each of its methods, and all of them together; None is nobody.

    A key that is revoked, expired or not yet in force proves nothing; one whose hash is not known (its Secret is not
    among the manifests) is taken to work.
    """
    if consumer is None:
        return (NOBODY,)
    entry = consumer.entry
    keys = tuple(key for key in entry.keys if usable(key, now))
    if len(keys) < len(entry.keys):
        consumer = replace(consumer, entry=replace(entry, keys=keys))
    own = methods_of_consumer(consumer)
    together = [own] if len(own) > 1 and not {Method.JWT, Method.INTROSPECTION} <= set(own) else []
    found: list[Identity] = []
    for methods in [*((method,) for method in own), *together]:
        try:
            found.append(assume(runtime, consumer, methods))
        except CannotAssume:
            continue
    return tuple(found)


def usable(key: KeyEntry, now: float) -> bool:
    """Whether a key works at that time; also while only the one that it replaced does."""
    before = key.previous and key.previous_until is not None and now < key.previous_until
    if key.revoked:
        return False
    begun = key.not_before is None or key.not_before <= now
    return bool(before) or (begun and (key.not_after is None or now < key.not_after))


def favourable_address(runtime: Runtime, route: Route | None) -> str:
    """An address from which the policies of the route let in calls; where there is none, one that is refused."""
    if route is None or not route.guard.networks:
        return ""
    candidates = _candidates(route.guard.networks)
    networks, lists = route.guard.networks, runtime.lists
    return next((one for one in candidates if refused(networks, one, lists) is None), candidates[0])


@lru_cache(maxsize=1024)
def _candidates(networks: tuple[Network, ...]) -> tuple[str, ...]:
    """The first address of each network that is allowed, and those just beyond each that is denied."""
    found = [str(ip_network(text)[0]) for network in networks for text in network.entry.allow]
    for network in networks:
        for text in network.entry.deny:
            denied = ip_network(text)
            for neighbour in (int(denied.broadcast_address) + 1, int(denied.network_address) - 1):
                if 0 <= neighbour < 1 << denied.max_prefixlen:
                    found.append(str(type(denied.network_address)(neighbour)))
    return (*found, *_ELSEWHERE)
