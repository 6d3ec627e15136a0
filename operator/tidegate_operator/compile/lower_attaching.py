"""Policies and quotas: their own entries, and what they are attached to."""

from collections.abc import Container, Mapping

from tidegate_dataplane.snapshot.entries import PolicyEntry, QuotaEntry, TargetKind, Unavailable
from tidegate_operator.compile.attach import Attaching, AttachInputs, Attachments, outline
from tidegate_operator.compile.forms import Forms
from tidegate_operator.compile.lowered import Lowered
from tidegate_operator.compile.memo import AttachingContent, Memo
from tidegate_operator.compile.resolve import resolve_target_refs
from tidegate_operator.world import Facts, Kind, ObjectKey


def lower_attaching(
    forms: Forms, declared: Container[ObjectKey], facts: Facts, memo: Memo, out: Lowered
) -> Attachments:
    """Put every policy and quota in force; returns what is attached to which route."""
    contents: dict[ObjectKey, AttachingContent] = {}
    for group in (forms.policies, forms.quotas):
        _lower_group(group, declared, memo, contents, out)
    memo.attaching = contents
    inputs = AttachInputs(
        platform_namespace=facts.platform_namespace,
        policies={key: item.policy for key, item in contents.items() if item.policy is not None},
        quotas={key: item.quota for key, item in contents.items() if item.quota is not None},
        unavailable={
            key: Attaching(key.namespace, refs, Unavailable(kind=key.kind.value, key=f"{key.namespace}/{key.name}"))
            for key, refs in forms.gaps.items()
        },
    )
    if memo.attachments is None or memo.attachments.inputs != inputs:
        memo.attachments = Attachments(inputs, memo.attachments)
    return memo.attachments


def _lower_group(
    group: Mapping[ObjectKey, PolicyEntry] | Mapping[ObjectKey, QuotaEntry],
    declared: Container[ObjectKey],
    memo: Memo,
    contents: dict[ObjectKey, AttachingContent],
    out: Lowered,
) -> None:
    for key, content in group.items():
        known = memo.attaching.get(key)
        if known is None or known.content is not content:
            known = _describe(key, content, known)
        contents[key] = known
        out.entries[key] = known.content
        for route in known.routes:
            if route not in declared:
                out.unresolved[key] = resolve_target_refs(content.target_refs, key.namespace, declared)
                break


def _describe(key: ObjectKey, content: PolicyEntry | QuotaEntry, known: AttachingContent | None) -> AttachingContent:
    if known is not None and known.content == content:
        content = known.content
    refs = content.target_refs
    routes = tuple(ObjectKey(Kind.ROUTE, key.namespace, ref.name) for ref in refs if ref.kind is TargetKind.AI_ROUTE)
    if isinstance(content, PolicyEntry):
        return AttachingContent(content, Attaching(key.namespace, refs, outline(content)), None, routes)
    return AttachingContent(content, None, Attaching(key.namespace, refs, content.source.key), routes)
