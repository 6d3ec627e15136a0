"""One thing that a lint found, and the view of a compiled world that lints look at. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.snapshot.entries import (
    ApprovalEntry,
    BackendEntry,
    ConsumerEntry,
    PolicyEntry,
    QuotaEntry,
    RouteEntry,
    SubscriptionEntry,
)
from tidegate_operator.compile import Compiled
from tidegate_operator.lint.codes import Code
from tidegate_operator.lint.reach import Reach
from tidegate_operator.world import Facts, Kind, ObjectKey, World

E = TypeVar("E")


class Finding(NamedTuple):
    """`field` is a path such as `spec.authorization.rules[0]`, `message` says what is so; neither repeats a value."""

    code: Code
    object: ObjectKey
    field: str
    message: str


@dataclass(frozen=True)
class View:
    """A World as one cluster serves it. Times are seconds since the epoch: `now`, and `within` after it is soon."""

    world: World
    facts: Facts
    compiled: Compiled
    runtime: Runtime
    now: float
    within: float
    reach: Reach = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reach", Reach(self.runtime, self.now))

    @cached_property
    def backends(self) -> dict[ObjectKey, BackendEntry]:
        return self._served(Kind.BACKEND, BackendEntry)

    @cached_property
    def routes(self) -> dict[ObjectKey, RouteEntry]:
        return self._served(Kind.ROUTE, RouteEntry)

    @cached_property
    def consumers(self) -> dict[ObjectKey, ConsumerEntry]:
        return self._served(Kind.CONSUMER, ConsumerEntry)

    @cached_property
    def policies(self) -> dict[ObjectKey, PolicyEntry]:
        return self._served(Kind.POLICY, PolicyEntry)

    @cached_property
    def quotas(self) -> dict[ObjectKey, QuotaEntry]:
        return self._served(Kind.QUOTA, QuotaEntry)

    @cached_property
    def subscriptions(self) -> dict[ObjectKey, SubscriptionEntry]:
        return self._served(Kind.SUBSCRIPTION, SubscriptionEntry)

    @cached_property
    def approvals(self) -> dict[ObjectKey, ApprovalEntry]:
        return self._served(Kind.APPROVAL, ApprovalEntry)

    def _served(self, kind: Kind, form: type[E]) -> dict[ObjectKey, E]:
        entries = sorted(self.compiled.served.entries.items())
        return {key: entry for key, entry in entries if key.kind is kind and isinstance(entry, form)}

    def spec(self, key: ObjectKey) -> Mapping[str, Any]:
        """The spec as its author wrote it, with defaults."""
        resource = self.world.resources.get(key)
        return {} if resource is None else resource.spec

    def item(self, key: ObjectKey, path: str, name: str) -> str:
        """`spec.authorization.rules[2]` for the list at `path` and the name of an item; the list where it has none."""
        node: Any = {"spec": self.spec(key)}
        for step in path.split("."):
            node = node.get(step) if isinstance(node, dict) else None
        for index, item in enumerate(node if isinstance(node, list) else ()):
            if isinstance(item, dict) and item.get("name") == name:
                return f"{path}[{index}]"
        return path


Lookup = Callable[[View], Iterator[Finding]]
"""A lint, or several of one subject."""
