"""Lists that policies in force refer to: read, bounded, cut into parts; and what is wrong with them.

A list that is not there holds nothing and its policy says so: a deny list that is missing denies nobody. One that can
hardly be read keeps its last good form. Only entries of lists that some policy names reach the snapshot.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tidegate_dataplane.snapshot.entries import ListPart, ListRef, PolicyEntry
from tidegate_dataplane.snapshot.list_key import ListKey, list_key
from tidegate_operator.compile.compiled import Served
from tidegate_operator.compile.list_content import RECORD_BYTES, ListContent, Values, read_list
from tidegate_operator.compile.list_parts import cut
from tidegate_operator.compile.list_shards import MAX_ENTRIES, MAX_WEIGHT, weight
from tidegate_operator.compile.lowered import Lowered
from tidegate_operator.compile.memo import Memo, PreparedList
from tidegate_operator.compile.problems import sort_findings
from tidegate_operator.verdicts import Finding, Reason
from tidegate_operator.world import LIST_LABEL, ConfigMapKey, ObjectKey, SecretKey, World

Parts = tuple[ListPart, ...]


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with a list, for every policy that names it."""

    reason: Reason
    message: str


def lower_lists(
    policies: Mapping[ObjectKey, PolicyEntry], world: World, previous: Served, memo: Memo, out: Lowered
) -> None:
    """Put every list in force that one of the policies names, and note what is wrong with it at each of them."""
    users: dict[ListKey, list[tuple[ObjectKey, str]]] = {}
    for user, policy in policies.items():
        if policy.network is not None or policy.risk is not None or policy.authentication is not None:
            for field, ref in list_references(policy):
                users.setdefault(list_key(user.namespace, ref), []).append((user, field))
    if not users:
        memo.lists = {}
        return
    faults: dict[ListKey, _Fault] = {}
    prepared: dict[ListKey, PreparedList] = {}
    candidates: dict[ListKey, Parts] = {}
    for key in sorted(users):
        values = _values(key, world)
        if values is None:
            faults[key] = _missing(key)
            continue
        known = prepared[key] = _prepare(key, values, memo.lists.get(key))
        candidates[key] = known.parts
        if known.content.faulty:
            former = previous.lists.get(key) if known.content.hopeless else None
            candidates[key] = former or known.parts
            # Compared, because what can be read of it now is what was in force before once it was published.
            faults[key] = _unreadable(key, known.content, kept=candidates[key] != known.parts)
    memo.lists = prepared
    _bound(candidates, previous, faults, out)
    _note(users, faults, out)


def has_unread_lists(world: World, memo: Memo) -> bool:
    """Whether a list came or changed since the compilation that `memo` is of: reading a large one takes long."""
    known = {(key.namespace, key.name): prepared.values for key, prepared in memo.lists.items() if not key.secret}
    return any(known.get(key) is not values for key, values in world.config_maps.items()) or any(
        _values(key, world) is not prepared.values for key, prepared in memo.lists.items() if key.secret
    )


def list_references(policy: PolicyEntry) -> Iterator[tuple[str, ListRef]]:
    """Every list that a policy names, with the field that does."""
    if policy.authentication is not None:
        for ref in policy.authentication.leaked:
            yield "spec.authentication.leakedKeys", ref
    if policy.network is not None:
        for ref in policy.network.deny_lists:
            yield "spec.network.denyLists", ref
    if policy.risk is not None:
        for signal in policy.risk.signals:
            for ref in signal.lists:
                yield "spec.risk.signals", ref


def _values(key: ListKey, world: World) -> Values | None:
    if key.secret:
        return world.secrets.get(SecretKey(key.namespace, key.name))
    return world.config_maps.get(ConfigMapKey(key.namespace, key.name))


def _prepare(key: ListKey, values: Values, known: PreparedList | None) -> PreparedList:
    if known is not None and (known.values is values or known.values == values):
        return known
    content = read_list(values, key.kind)
    parts = cut(key, content.records)
    # Parts that did not change stay the very same objects, so that shards are compared at no cost.
    former = {part.part: part for part in known.parts} if known is not None else {}
    return PreparedList(values, content, tuple(_same(former.get(part.part), part) for part in parts))


def _same(former: ListPart | None, part: ListPart) -> ListPart:
    return former if former is not None and former == part else part


def _bound(candidates: Mapping[ListKey, Parts], previous: Served, faults: dict[ListKey, _Fault], out: Lowered) -> None:
    """The smallest lists first, so that a list that grows beyond all bounds displaces itself and no other."""
    entries, room = MAX_ENTRIES, MAX_WEIGHT
    for key in sorted(candidates, key=lambda key: (_entries(key, candidates[key]), key)):
        present = candidates[key]
        fitting = (
            parts
            for parts in (present, previous.lists.get(key, ()))
            if _entries(key, parts) <= entries and weight(parts) <= room
        )
        parts = next(fitting, ())
        if parts:
            out.lists[key] = parts
            entries -= _entries(key, parts)
            room -= weight(parts)
        if parts is not present:
            faults[key] = _too_large(key, _entries(key, present), kept=bool(parts))


def _entries(key: ListKey, parts: Parts) -> int:
    return sum(len(part.data) for part in parts) // RECORD_BYTES[key.kind]


def _missing(key: ListKey) -> _Fault:
    if key.secret:
        message = f"{key} does not exist, or is not of type Opaque: create it, or correct the name"
        return _Fault(Reason.SECRET_NOT_FOUND, f"{message}; until then it holds nothing")
    message = (
        f'{key} does not exist, or lacks the label {LIST_LABEL}: "true": create it, label it '
        f"(kubectl -n {key.namespace} label configmap {key.name} {LIST_LABEL}=true), or correct the name"
    )
    return _Fault(Reason.LIST_NOT_FOUND, f"{message}; until then it holds nothing")


def _unreadable(key: ListKey, content: ListContent, *, kept: bool) -> _Fault:
    wanted = "address or network" if "Address" in key.kind else "SHA-256 of 64 hexadecimal digits"
    found = list(content.broken)
    if content.unreadable:
        found.append(
            f"{content.unreadable} of {content.lines} lines cannot be read, such as {', '.join(content.shown)}"
        )
    what = f"{key}: {'; '.join(found)}: write one {wanted} a line, comments after #"
    if not content.hopeless:
        return _Fault(Reason.LIST_PARTLY_UNREADABLE, f"{what}; the other lines are in force")
    force = "what was in force before stays" if kept else "what can be read is in force"
    return _Fault(Reason.LIST_UNREADABLE, f"{what}; {force}")


def _too_large(key: ListKey, entries: int, *, kept: bool) -> _Fault:
    force = "what was in force before stays" if kept else "none of its entries is in force"
    message = (
        f"{key} has {entries} entries, and all lists of the gateway together may have {MAX_ENTRIES}: "
        f"shorten it; {force}"
    )
    return _Fault(Reason.LIST_TOO_LARGE, message)


def _note(users: Mapping[ListKey, list[tuple[ObjectKey, str]]], faults: Mapping[ListKey, _Fault], out: Lowered) -> None:
    found: dict[ObjectKey, list[Finding]] = {}
    for key, fault in faults.items():
        for user, field in users[key]:
            found.setdefault(user, []).append(Finding(fault.reason, field, fault.message))
    for user, findings in found.items():
        out.unresolved[user] = sort_findings({*out.unresolved.get(user, ()), *findings})
