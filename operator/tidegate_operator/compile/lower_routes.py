"""Routes: rival claims settled, targets resolved, policies and quotas attached."""

from collections.abc import Mapping

import msgspec

from tidegate_dataplane.snapshot.entries import BackendEntry, RouteEntry
from tidegate_operator.compile.accept import Judged
from tidegate_operator.compile.attach import Attached, Attachments
from tidegate_operator.compile.claims import SettledRoutes, claim_of, settle_routes
from tidegate_operator.compile.forms import Forms, Past
from tidegate_operator.compile.lowered import Lowered
from tidegate_operator.compile.memo import LoweredRoute, Memo
from tidegate_operator.compile.resolve import Absence, Backends, Resolution, resolve_targets
from tidegate_operator.compile.subscriptions import NO_GRANTS, Granted, RouteGrants
from tidegate_operator.world import ObjectKey


def lower_routes(
    forms: Forms,
    judged: Mapping[ObjectKey, Judged],
    attachments: Attachments,
    granted: Granted,
    past: Past,
    memo: Memo,
    out: Lowered,
) -> None:
    """Put every route in force that is not in conflict."""
    settled = _settle(forms, judged, past, memo)
    out.note_conflicts(settled.errors, judged)
    backends = _backends(forms)
    stable = memo.lowered_with == (attachments, backends)
    lowered: dict[ObjectKey, LoweredRoute] = {}
    former = memo.routes
    for key, content in settled.contents.items():
        route = former.get(key)
        grants = granted.get(content.source.key, NO_GRANTS)
        if not stable or route is None or route.content is not content or route.granted is not grants:
            attached = attachments.of(key.namespace, key.name)
            route = _lower(content, backends, attached, grants, route, present=judged[key].content is content)
        lowered[key] = route
        out.entries[key] = route.entry
        if route.resolution.unresolved:
            out.unresolved[key] = route.resolution.unresolved
    attachments.forget_beyond(2 * len(lowered) + 1_000)
    memo.routes, memo.lowered_with = lowered, (attachments, backends)


def _settle(forms: Forms, judged: Mapping[ObjectKey, Judged], past: Past, memo: Memo) -> SettledRoutes:
    claims = {
        key: known.claim if (known := judged[key]).content is content else claim_of(content)
        for key, content in forms.routes.items()
    }
    if claims == memo.free_claims:
        return SettledRoutes(forms.routes, {})

    def fallback(key: ObjectKey) -> RouteEntry | None:
        entry = past.fallback(key)
        return entry if isinstance(entry, RouteEntry) else None

    settled = settle_routes(forms.routes, claims, past.created, fallback)
    memo.free_claims = {} if settled.errors else claims
    return settled


def _backends(forms: Forms) -> dict[str, BackendEntry | Absence]:
    states: dict[str, BackendEntry | Absence] = {}
    for key, absence in forms.absent_backends.items():
        states[f"{key.namespace}/{key.name}"] = absence
    for key, content in forms.backends.items():
        states[f"{key.namespace}/{key.name}"] = content
    return states


def _lower(
    content: RouteEntry,
    backends: Backends,
    attached: Attached,
    granted: RouteGrants,
    known: LoweredRoute | None,
    *,
    present: bool,
) -> LoweredRoute:
    names = known.backends if known is not None and known.content is content else _names(content)
    found = tuple([backends.get(name) for name in names])
    if known is not None and known.content is content and known.found == found:
        if (known.attached is attached or known.attached == attached) and known.granted == granted:
            return known
        resolution = known.resolution
    else:
        resolution = _resolve(content, backends, present=present)
    entry = msgspec.structs.replace(
        content,
        targets=resolution.targets,
        policies=attached.policies,
        quotas=attached.quotas,
        unavailable=attached.unavailable,
        subscribers=granted.subscribers,
        grants=granted.grants,
    )
    if known is not None and known.entry == entry:
        entry = known.entry
    return LoweredRoute(content, names, found, resolution, attached, granted, entry)


def _resolve(content: RouteEntry, backends: Backends, *, present: bool) -> Resolution:
    resolution = resolve_targets(content, backends)
    if present or resolution.targets == content.targets:
        return resolution
    # The last good form is all that is known of it. What it loses now it will not have next time, so only what is
    # wrong with the rest may be said: else the status would change by itself.
    return resolve_targets(msgspec.structs.replace(content, targets=resolution.targets), backends)


def _names(content: RouteEntry) -> tuple[str, ...]:
    return tuple(target.backend for target in content.targets)
