"""Whether the rules of the attached policies let a call in.

Policies only tighten: one Deny rule that matches refuses, and of every policy that has Allow rules one must match. An
expression without a truth value lets nobody in: an Allow rule does not match, a Deny rule does.
"""

from functools import lru_cache
from typing import Any

from msgspec import Struct

from tidegate_dataplane.engine.attributes import attributes_of
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.claimed import standing_on
from tidegate_dataplane.engine.decision import Step, Verdict
from tidegate_dataplane.engine.gates import BY_TOKEN
from tidegate_dataplane.expressions import EvaluationError, Program
from tidegate_dataplane.expressions.environment import BACKEND
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.lists import NO_LISTS, Lists
from tidegate_dataplane.runtime.objects import (
    NO_TOKEN,
    Consumer,
    Guard,
    Identity,
    Route,
    Rule,
    RuleRef,
    Subscriber,
    Tier,
)
from tidegate_dataplane.snapshot.entries import Effect, Method


class Subject(Struct, gc=False):
    """A call on a route by a consumer, as rules see it; `variables` is made when an expression first asks for it.

    Rules that look at the backend need it among the variables: see by_target.py.
    """

    call: Call
    route: Route
    consumer: Consumer
    identity: Identity
    now: float
    lists: Lists = NO_LISTS
    made: dict[str, Any] | None = None
    subscription: Subscriber | None = None
    # The targets that the rules leave, when they leave out some.
    tiers: tuple[Tier, ...] | None = None
    # The views of the caller, where its token is not one thing to all (see claimed.py); else none.
    views: tuple["Subject", ...] = ()

    @property
    def seen(self) -> tuple["Subject", ...]:
        """All that rules and signals are to be asked about."""
        return self.views or (self,)

    @property
    def plan(self) -> str:
        """The plan that the consumer has subscribed to, "" where none is needed."""
        return "" if self.subscription is None else self.subscription.plan.name

    @property
    def _methods(self) -> frozenset[Method]:
        identity = self.identity
        # A token that does not count here proves nothing to rules.
        return identity.methods - BY_TOKEN if identity.vouchers and identity.token is NO_TOKEN else identity.methods

    @property
    def variables(self) -> dict[str, Any]:
        if self.made is None:
            call = self.call
            self.made = {
                "request": {
                    "model": call.model,
                    "operation": call.operation.value,
                    "path": call.path,
                    "host": call.host,
                    "headers": call.headers,
                    "address": call.address,
                    "peer": call.peer,
                    "proxyHeaders": call.proxy_headers,
                    "bodyBytes": call.body_bytes,
                },
                "consumer": {
                    **self.consumer.variables,
                    "plan": self.plan,
                    "methods": _method_names(self._methods),
                },
                "token": self.identity.token,
                "route": self.route.variables,
                "now": self.now,
            }
        return self.made


def subject_of(runtime: Runtime, call: Call, route: Route, identity: Identity, now: float) -> Subject:
    """What the rules of a route are asked about a call."""
    if not identity.vouchers and not identity.alternatives:
        return Subject(call, route, identity.consumer, identity, now, runtime.lists)
    standing = standing_on(route, identity)
    views = tuple([Subject(call, route, consumer, one, now, runtime.lists) for one, consumer in standing.views])
    return Subject(call, route, standing.consumer, standing.identity, now, runtime.lists, views=views)


@lru_cache(maxsize=256)
def _method_names(methods: frozenset[Method]) -> tuple[str, ...]:
    """One tuple for each set: programs compare by identity."""
    return tuple(sorted(method.value for method in methods))


class Ruling(Struct, frozen=True, gc=False):
    """What the rules came to: `refused` names the rule (or the policy without a matching Allow rule), `allowed` the
    last Allow rule that was needed and matched."""

    refused: RuleRef | None
    allowed: RuleRef | None


_OPEN = Ruling(None, None)


