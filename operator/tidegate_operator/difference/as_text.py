"""The difference for a terminal: what is lost first, what is merely different last."""

from collections.abc import Iterable, Iterator, Sequence

from tidegate_operator.difference.effect import (
    AccessChange,
    Difference,
    Effect,
    LimitChange,
    ObjectChange,
    Refusal,
    Replay,
    ReplayedChange,
    RouteCalls,
    RouteMove,
)
from tidegate_operator.difference.naming import by_count, few

MOST = 40
"""Rows of a section; JSON has them all."""
_FEW_ROUTES = 3
_FEW_MODELS = 5
_SERVES = {
    "LastGoodForm": "its last good form stays in force",
    "Nothing": "nothing of it is in force",
    "Rest": "the rest of it is in force",
}


def as_text(difference: Difference) -> str:
    """Everything that changes, cluster by cluster."""
    lines = [f"{difference.old} -> {difference.new}, decided at {difference.at}"]
    for effect in difference.effects:
        name = f"cluster {effect.cluster}: " if effect.cluster else ""
        lines += ["", f"{name}{summary(effect)}"]
        for title, rows in sections(effect):
            lines += ["", title, *(f"  {row}" for row in rows)]
    return "\n".join(lines)


def summary(effect: Effect) -> str:
    """One line: how much changes."""
    if not effect:
        tail = f" ({effect.tried} calls tried)" if effect.tried else ""
        return f"no effect{tail}"
    lost = {name for row in effect.access if row.kind == "Loses" for name in row.consumers.names}
    gained = {name for row in effect.access if row.kind == "Gains" for name in row.consumers.names}
    parts = [
        (len(lost), "caller loses access", "callers lose access"),
        (len(gained), "caller gains access", "callers gain access"),
        (len(effect.limits), "limit moves", "limits move"),
        (sum(len(row.objects) for row in effect.objects), "object changes", "objects change"),
        (len(effect.refused), "refusal", "refusals"),
    ]
    words = [f"{count} {one if count == 1 else many}" for count, one, many in parts if count]
    if effect.replay is not None and effect.replay.differing:
        words.append(f"{change_words(effect.replay.differing, 'recorded request')} decided otherwise")
    return ", ".join(words) or "routes change"


def sections(effect: Effect) -> Iterator[tuple[str, list[str]]]:
    """The title and the rows of each part that has any."""
    own = {kind: [row for row in effect.access if row.kind == kind] for kind in _KINDS}
    for kind, title in _KINDS.items():
        if own[kind]:
            yield title, _most([access_row(row) for row in own[kind]])
    for title, rows in (
        ("refused:", [refusal_row(row) for row in effect.refused]),
        ("accepted again:", list(effect.accepted)),
        ("limits:", [limit_row(row) for row in effect.limits]),
        ("routes:", [move_row(row) for row in effect.moves]),
        ("objects:", [line for row in effect.objects for line in object_rows(row)]),
        (
            "decided by time or request (only some of it was tried):",
            [f"{row.object} {row.rule} reads {', '.join(row.depends_on)}" for row in effect.conditional],
        ),
    ):
        if rows:
            yield title, _most(rows)
    if effect.replay is not None:
        yield "replay:", replay_rows(effect.replay)


_KINDS = {
    "Loses": "loses access:",
    "Gains": "gains access:",
    "RefusedOtherwise": "refused otherwise:",
    "Methods": "ways to authenticate:",
    "Targets": "targets that rules leave:",
    "Shadow": "shadow rules:",
}


def access_row(row: AccessChange) -> str:
    """E.g. `team-a/search-* (312 consumers) lose gpt-4o on team-ml/chat: 403 permission_denied by AIPolicy ...`."""
    many = row.consumers.count > 1 or row.consumers.names == ("",)
    who, where = row.consumers.label, calls_words(row.calls)
    match row.kind:
        case "Loses":
            return f"{who} {'lose' if many else 'loses'} {where}: {row.after}"
        case "Gains":
            return f"{who} {'gain' if many else 'gains'} {where} (before: {row.before})"
        case "Methods":
            return f"{who} on {where}: {row.before} -> {row.after}"
    return f"{who} on {where}: {row.before} -> {row.after}"


