"""What a decision on a route can depend on: calls and consumers that are alike in that are decided alike.

Exact, and not a guess: expressions name every member that they read on the spot (see expressions/references.py).
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from tidegate_dataplane.expressions import EvaluationError, Program
from tidegate_dataplane.expressions.environment import NOW, RULE_ROOTS
from tidegate_dataplane.expressions.references import Read, find_references
from tidegate_dataplane.runtime.objects import Guard, Names, Quota, Route, Rule

_ASKED = ("model", "operation")
_PROVIDED_BY_CALLER = ("headers", "proxyHeaders", "address", "peer", "bodyBytes")


class Profile(NamedTuple):
    """What is looked at. `roles` None: all of them; `attributes` None: all of them.

    `members` are of the consumer, such as team. `request` holds members of the request. `whole`: of risk and approvals,
    everything may count. `scopes` tells whether a quota gives more to the counter of somebody.

    Of what `of_consumer` (expressions that read the consumer alone), `of_model` (the model and the operation alone) and
    `models` look at only their answers count, and not every name makes a class of its own.
    """

    roles: frozenset[str] | None
    attributes: frozenset[str] | None
    members: frozenset[str]
    request: frozenset[str]
    route: bool
    leaks: bool
    whole: bool
    scopes: bool
    of_consumer: tuple[Program, ...] = ()
    of_model: tuple[Program, ...] = ()
    models: tuple[Names, ...] = ()


def profile_of(route: Route) -> Profile:
    """The profile of a route: of its policies and of its quotas."""
    return _profile(route.guard, route.shadow, (*route.quotas, *route.per_call, *route.per_backend))


@lru_cache(maxsize=8192)
def _profile(guard: Guard, shadow: Guard | None, quotas: tuple[Quota, ...]) -> Profile:
    guards = (guard,) if shadow is None else (guard, shadow)
    rules = [rule for one in guards for rule in rules_of(one)]
    programs = [rule.program for rule in rules if rule.program is not None]
    alone = {program: _alone(program) for program in programs}
    mixed = [program.source for program in programs if alone[program] is None]
    reads = [read for source in mixed for read in reads_of(source)]
    of_consumer = {read.member: read.keys for read in reads if read.root == "consumer"}
    members = set(of_consumer) - {"roles", "attributes", "methods", "plan", "namespace"}
    roles = frozenset[str]().union(*(rule.roles for rule in rules if rule.roles is not None))
    request = {read.member for read in reads if read.root == "request"}
    if any(one.by_target for one in guards):
        request.add("model")
    if any(rule.operations is not None for rule in rules):
        request.add("operation")
    if any(one.tiers or any(limit.tier_amounts for limit in one.limits) for one in quotas):
        members.add("tier")
    if any(one.teams for one in quotas):
        members.add("team")
    return Profile(
        roles=None if "roles" in of_consumer else roles,
        attributes=_attributes(reads),
        members=frozenset(members),
        request=frozenset(request),
        route=any(read.root == "route" for read in reads),
        leaks=any(one.leaks for one in guards),
        whole=any(one.risks for one in guards),
        scopes=any(extra.scope for one in quotas for limit in one.limits for extra in limit.extras),
        of_consumer=tuple(program for program in alone if alone[program] == "consumer"),
        of_model=tuple(program for program in alone if alone[program] == "request"),
        models=tuple(dict.fromkeys(rule.models for rule in rules if rule.models is not None)),
    )


def _alone(program: Program) -> str | None:
    """The variable on which an expression depends alone; None where it looks at more than that."""
    reads = reads_of(program.source)
    roots = {read.root for read in reads}
    if roots <= {"consumer"} and not any(read.member in ("methods", "plan") for read in reads):
        return "consumer"
    return "request" if all(read.root == "request" and read.member in _ASKED for read in reads) else None


def answer(program: Program, variables: dict[str, object]) -> bool | None:
    """What an expression that needs only these variables comes to; None: it has no value."""
    try:
        return program.evaluate(variables)
    except EvaluationError:
        return None


def _attributes(reads: Iterable[Read]) -> frozenset[str] | None:
    found: set[str] = set()
    for read in reads:
        if (read.root, read.member) == ("consumer", "attributes"):
            if read.keys is None:
                return None
            found |= read.keys
    return frozenset(found)


def rules_of(guard: Guard) -> Iterator[Rule]:
    """All authorization rules of a guard."""
    yield from guard.deny
    for _, rules in guard.allow:
        yield from rules


def expressions_of(guard: Guard) -> Iterator[str]:
    """The expressions that decide on a route (those of quotas' keys choose a counter, and decide nothing)."""
    for rule in rules_of(guard):
        if rule.program is not None:
            yield rule.program.source
    for risk in guard.risks:
        for signal in risk.signals:
            if signal.program is not None:
                yield signal.program.source


@lru_cache(maxsize=4096)
def reads_of(source: str) -> tuple[Read, ...]:
    """What an expression reads."""
    return find_references(source, RULE_ROOTS).reads


def depends_on(source: str) -> tuple[str, ...]:
    """What of an expression no manifest tells: the time, and members of the request that its caller sends."""
    found: dict[str, None] = {}
    for read in reads_of(source):
        if read.root in (NOW, "token"):
            found[read.root] = None
        elif read.root == "request" and read.member in _PROVIDED_BY_CALLER:
            found[f"request.{read.member}"] = None
    return tuple(found)
