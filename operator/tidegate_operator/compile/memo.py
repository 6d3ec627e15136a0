"""What one compilation hands to the next so that it need not be worked out again.

Everything here is a function of the inputs it is stored with; holding a Memo changes speed, never output.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tidegate_dataplane.snapshot.entries import (
    BackendEntry,
    ConsumerEntry,
    ListPart,
    PolicyEntry,
    QuotaEntry,
    RouteEntry,
)
from tidegate_dataplane.snapshot.list_key import ListKey
from tidegate_operator.compile.accept import Judged
from tidegate_operator.compile.attach import Attached, Attaching, Attachments, PolicyOutline
from tidegate_operator.compile.buckets import ShardEncoder
from tidegate_operator.compile.claims import RouteClaim
from tidegate_operator.compile.compiled import AnyEntry
from tidegate_operator.compile.consumer_keys import KeyClaims
from tidegate_operator.compile.key_sets import KeySetReading
from tidegate_operator.compile.list_content import ListContent
from tidegate_operator.compile.list_shards import ListShardEncoder
from tidegate_operator.compile.resolve import Absence, Backends, Resolution
from tidegate_operator.compile.secret_values import KeyInputs, KeySources
from tidegate_operator.compile.subscriptions import RouteGrants, SubscriptionMemo
from tidegate_operator.verdicts import Finding, Verdict
from tidegate_operator.world import Facts, ObjectKey, SecretKey


@dataclass(frozen=True, slots=True)
class LoweredRoute:
    """A route's entry with all that it followed from."""

    content: RouteEntry
    backends: tuple[str, ...]
    found: tuple[BackendEntry | Absence | None, ...]
    resolution: Resolution
    attached: Attached
    granted: RouteGrants
    entry: RouteEntry


@dataclass(frozen=True, slots=True)
class AttachingContent:
    """A policy or quota, what of it decides attachments, and the routes that it names."""

    content: PolicyEntry | QuotaEntry
    policy: Attaching[PolicyOutline] | None
    quota: Attaching[str] | None
    routes: tuple[ObjectKey, ...]


@dataclass(frozen=True, slots=True)
class ResolvedConsumer:
    """A consumer with hashes filled in, and what they were made from."""

    content: ConsumerEntry
    inputs: tuple[KeyInputs, ...]
    entry: ConsumerEntry
    unresolved: tuple[Finding, ...]
    generates: bool
    secrets: frozenset[SecretKey]

    def __repr__(self) -> str:
        return f"ResolvedConsumer({self.content.source.key})"


@dataclass(frozen=True, slots=True)
class PreparedList:
    """A list as it was read and cut, and the values that it was read from."""

    values: Mapping[str, bytes] = field(repr=False)
    content: ListContent
    parts: tuple[ListPart, ...] = field(repr=False)


class Memo:
    """Cache across compilations. One Memo serves one compilation at a time."""

    def __init__(self) -> None:
        self.facts: Facts | None = None
        self.judged: Mapping[ObjectKey, Judged] = {}
        self.free_claims: Mapping[ObjectKey, RouteClaim] = {}
        self.attaching: Mapping[ObjectKey, AttachingContent] = {}
        self.attachments: Attachments | None = None
        self.quota_notes: Mapping[ObjectKey, tuple[QuotaEntry, tuple[Finding, ...]]] = {}
        # What `routes` were lowered with: while it stays the same, only a route's own content can change it.
        self.lowered_with: tuple[Attachments, Backends] | None = None
        self.routes: Mapping[ObjectKey, LoweredRoute] = {}
        self.consumers: Mapping[ObjectKey, ResolvedConsumer] = {}
        self.key_claims = KeyClaims()
        self.key_sources: KeySources | None = None
        # Key sets by the bytes that they were read from, which may hold what is secret: never shown.
        self.key_sets: Mapping[bytes, KeySetReading] = {}
        self.subscriptions = SubscriptionMemo()
        # Of subscriptions: without and with what is said of their approval.
        self.verdicts: Mapping[ObjectKey, tuple[Verdict, Verdict]] = {}
        self.entries: Mapping[ObjectKey, AnyEntry] = {}
        self.encoder = ShardEncoder()
        self.lists: Mapping[ListKey, PreparedList] = {}
        self.list_encoder = ListShardEncoder()

    def begin(self, facts: Facts) -> None:
        """Forget what was judged under other facts."""
        if facts != self.facts:
            self.facts = facts
            self.judged = {}
            self.quota_notes = {}
