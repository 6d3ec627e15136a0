"""The effect of a change, as it is written out: the structs are the JSON form (docs/reference/diff.md)."""

from msgspec import Struct


class Consumers(Struct, frozen=True, rename="camel"):
    """Who is concerned. `label` is for people; `names` are object keys, "" is a caller without a credential."""

    label: str
    count: int
    names: tuple[str, ...]


class RouteCalls(Struct, frozen=True, rename="camel"):
    """Calls of a route. `hosts` is empty where all of its hosts are concerned."""

    route: str
    models: tuple[str, ...]
    operations: tuple[str, ...]
    hosts: tuple[str, ...] = ()


class AccessChange(Struct, frozen=True, rename="camel"):
    """What becomes of calls otherwise. `kind` is Gains, Loses, RefusedOtherwise, Methods, Targets or Shadow."""

    kind: str
    consumers: Consumers
    calls: tuple[RouteCalls, ...]
    before: str
    after: str


class LimitChange(Struct, frozen=True, rename="camel"):
    """A limit that counts the calls of consumers who may call before and after. "" where there is none."""

    object: str
    name: str
    before: str
    after: str
    consumers: Consumers
    routes: tuple[str, ...]


class RouteMove(Struct, frozen=True, rename="camel"):
    """Calls that another route takes. `shadowed`: the one that took them is still there."""

    before: str
    after: str
    models: tuple[str, ...]
    operations: tuple[str, ...]
    hosts: tuple[str, ...]
    shadowed: bool


class FieldChange(Struct, frozen=True, rename="camel"):
    """One field, such as `spec.targets[openai-eu gpt-4o].weight`. "" where it is not there."""

    field: str
    before: str
    after: str


class ObjectChange(Struct, frozen=True, rename="camel"):
    """Objects in force that come (`Added`), go (`Removed`) or are `Changed` in the same way.

    `routes` are those on which policies, quotas and backends act.
    """

    kind: str
    change: str
    objects: tuple[str, ...]
    fields: tuple[FieldChange, ...]
    routes: tuple[str, ...] = ()


class Refusal(Struct, frozen=True, rename="camel"):
    """An object or file that is not taken as it is written. `reason` is the condition's.

    `serves` says what is in force instead: `LastGoodForm`, `Nothing`, or `Rest` (all but what is not found).
    """

    object: str
    field: str
    reason: str
    message: str
    serves: str


class Conditional(Struct, frozen=True, rename="camel"):
    """A changed rule that decides by what no manifest tells, so that trying calls cannot show all that it does."""

    object: str
    rule: str
    depends_on: tuple[str, ...]
    before: str
    after: str


class Example(Struct, frozen=True, rename="camel"):
    """A recorded request."""

    request_id: str
    time: str
    consumer: str
    model: str


class ReplayedChange(Struct, frozen=True, rename="camel"):
    """Recorded requests that would be decided otherwise, in the same way."""

    requests: int
    before: str
    after: str
    route: str
    examples: tuple[Example, ...]


class Replay(Struct, frozen=True, rename="camel"):
    """What would have become of recorded requests.

    `requests` were read, `decided` on both sides, of which `differing` differ. `undecided` says why others could not
    be, `assumed` what was taken for granted, each with a count. `foreign` lines are none of an audit log's, `torn` are
    not complete, `lost` records were never written.
    """

    requests: int
    decided: int
    differing: int
    changes: tuple[ReplayedChange, ...]
    undecided: dict[str, int]
    assumed: dict[str, int]
    not_as_recorded: int = 0
    foreign: int = 0
    torn: int = 0
    lost: int = 0


class Effect(Struct, frozen=True, rename="camel"):
    """What changes in one cluster. `tried` counts the calls that were tried."""

    cluster: str
    access: tuple[AccessChange, ...]
    limits: tuple[LimitChange, ...]
    moves: tuple[RouteMove, ...]
    objects: tuple[ObjectChange, ...]
    refused: tuple[Refusal, ...]
    accepted: tuple[str, ...]
    conditional: tuple[Conditional, ...]
    tried: int
    replay: Replay | None = None

    def __bool__(self) -> bool:
        """Whether anything changes."""
        parts = (self.access, self.limits, self.moves, self.objects, self.refused, self.accepted)
        return any(parts) or (self.replay is not None and self.replay.differing > 0)


class Difference(Struct, frozen=True, rename="camel"):
    """The whole answer: an effect for each cluster. `at` is the time (RFC 3339) at which rules were asked."""

    version: int
    old: str
    new: str
    at: str
    effects: tuple[Effect, ...]

    def __bool__(self) -> bool:
        return any(map(bool, self.effects))