def authorize(guard: Guard, subject: Subject, trace: list[Step] | None = None, *, shadow: bool = False) -> Ruling:
    """The first refusal, or the rule that let in. For guards none of whose rules looks at the backend."""
    for rule in guard.deny:
        if matches(rule, subject, trace, shadow):
            return Ruling(rule.ref, None)
    if not guard.allow:
        return _OPEN
    allowed: RuleRef | None = None
    for policy, rules in guard.allow:
        for rule in rules:
            if matches(rule, subject, trace, shadow):
                allowed = rule.ref
                break
        else:
            if trace is not None:
                saw = "none of its Allow rules matches"
                trace.append(Step("authorization", str(policy), policy.generation, "", saw, Verdict.DENIED, shadow))
            return Ruling(policy, None)
    return Ruling(None, allowed)


def matches(rule: Rule, subject: Subject, trace: list[Step] | None, shadow: bool) -> bool:
    """Whether all that the rule names matches; a Deny rule also when its expression has no value.

    Of several views of the caller, one is enough for a Deny rule; an Allow rule must match in all.
    """
    if subject.views:
        return _in_views(rule, subject, trace, shadow)
    if trace is not None:
        return _traced(rule, subject, trace, shadow)
    return _cheap(rule, subject) and (rule.program is None or _holds(rule, subject))


def _in_views(rule: Rule, subject: Subject, trace: list[Step] | None, shadow: bool) -> bool:
    decisive = rule.effect is Effect.DENY
    steps: list[Step] = []
    for view in subject.views:
        if trace is not None:
            steps = []
        if matches(rule, view, None if trace is None else steps, shadow) is decisive:
            break
    else:
        decisive = not decisive
    if trace is not None:
        trace.extend(steps)
    return decisive


def _cheap(rule: Rule, subject: Subject) -> bool:
    if rule.roles is not None and rule.roles.isdisjoint(subject.consumer.roles):
        return False
    if rule.operations is not None and subject.call.operation not in rule.operations:
        return False
    if rule.models is not None and not rule.models.match(subject.call.model):
        return False
    return rule.versions is None or rule.versions.match(subject.variables[BACKEND]["version"])


def _holds(rule: Rule, subject: Subject) -> bool:
    program = rule.program
    if program is None:
        return True
    try:
        return program.evaluate(subject.variables)
    except EvaluationError:
        return rule.effect is Effect.DENY


def _traced(rule: Rule, subject: Subject, trace: list[Step], shadow: bool) -> bool:
    found = _cheap(rule, subject) and _holds(rule, subject)
    saw, verdict = _saw(rule, subject, found)
    trace.append(
        Step(
            "authorization", f"{rule.ref.kind} {rule.ref.key}", rule.ref.generation, rule.ref.rule, saw, verdict, shadow
        )
    )
    return found


def _saw(rule: Rule, subject: Subject, matches: bool) -> tuple[str, Verdict]:
    call, consumer = subject.call, subject.consumer
    if rule.roles is not None and rule.roles.isdisjoint(consumer.roles):
        return f"the caller has {_list(consumer.roles)}, the rule names {_list(rule.roles)}", Verdict.NO_MATCH
    if rule.operations is not None and call.operation not in rule.operations:
        return f"operation {call.operation} is not among {_list(rule.operations)}", Verdict.NO_MATCH
    if rule.models is not None and not rule.models.match(call.model):
        return f"model '{call.model}' is not among the rule's", Verdict.NO_MATCH
    if rule.versions is not None and not rule.versions.match(subject.variables[BACKEND]["version"]):
        return f"version '{subject.variables[BACKEND]['version']}' is not among the rule's", Verdict.NO_MATCH
    verdict = Verdict.NO_MATCH
    if matches:
        verdict = Verdict.DENIED if rule.effect is Effect.DENY else Verdict.ACCEPTED
    if rule.program is None:
        return "all conditions hold", verdict
    try:
        value = rule.program.evaluate(subject.variables)
    except EvaluationError as error:
        saw = f"({rule.program.source}) has no value: {error}"
        return _with_attributes(saw, rule.program, subject), Verdict.DENIED if matches else Verdict.ERROR
    return _with_attributes(f"({rule.program.source}) is {str(value).lower()}", rule.program, subject), verdict


def _with_attributes(saw: str, program: Program, subject: Subject) -> str:
    attributes = attributes_of(program.source, subject.variables)
    return f"{saw}; {attributes}" if attributes else saw


def _list(names: frozenset[Any]) -> str:
    return f"[{', '.join(sorted(str(name) for name in names))}]"
