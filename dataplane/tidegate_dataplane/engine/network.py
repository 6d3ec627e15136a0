"""From where callers may come, and which keys and tokens are known to have leaked.

Policies only tighten: what one denies is refused, and each that allows networks must have the caller's among them. An
address that cannot be read is in no network.
"""

from typing import Final

from msgspec import Struct

from tidegate_dataplane.engine.decision import Step, Verdict
from tidegate_dataplane.runtime.lists import AddressList, Lists
from tidegate_dataplane.runtime.objects import Identity, Leaks, Network, RuleRef
from tidegate_dataplane.snapshot.records import address_number

# The same callers come from the same addresses again and again; beyond so many, all are forgotten.
_REMEMBERED: Final = 32_768
_MAX_ADDRESS: Final = 64


class Refusal(Struct, frozen=True, gc=False):
    """What refuses: the policy with the part of its section, and why, in words for operators only."""

    ref: RuleRef
    saw: str


def refused(networks: tuple[Network, ...], address: str, lists: Lists) -> Refusal | None:
    """Why callers at `address` may not come in, None when they may. The answer is remembered with `lists`."""
    remembered: dict[object, Refusal | None] = lists.remembered
    asked = networks, address
    try:
        return remembered[asked]
    except KeyError:
        found = next((no for network in networks if (no := _judge(network, address, lists))), None)
    if len(address) <= _MAX_ADDRESS:
        _remember(remembered, asked, found)
    return found


def leaked(sections: tuple[Leaks, ...], identity: Identity, lists: Lists) -> Refusal | None:
    """Which list names a key or token of the caller, None when none does. The answer is remembered with `lists`."""
    remembered: dict[object, Refusal | None] = lists.remembered
    asked = sections, identity.digests
    try:
        return remembered[asked]
    except KeyError:
        found = _find_leak(sections, identity, lists)
    _remember(remembered, asked, found)
    return found


def _remember(remembered: dict[object, Refusal | None], asked: object, found: Refusal | None) -> None:
    if len(remembered) >= _REMEMBERED:
        remembered.clear()
    remembered[asked] = found


def _find_leak(sections: tuple[Leaks, ...], identity: Identity, lists: Lists) -> Refusal | None:
    for section in sections:
        for key in section.lists:
            for digest in identity.digests:
                if lists.contains_digest(key, digest):
                    ref = _part(section.ref, f"authentication.leakedKeys {key}")
                    return Refusal(ref, f"the key or token is on the list {key}")
    return None


def note_networks(
    trace: list[Step], networks: tuple[Network, ...], address: str, lists: Lists, *, shadow: bool = False
) -> None:
    """A step for each network section, whatever the others said."""
    for network in networks:
        refusal = _judge(network, address, lists)
        saw = f"{_shown(address)} is {_admitted(network, address)}" if refusal is None else refusal.saw
        _note(trace, "network", network.ref if refusal is None else refusal.ref, saw, refusal, shadow=shadow)


def note_leaks(
    trace: list[Step], sections: tuple[Leaks, ...], identity: Identity, lists: Lists, *, shadow: bool = False
) -> None:
    """A step for each section that names lists of leaked keys."""
    for section in sections:
        refusal = _find_leak((section,), identity, lists)
        saw = f"no key or token is on {_names(section)}" if refusal is None else refusal.saw
        _note(trace, "leakedKeys", section.ref if refusal is None else refusal.ref, saw, refusal, shadow=shadow)


def _judge(network: Network, address: str, lists: Lists) -> Refusal | None:
    number = address_number(address)
    if number is None:
        if network.allow is None:
            return None
        return Refusal(_part(network.ref, "network.allow"), f"{_shown(address)} cannot be read, so nothing allows it")
    if network.deny is not None and network.deny.covers(number):
        within = _covering(network.entry.deny, number)
        return Refusal(_part(network.ref, "network.deny"), f"{_shown(address)} is in {within} of network.deny")
    for key in network.lists:
        if lists.covers(key, number):
            ref = _part(network.ref, f"network.denyLists {key}")
            return Refusal(ref, f"{_shown(address)} is on the list {key} of network.denyLists")
    if network.allow is not None and not network.allow.covers(number):
        allowed = ", ".join(network.entry.allow[:8]) + (" and more" if len(network.entry.allow) > 8 else "")
        ref = _part(network.ref, "network.allow")
        return Refusal(ref, f"{_shown(address)} is in none of the networks of network.allow ({allowed})")
    return None


def _admitted(network: Network, address: str) -> str:
    number = address_number(address)
    if network.allow is None or number is None:
        return "neither in network.deny nor on its lists"
    return f"in {_covering(network.entry.allow, number)} of network.allow"


def _covering(networks: tuple[str, ...], number: int) -> str:
    return next((text for text in networks if AddressList.of((text,)).covers(number)), "one")


def _names(section: Leaks) -> str:
    return ", ".join(map(str, section.lists))


def _shown(address: str) -> str:
    return f"'{address[:_MAX_ADDRESS]}'" if address else "a caller without an address"


def _part(ref: RuleRef, part: str) -> RuleRef:
    return RuleRef(ref.kind, ref.key, ref.generation, part)


def _note(trace: list[Step], stage: str, ref: RuleRef, saw: str, refusal: Refusal | None, *, shadow: bool) -> None:
    verdict = Verdict.ACCEPTED if refusal is None else Verdict.DENIED
    trace.append(Step(stage, f"{ref.kind} {ref.key}", ref.generation, ref.rule, saw, verdict, shadow))
