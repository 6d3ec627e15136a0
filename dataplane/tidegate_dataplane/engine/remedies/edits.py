"""What owners may change: the consumer's first, then the policies and the route that refuse the call."""

import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Final

from msgspec.structs import replace

from tidegate_dataplane.engine.authorize import Subject
from tidegate_dataplane.engine.claimed import standing_on
from tidegate_dataplane.engine.remedies.advice import Advice, Side
from tidegate_dataplane.engine.remedies.candidate import Candidate, by_edit
from tidegate_dataplane.engine.remedies.whatif import Situation, WhatIf, put
from tidegate_dataplane.engine.risk import request_id
from tidegate_dataplane.runtime.objects import NOBODY, Route
from tidegate_dataplane.snapshot.entries import (
    Attachment,
    AuthenticationEntry,
    ConsumerEntry,
    Effect,
    GrantEntry,
    Method,
    NetworkEntry,
    PolicyEntry,
    RouteEntry,
    RuleEntry,
    Section,
    Source,
    SubscriberEntry,
    TargetKind,
    TargetRef,
)

_EQUALS: Final = re.compile(r"consumer\.(team|tier|attributes\[['\"]([^'\"]+)['\"]\])\s*==\s*['\"]([^'\"]*)['\"]")
# Which field of a policy's entry is which section. Filled from the contract, so that a new section is not forgotten.
_FIELDS: Final = {
    Section.AUTHORIZATION: ("rules", "authorization"),
    **{
        section: (name, section.value)
        for section in Section
        for name in PolicyEntry.__struct_fields__
        if name.replace("_", "").lower() == section.value.lower()
    },
}


def changes_of_consumer(whatif: WhatIf, situation: Situation, policies: list[PolicyEntry]) -> Iterator[Candidate]:
    """Edits of the AIConsumer that calls."""
    key = situation.identity.consumer.key
    declared = whatif.runtime.consumers.get(key)
    if situation.identity is NOBODY or declared is None:
        return
    entry = situation.objects.get((ConsumerEntry, key), declared.entry)
    if not isinstance(entry, ConsumerEntry):
        return
    if entry.suspended:
        yield by_edit(situation, replace(entry, suspended=False), "resume {object} (spec.suspended: false)")
    rules = [rule for policy in policies for rule in policy.rules or ()]
    for role in dict.fromkeys(role for rule in rules if rule.effect is Effect.ALLOW for role in rule.roles):
        if role not in entry.roles:
            more = replace(entry, roles=tuple(sorted((*entry.roles, role))))
            yield by_edit(situation, more, f"give {{object}} the role {role} (spec.roles)")
    for role in dict.fromkeys(role for rule in rules if rule.effect is Effect.DENY for role in rule.roles):
        if role in entry.roles:
            less = replace(entry, roles=tuple(one for one in entry.roles if one != role))
            yield by_edit(situation, less, f"take the role {role} from {{object}} (spec.roles)")
    yield from _attributes(situation, entry, rules)


def _attributes(situation: Situation, entry: ConsumerEntry, rules: list[RuleEntry]) -> Iterator[Candidate]:
    found = [match for rule in rules for match in _EQUALS.findall(rule.when)]
    for member, attribute, value in dict.fromkeys(found):
        if attribute:
            changed = replace(entry, attributes={**entry.attributes, attribute: value})
            text = f"set the attribute {attribute} of {{object}} to '{value}' (spec.attributes)"
        else:
            changed = replace(entry, **{member: value})
            text = f"set the {member} of {{object}} to '{value}' (spec.{member})"
        if changed != entry:
            yield by_edit(situation, changed, text)


def changes_of_policies(situation: Situation, route: Route, policies: list[PolicyEntry]) -> Iterator[Candidate]:
    """Edits of the route and of the policies in force on it, the narrow ones first."""
    entry = situation.objects.get((RouteEntry, route.key), route.entry)
    if isinstance(entry, RouteEntry):
        yield from _route(situation, entry)
        if any(policy.risk is not None and policy.risk.approval is not None for policy in policies):
            yield _approved(situation, route, entry)
        if not any(policy.authentication is not None for policy in policies):
            yield _first_gate(situation, entry)
    for policy in policies:
        yield from _allow_rules(situation, policy)
    for policy in policies:
        yield from _deny_rules(situation, policy)
        yield from _methods(situation, policy)
        if policy.network is not None:
            yield from _network(situation, policy, policy.network)


def _route(situation: Situation, entry: RouteEntry) -> Iterator[Candidate]:
    namespace, key = situation.identity.consumer.namespace, situation.identity.consumer.key
    if entry.plans and key:
        yield _subscribed(situation, entry, key)
    if namespace and namespace != entry.source.namespace and namespace not in entry.allowed_namespaces:
        more = replace(entry, allowed_namespaces=(*entry.allowed_namespaces, namespace))
        yield by_edit(situation, more, f"add {namespace} to allowedNamespaces of {{object}}")


def _subscribed(situation: Situation, entry: RouteEntry, consumer: str) -> Candidate:
    """What a subscription does once it is approved; it is asked for by the consumer's side."""
    plan = entry.plans[0].name if entry.plans else ""
    name = f"{situation.identity.consumer.namespace}/{situation.identity.consumer.name}"
    more = replace(entry, subscribers=(*entry.subscribers, SubscriberEntry(name, consumer, plan)))
    route = f"AIRoute {entry.source.key}"
    text = (
        f"subscribe AIConsumer {consumer} to {route} (AISubscription, plan {plan}), and have it approved (AIApproval)"
    )
    return Candidate(Advice(Side.CONSUMER, text, route, "subscription"), put(situation, more))


