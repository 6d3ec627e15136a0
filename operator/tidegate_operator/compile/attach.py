"""Pass 'attach': which policies and quotas hold for a route.

All policies of the gateway, of the route's namespace and of the route itself hold together (they only tighten). The one
exception is explicit: a section of a policy with strength Default yields to the same section of a narrower one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

from tidegate_dataplane.snapshot.entries import (
    Attachment,
    Mode,
    PolicyEntry,
    Section,
    Strength,
    TargetKind,
    TargetRef,
    Unavailable,
)
from tidegate_operator.world import ObjectKey

K = TypeVar("K")
T = TypeVar("T")


class Level(IntEnum):
    """How narrow a target is."""

    GATEWAY = 0
    NAMESPACE = 1
    ROUTE = 2


class PolicyOutline(NamedTuple):
    """What of a policy decides its attachments."""

    key: str
    strength: Strength
    mode: Mode
    sections: tuple[Section, ...]


class Attaching(NamedTuple, Generic[T]):
    """Something with target references: a policy, a quota, or the gap that one of them left."""

    namespace: str
    refs: tuple[TargetRef, ...]
    item: T


class Attached(NamedTuple):
    """The derived part of a route that comes from policies and quotas."""

    policies: tuple[Attachment, ...]
    quotas: tuple[str, ...]
    unavailable: tuple[Unavailable, ...]


@dataclass(frozen=True, slots=True)
class AttachInputs:
    """All that attachments follow from; equal inputs, equal attachments, whatever the order of the mappings."""

    platform_namespace: str
    policies: Mapping[ObjectKey, Attaching[PolicyOutline]]
    quotas: Mapping[ObjectKey, Attaching[str]]
    unavailable: Mapping[ObjectKey, Attaching[Unavailable]]


@dataclass(slots=True)
class _Index(Generic[T]):
    gateway: list[T] = field(default_factory=list)
    namespaces: dict[str, list[T]] = field(default_factory=lambda: defaultdict(list))
    routes: dict[tuple[str, str], list[T]] = field(default_factory=lambda: defaultdict(list))

    def at(self, namespace: str, name: str) -> tuple[list[T], list[T], list[T]]:
        return self.gateway, self.namespaces.get(namespace, []), self.routes.get((namespace, name), [])


class Attachments:
    """Answers what is attached to a route, and remembers its answers.

    Answers of `former`, for earlier inputs, are taken over where nothing that they follow from has changed.
    """

    def __init__(self, inputs: AttachInputs, former: "Attachments | None" = None) -> None:
        self.inputs = inputs
        platform = inputs.platform_namespace
        self._policies = _index(inputs.policies.values(), platform)
        self._quotas = _index(inputs.quotas.values(), platform)
        self._unavailable = _index(inputs.unavailable.values(), platform)
        self._answers: dict[tuple[str, str], Attached] = {}
        self._plain: dict[str, Attached] = {}
        if former is not None:
            self._take_over(former)

    def of(self, namespace: str, name: str) -> Attached:
        """What is attached to the route `namespace/name`."""
        answer = self._answers.get((namespace, name))
        if answer is None:
            answer = self._answers[(namespace, name)] = self._find(namespace, name)
        return answer

    @property
    def remembered(self) -> int:
        """Number of routes whose answer is kept."""
        return len(self._answers)

    def forget_beyond(self, count: int) -> None:
        """Drop all remembered answers when there are more than `count`: routes come and go under ever new names."""
        if len(self._answers) > count:
            self._answers.clear()

    def _take_over(self, former: "Attachments") -> None:
        pairs = (
            (self._policies, former._policies),
            (self._quotas, former._quotas),
            (self._unavailable, former._unavailable),
        )
        if any(new.gateway != old.gateway for new, old in pairs):
            return
        namespaces = {namespace for new, old in pairs for namespace in _differing(new.namespaces, old.namespaces)}
        routes = {route for new, old in pairs for route in _differing(new.routes, old.routes)}
        self._answers = {
            route: answer
            for route, answer in former._answers.items()
            if route[0] not in namespaces and route not in routes
        }

    def _find(self, namespace: str, name: str) -> Attached:
        policies = self._policies.at(namespace, name)
        quotas = self._quotas.at(namespace, name)
        unavailable = self._unavailable.at(namespace, name)
        if policies[2] or quotas[2] or unavailable[2]:
            return _attached(policies, quotas, unavailable)
        # Routes that nothing names share the answer of their namespace.
        plain = self._plain.get(namespace)
        if plain is None:
            plain = self._plain[namespace] = _attached(policies, quotas, unavailable)
        return plain


def outline(policy: PolicyEntry) -> PolicyOutline:
    """The part of a policy that decides its attachments."""
    present = (
        (Section.AUTHENTICATION, policy.authentication),
        (Section.AUTHORIZATION, policy.rules),
        (Section.RATE_LIMITS, policy.rate_limits),
        (Section.NETWORK, policy.network),
        (Section.RISK, policy.risk),
    )
    sections = tuple(section for section, value in present if value is not None)
    return PolicyOutline(policy.source.key, policy.strength, policy.mode, sections)


def _differing(new: Mapping[K, Sequence[object]], old: Mapping[K, Sequence[object]]) -> set[K]:
    return {key for key in new.keys() | old.keys() if new.get(key) != old.get(key)}


def _index(items: Iterable[Attaching[T]], platform_namespace: str) -> _Index[T]:
    index: _Index[T] = _Index()
    for attaching in items:
        refs = attaching.refs if len(attaching.refs) == 1 else tuple(dict.fromkeys(attaching.refs))
        for reference in refs:
            match reference.kind:
                case TargetKind.AI_ROUTE:
                    index.routes[(attaching.namespace, reference.name)].append(attaching.item)
                case TargetKind.NAMESPACE:
                    index.namespaces[attaching.namespace].append(attaching.item)
                case TargetKind.GATEWAY if attaching.namespace == platform_namespace:
                    index.gateway.append(attaching.item)
    return index


def _attached(
    policies: tuple[list[PolicyOutline], ...],
    quotas: tuple[list[str], ...],
    unavailable: tuple[list[Unavailable], ...],
) -> Attached:
    missing = {gap for level in unavailable for gap in level}
    return Attached(
        policies=_attach_policies(policies),
        quotas=tuple(sorted({quota for level in quotas for quota in level})),
        unavailable=tuple(sorted(missing, key=lambda gap: (gap.kind, gap.key))),
    )


def _attach_policies(levels: tuple[list[PolicyOutline], ...]) -> tuple[Attachment, ...]:
    # A policy that reaches the route in several ways counts where it is narrowest.
    narrowest = {policy: level for level, policies in zip(Level, levels, strict=True) for policy in policies}
    attachments = []
    for policy in sorted(narrowest):
        sections = policy.sections
        if policy.strength is Strength.DEFAULT:
            sections = _not_replaced(policy, narrowest)
        if sections:
            attachments.append(Attachment(policy=policy.key, sections=sections))
    return tuple(attachments)


def _not_replaced(policy: PolicyOutline, levels: dict[PolicyOutline, Level]) -> tuple[Section, ...]:
    replaced = {
        section
        for other, level in levels.items()
        if level > levels[policy] and other.mode is Mode.ENFORCE
        for section in other.sections
    }
    return tuple(section for section in policy.sections if section not in replaced)
