"""Objects in force that come, go or change, field by field. An edit that does not change the meaning is no change."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec.structs import asdict, replace

from tidegate_dataplane.runtime.routes import with_parents
from tidegate_dataplane.snapshot.entries import Attachment, RouteEntry, SubscriberEntry, TargetEntry
from tidegate_operator.compile.compiled import AnyEntry
from tidegate_operator.difference.effect import FieldChange, ObjectChange
from tidegate_operator.difference.fields import field_changes
from tidegate_operator.difference.sides import Side, Sides
from tidegate_operator.world import Kind, ObjectKey

_ACTING = (Kind.POLICY, Kind.QUOTA, Kind.BACKEND)
_GRANTED = 20


def object_changes(sides: Sides) -> tuple[ObjectChange, ...]:
    """All of them, those that change alike together."""
    old, new = sides.old.compiled.served.entries, sides.new.compiled.served.entries
    acting = Acting(sides)
    grouped: dict[tuple[str, str, tuple[FieldChange, ...], tuple[str, ...]], list[str]] = {}
    for key in sorted({*old, *new}):
        one, other = old.get(key), new.get(key)
        if one is other or (one is not None and other is not None and _same(one, other)):
            continue
        change = "Added" if one is None else "Removed" if other is None else "Changed"
        fields = () if one is None or other is None else tuple(_fields(key, one, other, sides))
        routes = acting.routes_of(key) if key.kind in _ACTING else ()
        grouped.setdefault((key.kind.value, change, fields, routes), []).append(f"{key.namespace}/{key.name}")
    found = [
        ObjectChange(kind, change, tuple(objects), fields, routes)
        for (kind, change, fields, routes), objects in grouped.items()
    ]
    return (*found, *_lists(sides), *_credentials(sides))


class Acting:
    """On which routes policies, quotas and backends act, on either side."""

    def __init__(self, sides: Sides) -> None:
        self._routes: dict[ObjectKey, dict[str, None]] = {}
        for side in (sides.old, sides.new):
            for route in side.runtime.routes.values():
                for key in _named_by(route.entry, side):
                    self._routes.setdefault(key, {})[route.key] = None

    def routes_of(self, key: ObjectKey) -> tuple[str, ...]:
        """The keys of the routes, sorted."""
        return tuple(sorted(self._routes.get(key, ())))


def _named_by(entry: RouteEntry, side: Side) -> Iterator[ObjectKey]:
    for attachment in entry.policies:
        yield _key(Kind.POLICY, attachment.policy)
    if entry.quotas:
        for quota in with_parents(entry.quotas, side.runtime.quotas):
            yield _key(Kind.QUOTA, quota.entry.source.key)
    for target in entry.targets:
        yield _key(Kind.BACKEND, target.backend)


def _key(kind: Kind, name: str) -> ObjectKey:
    namespace, _, own = name.partition("/")
    return ObjectKey(kind, namespace, own)


def _same(one: AnyEntry, other: AnyEntry) -> bool:
    return one == replace(other, source=one.source)


def _fields(key: ObjectKey, one: AnyEntry, other: AnyEntry, sides: Sides) -> Iterator[FieldChange]:
    """Those of the spec; and what follows from other objects."""
    old, new = sides.old.world.resources.get(key), sides.new.world.resources.get(key)
    told = False
    if old is not None and new is not None and other.source.generation == new.generation:
        for field in field_changes(old.spec, new.spec):
            told = True
            yield field
    if isinstance(one, RouteEntry) and isinstance(other, RouteEntry):
        derived = tuple(_derived(one, other, with_targets=not told))
        told = told or bool(derived)
        yield from derived
    if not told:
        # Such as a key whose Secret holds another value.
        before, after = asdict(one), asdict(other)
        for name in before:
            if name != "source" and before[name] != after[name]:
                yield FieldChange(name, "", "(follows from another object)")


def _derived(one: RouteEntry, other: RouteEntry, *, with_targets: bool) -> Iterator[FieldChange]:
    yield from _set("policies", one.policies, other.policies, _attachment)
    yield from _set("quotas", one.quotas, other.quotas, str)
    yield from _set("unavailable", one.unavailable, other.unavailable, lambda what: f"{what.kind} {what.key}")
    yield from _set("subscribers", one.subscribers, other.subscribers, _subscriber)
    yield from _set("grants", one.grants, other.grants, lambda grant: f"AIApproval {grant.approval}")
    if with_targets:
        yield from _set("targets", one.targets, other.targets, _target)


def _set(
    name: str, old: tuple[object, ...], new: tuple[object, ...], shown: Callable[..., str]
) -> Iterator[FieldChange]:
    before, after = set(old), set(new)
    gone = [shown(item) for item in old if item not in after]
    come = [shown(item) for item in new if item not in before]
    if gone or come:
        yield FieldChange(name, _joined(gone), _joined(come))


def _joined(items: list[str]) -> str:
    more = f" and {len(items) - _GRANTED} more" if len(items) > _GRANTED else ""
    return ", ".join(items[:_GRANTED]) + more


def _attachment(attachment: Attachment) -> str:
    return f"AIPolicy {attachment.policy} ({', '.join(attachment.sections)})"


def _subscriber(subscriber: SubscriberEntry) -> str:
    return f"AISubscription {subscriber.subscription} of {subscriber.consumer} for plan {subscriber.plan}"


def _target(target: TargetEntry) -> str:
    what = f" {target.model}" if target.model else ""
    tail = " as fallback" if target.fallback else ""
    return f"{target.backend}{what} (weight {target.weight}, priority {target.priority}){tail}"


def _lists(sides: Sides) -> Iterator[ObjectChange]:
    """Lists by how many of their parts' records differ; a value is never told, for keys may stand there."""
    old, new = sides.old.compiled.served.lists, sides.new.compiled.served.lists
    for key in sorted({*old, *new}):
        before, after = (b"".join(part.data for part in side.get(key, ())) for side in (old, new))
        if before != after:
            change = "Added" if key not in old else "Removed" if key not in new else "Changed"
            size = FieldChange("data", f"{len(before)} bytes of records", f"{len(after)} bytes of records")
            yield ObjectChange(
                "Secret" if key.secret else "ConfigMap", change, (f"{key.namespace}/{key.name}",), (size,)
            )


def _credentials(sides: Sides) -> Iterator[ObjectChange]:
    old, new = sides.old.compiled.credentials, sides.new.compiled.credentials
    changed = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    for change, names in _by_presence(changed, old, new).items():
        yield ObjectChange("Credential", change, tuple(names), ())


def _by_presence(names: Iterable[str], old: Mapping[str, bytes], new: Mapping[str, bytes]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        change = "Added" if name not in old else "Removed" if name not in new else "Changed"
        found.setdefault(change, []).append(name)
    return found