def _approved(situation: Situation, route: Route, entry: RouteEntry) -> Candidate:
    """What an approver's consent to this one call does."""
    standing = standing_on(route, situation.identity)
    subject = Subject(situation.call, route, standing.consumer, standing.identity, situation.now)
    request = request_id(subject)
    grant = GrantEntry(f"{entry.source.namespace}/approval", request, int(situation.now) + 3_600)
    text = f"have this call approved (AIApproval in {entry.source.namespace} for the request {request})"
    return by_edit(situation, replace(entry, grants=(*entry.grants, grant)), text, "risk")


def _first_gate(situation: Situation, entry: RouteEntry) -> Candidate:
    """A route without any authentication section is closed: the smallest policy that opens it to this caller."""
    methods = tuple(sorted(situation.identity.methods)) or (Method.API_KEY,)
    source = Source(entry.source.namespace, f"{entry.source.name}-authentication", 1)
    policy = PolicyEntry(
        source=source,
        target_refs=(TargetRef(TargetKind.AI_ROUTE, entry.source.name),),
        authentication=AuthenticationEntry(methods=methods),
    )
    attached = replace(entry, policies=(*entry.policies, Attachment(source.key, (Section.AUTHENTICATION,))))
    text = f"attach to AIRoute {entry.source.key} an AIPolicy with authentication.methods [{', '.join(methods)}]"
    return by_edit(put(situation, attached), policy, text)


def _allow_rules(situation: Situation, policy: PolicyEntry) -> Iterator[Candidate]:
    if not any(rule.effect is Effect.ALLOW for rule in policy.rules or ()):
        return
    call, consumer = situation.call, situation.identity.consumer
    name = _free_name(policy, "allow-this")
    what = f"the model {call.model} and the operation {call.operation}"
    base = RuleEntry(name, Effect.ALLOW, models=(call.model,), operations=(call.operation,))
    for role in sorted(consumer.roles)[:3]:
        rule = replace(base, roles=(role,))
        yield _added(situation, policy, rule, f"allows the role {role} {what}")
    if not consumer.roles and consumer.key:
        when = f"consumer.namespace == '{consumer.namespace}' && consumer.name == '{consumer.name}'"
        yield _added(situation, policy, replace(base, when=when), f"allows {what} when {when}")
    elif not consumer.key:
        yield _added(situation, policy, base, f"allows {what} to everyone")


def _free_name(policy: PolicyEntry, wanted: str) -> str:
    taken = {rule.name for rule in policy.rules or ()}
    return next(name for number in range(len(taken) + 1) if (name := f"{wanted}{number or ''}") not in taken)


def _added(situation: Situation, policy: PolicyEntry, rule: RuleEntry, words: str) -> Candidate:
    changed = replace(policy, rules=(*(policy.rules or ()), rule))
    return by_edit(situation, changed, f"add to {{object}} a rule that {words}")


def _deny_rules(situation: Situation, policy: PolicyEntry) -> Iterator[Candidate]:
    rules = policy.rules or ()
    for rule in rules:
        if rule.effect is Effect.DENY:
            changed = replace(policy, rules=tuple(one for one in rules if one is not rule))
            yield by_edit(situation, changed, f"remove the rule {rule.name} (Deny) of {{object}}", rule.name)


def _methods(situation: Situation, policy: PolicyEntry) -> Iterator[Candidate]:
    section = policy.authentication
    if section is None:
        return
    for method in sorted(situation.identity.methods - frozenset(section.methods)):
        changed = replace(policy, authentication=replace(section, methods=(*section.methods, method)))
        yield by_edit(situation, changed, f"add {method} to authentication.methods of {{object}}", "authentication")
    lacking = frozenset(section.all_of) - situation.identity.methods
    if lacking:
        kept = tuple(method for method in section.all_of if method not in lacking)
        changed = replace(policy, authentication=replace(section, all_of=kept))
        words = " and ".join(sorted(lacking))
        yield by_edit(situation, changed, f"take {words} from authentication.allOf of {{object}}", "authentication")


def _network(situation: Situation, policy: PolicyEntry, section: NetworkEntry) -> Iterator[Candidate]:
    try:
        address = ip_address(situation.call.address)
    except ValueError:
        return
    denied = tuple(name for name in section.deny if _holds(name, situation.call.address))
    if denied:
        kept = tuple(name for name in section.deny if name not in denied)
        changed = replace(policy, network=replace(section, deny=kept))
        yield by_edit(situation, changed, f"remove {', '.join(denied)} from network.deny of {{object}}", "network")
    if section.allow:
        own = f"{address}/{address.max_prefixlen}"
        changed = replace(policy, network=replace(section, allow=(*section.allow, own)))
        yield by_edit(situation, changed, f"add {own} to network.allow of {{object}}", "network")


def _holds(name: str, address: str) -> bool:
    try:
        return ip_address(address) in ip_network(name, strict=False)
    except ValueError:
        return False


def without_sections(situation: Situation, policies: list[PolicyEntry]) -> Iterator[Candidate]:
    """The bluntest edits: without a whole section. Authentication stays, for without it a route is closed."""
    for policy in policies:
        for section, (field, shown) in _FIELDS.items():
            if section is not Section.AUTHENTICATION and getattr(policy, field) is not None:
                yield by_edit(situation, replace(policy, **{field: None}), f"remove {shown} from {{object}}", shown)