def calls_words(calls: Sequence[RouteCalls]) -> str:
    """`gpt-4o on team-ml/chat (Chat)`; of many routes how many."""
    if len(calls) <= _FEW_ROUTES:
        return "; ".join(_of_route(one) for one in calls)
    models = {model for one in calls for model in one.models}
    operations = dict.fromkeys(operation for one in calls for operation in one.operations)
    what = few(sorted(models)) if len(models) <= _FEW_MODELS else f"{len(models)} models"
    return f"{what} on {len(calls)} routes, {few([one.route for one in calls])} ({', '.join(operations)})"


def _of_route(one: RouteCalls) -> str:
    hosts = f" at {few(one.hosts)}" if any(one.hosts) else ""
    return f"{few(one.models, _FEW_MODELS)} on {one.route}{hosts} ({', '.join(one.operations)})"


def limit_row(row: LimitChange) -> str:
    """E.g. `Quota team-a/monthly Tokens: 5000000 per Month -> 1000000 per Month, for team-a/search on 3 routes`."""
    change = f"{row.before or 'none'} -> {row.after or 'none'}"
    where = few(row.routes) if len(row.routes) <= _FEW_ROUTES else f"{len(row.routes)} routes"
    return f"{row.object} {row.name}: {change}, for {row.consumers.label} on {where}"


def move_row(row: RouteMove) -> str:
    """Which route takes calls now, and whether the other is left with less."""
    hosts = f" at {few(row.hosts)}" if row.hosts else ""
    what = f"{few(row.models, _FEW_MODELS)} ({', '.join(row.operations)}){hosts}"
    tail = f"; AIRoute {row.before} is shadowed by it" if row.shadowed else ""
    return f"{what}: AIRoute {row.after} takes what AIRoute {row.before} took{tail}"


def object_rows(row: ObjectChange) -> Iterator[str]:
    """A line for what comes or goes; for what changes one for each field."""
    names = f"{row.kind} {few(row.objects)}"
    acts = (
        f", on {few(row.routes) if len(row.routes) <= _FEW_ROUTES else f'{len(row.routes)} routes'}"
        if row.routes
        else ""
    )
    word = {"Added": "new", "Removed": "gone", "Changed": "changed"}[row.change]
    yield f"{names}: {word}{acts}"
    for field in row.fields:
        yield f"  {field.field}: {_change(field.before, field.after)}"


def _change(before: str, after: str) -> str:
    if not before:
        return after if after.startswith("(") else f"+ {after}"
    return f"{before} -> {after}" if after else f"- {before}"


def refusal_row(row: Refusal) -> str:
    """The compiler's own words, and what is in force instead."""
    field = f"{row.field}: " if row.field else ""
    return f"{row.object}: {field}{row.message}; {_SERVES[row.serves]}"


def replay_rows(replay: Replay) -> list[str]:
    """How many recorded requests would be decided otherwise, and what could not be decided."""
    rows = [
        f"{replay.requests} requests, {replay.decided} decided on both sides, {replay.differing} otherwise",
        *map(_replayed, replay.changes),
    ]
    rows += [f"not decided: {change_words(count, 'request')}: {why}" for why, count in by_count(replay.undecided)]
    rows += [
        f"taken for granted: {what} ({change_words(count, 'request')})" for what, count in by_count(replay.assumed)
    ]
    if replay.not_as_recorded:
        rows.append(
            f"{change_words(replay.not_as_recorded, 'request')} would not be decided by OLD as recorded: "
            "the log is of another revision, or of limits, risk and failures that a manifest does not tell"
        )
    for count, what in ((replay.foreign, "foreign"), (replay.torn, "half-written")):
        if count:
            rows.append(f"{change_words(count, f'{what} line')} left out")
    if replay.lost:
        rows.append(f"{change_words(replay.lost, 'record')} lost by the data plane, as the log says")
    return rows


def _replayed(row: ReplayedChange) -> str:
    such = ", ".join(f"{one.request_id} of {one.consumer or 'nobody'}" for one in row.examples)
    where = f"AIRoute {row.route}" if row.route else "no route"
    return f"{change_words(row.requests, 'request')} on {where}: {row.before} -> {row.after}, such as {such}"


def change_words(count: int, noun: str) -> str:
    """`1 request`, `2 requests`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _most(rows: Iterable[str]) -> list[str]:
    found = list(rows)
    more = len(found) - MOST
    return [*found[:MOST], f"... and {more} more rows (all of them: --output json)"] if more > 0 else found
