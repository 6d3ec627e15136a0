"""What the caller itself may do otherwise: prove itself in another way, ask for something else, call later."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from itertools import islice, product
from typing import Final

from msgspec.structs import replace

from tidegate_dataplane.engine.assume import CannotAssume, assume, methods_of_consumer
from tidegate_dataplane.engine.remedies.advice import Advice, Side
from tidegate_dataplane.engine.remedies.candidate import Candidate, by_caller
from tidegate_dataplane.engine.remedies.whatif import Situation, WhatIf
from tidegate_dataplane.runtime.objects import NOBODY, Consumer, Identity, Names, Route
from tidegate_dataplane.snapshot.entries import Method, NetworkEntry, PolicyEntry

STEP_SECONDS: Final = 900
DAYS: Final = 7
_MOST: Final = 16
_HEADER: Final = re.compile(r"request\.headers\[['\"]([^'\"]+)['\"]\](?:\s*==\s*['\"]([^'\"]*)['\"])?")
# For documentation (RFC 5737, RFC 3849): they stand for "any address outside of what is denied".
_ELSEWHERE: Final = ("192.0.2.1", "2001:db8::1")


def changes_by_caller(
    whatif: WhatIf, situation: Situation, route: Route, policies: list[PolicyEntry]
) -> Iterator[Candidate]:
    """On the route that claims the call; `policies` are those in force on it."""
    yield from _other_methods(whatif, situation, policies)
    yield from _fresher_token(situation, policies)
    yield from _other_addresses(situation, policies)
    yield from _other_headers(situation, policies)
    yield from _other_models(situation, route, policies)


def other_times(situation: Situation) -> Iterator[Candidate]:
    """The same call at each quarter of an hour of the next seven days, the soonest first."""
    first = situation.now - situation.now % STEP_SECONDS + STEP_SECONDS
    for number in range(DAYS * 86_400 // STEP_SECONDS):
        at = first + number * STEP_SECONDS
        text = f"call at another time, such as {datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ (%A)}"
        yield by_caller(replace(situation, now=at), text)


def other_routes(whatif: WhatIf, situation: Situation) -> Iterator[Candidate]:
    """Where no route claims the call: what routes that the caller may know do claim."""
    call = situation.call
    namespace = situation.identity.consumer.namespace
    near = [
        route
        for route in whatif.runtime.routes.values()
        if situation.identity is NOBODY or route.admits is None or namespace in route.admits
    ]
    # Those that differ in one thing only come first: the model, the operation, or where they are called.
    near.sort(key=lambda route: (_distance(route, situation), route.key))
    for route in near[:_MOST]:
        entry = route.entry
        host = next((one.replace("*", "any", 1) for one in entry.hostnames), call.host)
        base = entry.path_prefix.rstrip("/") or "/"
        operation = call.operation if call.operation in entry.operations else entry.operations[0]
        asked = [one for one in entry.models if not one.endswith("*")] or [f"{one[:-1]}any" for one in entry.models]
        for model in dict.fromkeys([call.model, *asked[:_MOST]]):
            headers = {**call.headers, **dict(entry.headers)}
            for changed in (
                replace(call, model=model, operation=operation),
                replace(call, host=host, base=base, headers=headers, model=model, operation=operation),
            ):
                if changed != call:
                    yield by_caller(replace(situation, call=changed), _difference(situation, changed))


def _distance(route: Route, situation: Situation) -> int:
    call, entry = situation.call, route.entry
    return (
        (not Names(entry.models).match(call.model))
        + (call.operation not in entry.operations)
        + bool(entry.hostnames)
        + bool(entry.headers)
    )


def _difference(situation: Situation, changed: object) -> str:
    call = situation.call
    words = []
    for name, what in (("model", "model"), ("operation", "operation"), ("host", "host"), ("base", "path prefix")):
        value = getattr(changed, name)
        if value != getattr(call, name):
            words.append(f"{what} '{value}'")
    headers = getattr(changed, "headers", {})
    words += [f"header {name}: {value}" for name, value in headers.items() if call.headers.get(name) != value]
    return f"ask with {' and '.join(words)}"


def _other_methods(whatif: WhatIf, situation: Situation, policies: list[PolicyEntry]) -> Iterator[Candidate]:
    identity = situation.identity
    sets = _method_sets(policies)
    if identity is NOBODY:
        for consumer in islice(_callers(whatif, situation), _MOST):
            for proved in _assumed(whatif, consumer, [frozenset(methods_of_consumer(consumer)[:1]), *sets]):
                if proved is not NOBODY:
                    yield by_caller(
                        replace(situation, identity=proved), f"call as AIConsumer {consumer.key} by {_how(proved)}"
                    )
        return
    declared = whatif.runtime.consumers.get(identity.consumer.key)
    if declared is None:
        return
    has = frozenset(methods_of_consumer(declared)) | identity.methods
    for proved in _assumed(whatif, declared, [*sets, *(methods | identity.methods for methods in sets)]):
        if proved.methods == identity.methods:
            continue
        if proved.methods <= has:
            yield by_caller(replace(situation, identity=proved), f"authenticate by {_how(proved)}")
            continue
        lacking = " and ".join(sorted(proved.methods - has))
        text = f"give AIConsumer {declared.key} a credential for {lacking}, and authenticate by {_how(proved)}"
        yield Candidate(Advice(Side.CONSUMER, text, f"AIConsumer {declared.key}"), replace(situation, identity=proved))


def _method_sets(policies: list[PolicyEntry]) -> list[frozenset[Method]]:
    """What may satisfy all authentication sections: one method of each and all that are demanded, the fewest first."""
    sections = [policy.authentication for policy in policies if policy.authentication is not None]
    demanded = frozenset(method for section in sections for method in section.all_of)
    accepted = [frozenset(section.methods) - {Method.ANONYMOUS} for section in sections]
    if not accepted or not all(accepted):
        return []
    choices = islice(product(*(sorted(methods) for methods in accepted)), _MOST)
    return sorted({demanded | frozenset(choice) for choice in choices}, key=lambda one: (len(one), sorted(one)))


def _assumed(whatif: WhatIf, consumer: Consumer, sets: Iterable[frozenset[Method]]) -> Iterator[Identity]:
    for methods in dict.fromkeys(sets):
        try:
            yield assume(whatif.runtime, consumer, sorted(methods))
        except CannotAssume:
            continue


def _callers(whatif: WhatIf, situation: Situation) -> Iterator[Consumer]:
    route = whatif.route_of(situation)
    for _, consumer in sorted(whatif.runtime.consumers.items()):
        admitted = route is None or route.admits is None or consumer.namespace in route.admits
        if admitted and not consumer.entry.suspended:
            yield consumer


def _how(identity: Identity) -> str:
    return " and ".join(sorted(identity.methods))


def _fresher_token(situation: Situation, policies: list[PolicyEntry]) -> Iterator[Candidate]:
    """A token as a step-up demands it (RFC 9470)."""
    identity = situation.identity
    if not identity.vouchers:
        return
    for policy in policies:
        if policy.risk is None or policy.risk.step_up is None:
            continue
        acr = next(iter(policy.risk.acr_values), str(identity.token.get("acr", "")))
        token = {**identity.token, "acr": acr, "authTime": int(situation.now)}
        wanted = f"acr {acr}, just now" if policy.risk.acr_values else "just now"
        changed = replace(situation, identity=replace(identity, token=token, resolved={}))
        yield by_caller(changed, f"authenticate again with the identity provider ({wanted})")


def _other_addresses(situation: Situation, policies: list[PolicyEntry]) -> Iterator[Candidate]:
    networks = [policy.network for policy in policies if policy.network is not None]
    if not networks:
        return
    allowed = dict.fromkeys(name for network in networks for name in network.allow)
    for name in islice(allowed, _MOST):
        for address in _hosts_of(name, networks):
            changed = replace(situation, call=replace(situation.call, address=address))
            yield by_caller(changed, f"call from {name}, for example {address}")
    for address in _ELSEWHERE:
        changed = replace(situation, call=replace(situation.call, address=address))
        yield by_caller(changed, "call from an address that no network or list denies")


def _hosts_of(name: str, networks: list[NetworkEntry]) -> Iterator[str]:
    """One address of a network, outside of those that are denied."""
    try:
        network = ip_network(name, strict=False)
        denied = [ip_network(one, strict=False) for section in networks for one in section.deny]
    except ValueError:
        return
    last = network.num_addresses - 1
    for offset in (1, last // 2, last - 1, 0):
        address = network.network_address + min(max(offset, 0), last)
        if not any(address.version == one.version and address in one for one in denied):
            yield str(ip_address(address))
            return


def _other_headers(situation: Situation, policies: list[PolicyEntry]) -> Iterator[Candidate]:
    given = situation.call.headers
    for policy in policies:
        for rule in policy.rules or ():
            for name, value in _HEADER.findall(rule.when):
                if value and given.get(name) != value:
                    changed = replace(situation.call, headers={**given, name: value})
                    yield by_caller(replace(situation, call=changed), f"send the header {name}: {value}")
                if name in given:
                    less = {key: text for key, text in given.items() if key != name}
                    changed = replace(situation.call, headers=less)
                    yield by_caller(replace(situation, call=changed), f"leave out the header {name}")


def _other_models(situation: Situation, route: Route, policies: list[PolicyEntry]) -> Iterator[Candidate]:
    """Models and operations that a rule or the route names."""
    call = situation.call
    named = [name for policy in policies for rule in policy.rules or () for name in rule.models]
    models = [name for name in dict.fromkeys((*named, *route.entry.models)) if not name.endswith("*")]
    for model in models[:_MOST]:
        if model != call.model:
            changed = replace(call, model=model)
            yield by_caller(replace(situation, call=changed), f"ask for the model '{model}'")
    for operation in route.entry.operations:
        if operation is not call.operation:
            changed = replace(call, operation=operation)
            yield by_caller(replace(situation, call=changed), f"ask for the operation {operation}")
