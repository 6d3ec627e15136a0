"""Quotas: their parents, the secrets of their webhooks, and what is valid in them and perhaps not meant."""

import hashlib
from collections.abc import Iterator

import msgspec

from tidegate_dataplane.snapshot.entries import OnExceed, QuotaEntry, RouteEntry
from tidegate_operator.compile.forms import Forms
from tidegate_operator.compile.lowered import Lowered
from tidegate_operator.compile.memo import Memo
from tidegate_operator.compile.parents import ancestors, applying, parent_of
from tidegate_operator.compile.problems import Problems, sort_findings
from tidegate_operator.compile.quota_notes import quota_notes
from tidegate_operator.compile.secret_values import Secrets, found_value
from tidegate_operator.verdicts import Finding, Reason
from tidegate_operator.world import Facts, ObjectKey, World

_NAMED_ROUTES = 3


def lower_quotas(forms: Forms, world: World, facts: Facts, memo: Memo, out: Lowered) -> None:
    """Say which parents are missing, put the secrets of webhooks where the data planes find them, and add notes."""
    own: dict[ObjectKey, tuple[QuotaEntry, tuple[Finding, ...]]] = {}
    for key, content in forms.quotas.items():
        known_notes = memo.quota_notes.get(key)
        if known_notes is None or known_notes[0] is not content:
            known_notes = (content, quota_notes(content, facts))
        own[key] = known_notes
        if notes := known_notes[1]:
            out.notes[key] = notes
        if not (content.parent or content.notify):
            continue
        problems = Problems()
        if content.parent:
            _check_parent(key, forms, world, problems)
        if content.notify is not None and content.notify.secret is not None:
            entry = _with_secret(content, world.secrets, problems, out)
            known = memo.entries.get(key)
            out.entries[key] = known if known is not None and known == entry else entry
        if findings := problems.found():
            out.unresolved[key] = sort_findings([*out.unresolved.get(key, ()), *findings])
        if content.parent and (circle := tuple(_circle(key, forms))):
            out.notes[key] = sort_findings([*notes, *circle])
    memo.quota_notes = own


def note_fallbacks(forms: Forms, out: Lowered) -> None:
    """Note for quotas that fall back which of their routes have nothing to fall back to."""
    falling = {
        key: position
        for key, entry in forms.quotas.items()
        for position, limit in reversed(list(enumerate(entry.limits)))
        if limit.on_exceed is OnExceed.FALLBACK
    }
    if not falling:
        return
    blocked: dict[ObjectKey, list[str]] = {}
    for entry in out.entries.values():
        if isinstance(entry, RouteEntry) and entry.quotas and not any(target.fallback for target in entry.targets):
            for key in applying(entry, forms.quotas) & falling.keys():
                blocked.setdefault(key, []).append(entry.source.key)
    for key, routes in blocked.items():
        note = Finding(
            Reason.NO_FALLBACK,
            f"spec.limits[{falling[key]}].onExceed",
            f"Fallback acts as Block on {_listed(routes)}: no target there has fallback: true",
        )
        out.notes[key] = sort_findings([*out.notes.get(key, ()), note])


def notify_credential(quota: str) -> str:
    """Key of a webhook's secret in the credentials Secret; distinct from those of backends and token providers."""
    return "notify-" + hashlib.sha256(quota.encode("utf-8", "surrogatepass")).hexdigest()


def _check_parent(key: ObjectKey, forms: Forms, world: World, problems: Problems) -> None:
    parent = parent_of(key, forms.quotas)
    if parent is None or parent in forms.quotas:
        return
    # A data plane closes routes whose quotas it does not have, parents included.
    if parent in forms.gaps:
        fault, advice = "is not valid", "see its status"
    elif parent in world.resources:
        fault, advice = "does not take effect in this cluster", "give both the same spec.placement"
    else:
        fault, advice = "does not exist", "create it, or correct the name"
    message = f"Quota {parent.namespace}/{parent.name} {fault}, so routes of this quota answer 503: {advice}"
    problems.add("spec.parent", message, Reason.PARENT_NOT_FOUND)


def _with_secret(content: QuotaEntry, secrets: Secrets, problems: Problems, out: Lowered) -> QuotaEntry:
    notify = content.notify
    if notify is None or notify.secret is None:
        return content
    name = notify_credential(content.source.key)
    value = found_value(notify.secret, content.source.namespace, secrets, "spec.notify.secretRef", problems)
    if value is not None and not value:
        problems.add("spec.notify.secretRef", f"key {notify.secret.key} of Secret {notify.secret.name} is empty")
    elif value is not None:
        out.credentials[name] = value
    # A data plane that does not find the secret under this name sends nothing unsigned.
    return msgspec.structs.replace(content, notify=msgspec.structs.replace(notify, credential=name))


def _circle(key: ObjectKey, forms: Forms) -> Iterator[Finding]:
    if key in ancestors(key, forms.quotas):
        message = "leads back to this quota: each of them counts a call once; end the circle at the largest one"
        yield Finding(Reason.PARENT_CYCLE, "spec.parent", message)


def _listed(routes: list[str]) -> str:
    named = ", ".join(sorted(routes)[:_NAMED_ROUTES])
    more = len(routes) - _NAMED_ROUTES
    return f"AIRoute {named} and {more} more" if more > 0 else f"AIRoute {named}"
