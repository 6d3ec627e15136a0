"""Closings: what is taken from callers in the present world must not wait for a content that is held. Pure.

A held content follows the present in all that proves who a caller is. Only what stands in both is let through, so
nothing here can ever open what the held content had closed, or what the present has.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from tidegate_dataplane.snapshot.codec import decode_shard, digest, encode_shard
from tidegate_dataplane.snapshot.entries import ConsumerEntry, KeyEntry, RouteEntry, Shard, SubscriberEntry
from tidegate_operator.compile.compiled import AnyEntry, EncodedShard, Served
from tidegate_operator.compile.list_shards import ListShardEncoder
from tidegate_operator.release.content import Content
from tidegate_operator.world import Kind, ObjectKey

Edits = Mapping[ObjectKey, AnyEntry | None]
"""The entries to put in place of those held; None: none."""


class Closer:
    """Applies closings to held contents. It remembers the last outcome: while nothing changes it costs a comparison."""

    def __init__(self) -> None:
        self._last: tuple[str, Edits, Content] | None = None
        self._lists = ListShardEncoder()

    def close(self, held: Content, present: Served) -> Content:
        """`held` as far as the present still allows it; `held` itself when nothing was closed."""
        edits = closings(held.served, present)
        lists = {key: present.lists.get(key, parts) for key, parts in held.served.lists.items()}
        same_lists = lists == dict(held.served.lists)
        if not edits and same_lists:
            return held
        last = self._last
        if last is not None and last[:2] == (held.digest, edits) and last[2].served.lists == lists:
            return last[2]
        shards = [_edited(shard, edits) if edits else shard for shard in held.shards]
        if not same_lists:
            shards = [shard for shard in shards if not shard.name.startswith("l")]
            shards += self._lists.encode(lists)
        entries = {key: entry for key, entry in held.served.entries.items() if edits.get(key, entry) is not None}
        entries |= {key: entry for key, entry in edits.items() if entry is not None}
        closed = Content(tuple(sorted(shards, key=lambda shard: shard.name)), Served(entries, lists))
        self._last = (held.digest, edits, closed)
        return closed


def closings(held: Served, present: Served) -> dict[ObjectKey, AnyEntry | None]:
    """Which entries of `held` the present does not allow any more, and what is left of them."""
    found: dict[ObjectKey, AnyEntry | None] = {}
    for key, entry in held.entries.items():
        now = present.entries.get(key)
        if now is entry:
            continue
        left: AnyEntry | None = entry
        if isinstance(entry, ConsumerEntry):
            left = _consumer(entry, now) if isinstance(now, ConsumerEntry) else None
        elif isinstance(entry, RouteEntry):
            left = _route(entry, now if isinstance(now, RouteEntry) else None, present)
        if left != entry:
            found[key] = left
    return found


def _consumer(held: ConsumerEntry, now: ConsumerEntry) -> ConsumerEntry:
    present = {key.name: key for key in now.keys}
    return replace(
        held,
        suspended=held.suspended or now.suspended,
        keys=tuple(_key(key, present[key.name]) for key in held.keys if key.name in present),
        tokens=tuple(match for match in held.tokens if match in now.tokens),
        certificates=tuple(match for match in held.certificates if match in now.certificates),
    )


def _key(held: KeyEntry, now: KeyEntry) -> KeyEntry:
    """The present key of that name: revoked, ended or rotated meanwhile. One that was closed stays closed."""
    return replace(now, revoked=True) if held.revoked and not now.revoked else now


def _route(held: RouteEntry, now: RouteEntry | None, present: Served) -> RouteEntry:
    if not held.subscribers and not held.grants:
        return held
    comparable = now is not None and now.plans is not None
    granted = {each.subscription: each for each in now.subscribers} if now is not None and comparable else None
    approvals = {each.approval for each in now.grants} if now is not None else None
    return replace(
        held,
        subscribers=tuple(_subscribers(held.subscribers, granted, present)),
        grants=held.grants if approvals is None else tuple(each for each in held.grants if each.approval in approvals),
    )


def _subscribers(
    held: Iterable[SubscriberEntry], granted: Mapping[str, SubscriberEntry] | None, present: Served
) -> Iterable[SubscriberEntry]:
    for each in held:
        if granted is None:
            # The present route is gone, or asks for no subscription: then the subscription itself must still be there.
            namespace, _, name = each.subscription.partition("/")
            if ObjectKey(Kind.SUBSCRIPTION, namespace, name) in present.entries:
                yield each
            continue
        now = granted.get(each.subscription)
        if now is not None and now.consumer == each.consumer:
            ends = [end for end in (each.not_after, now.not_after) if end is not None]
            yield replace(each, not_after=min(ends, default=None))


def _edited(shard: EncodedShard, edits: Edits) -> EncodedShard:
    decoded = decode_shard(shard.data, name=shard.name, sha256=shard.sha256)
    edited: Shard = replace(
        decoded,
        consumers=tuple(
            left
            for entry in decoded.consumers
            if isinstance(left := edits.get(_key_of(Kind.CONSUMER, entry), entry), ConsumerEntry)
        ),
        routes=tuple(
            left
            for entry in decoded.routes
            if isinstance(left := edits.get(_key_of(Kind.ROUTE, entry), entry), RouteEntry)
        ),
    )
    if edited == decoded:
        return shard
    data = encode_shard(edited)
    return EncodedShard(name=shard.name, data=data, sha256=digest(data))


def _key_of(kind: Kind, entry: ConsumerEntry | RouteEntry) -> ObjectKey:
    return ObjectKey(kind, entry.source.namespace, entry.source.name)
