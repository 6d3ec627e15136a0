"""Consumers: the hashes of their keys, each owned by one consumer."""

from collections.abc import Mapping

from tidegate_dataplane.snapshot.entries import ConsumerEntry
from tidegate_operator.compile.accept import Judged
from tidegate_operator.compile.consumer_keys import SettledConsumers, settle_consumers
from tidegate_operator.compile.forms import Forms, Past
from tidegate_operator.compile.lowered import Lowered
from tidegate_operator.compile.memo import Memo, ResolvedConsumer
from tidegate_operator.compile.secret_values import (
    KeySources,
    changed_secrets,
    key_inputs,
    resolve_consumer,
    secrets_of,
)
from tidegate_operator.world import ObjectKey, SecretKey


def lower_consumers(
    forms: Forms,
    judged: Mapping[ObjectKey, Judged],
    sources: KeySources,
    past: Past,
    memo: Memo,
    out: Lowered,
) -> None:
    """Put every consumer in force."""
    resolved: dict[ObjectKey, ResolvedConsumer] = {}
    candidates: dict[ObjectKey, ConsumerEntry] = {}
    generating: list[ObjectKey] = []
    unresolved = out.unresolved
    former, claims = memo.consumers, memo.key_claims
    changed = changed_secrets(memo.key_sources, sources)
    remaining = len(former)
    for key, content in forms.consumers.items():
        before = consumer = former.get(key)
        if consumer is None or consumer.content is not content or (consumer.secrets and _may_differ(consumer, changed)):
            consumer = _resolve(content, sources, consumer)
            if before is None or before.entry is not consumer.entry:
                claims.replace(before.entry if before is not None else None, consumer.entry)
        remaining -= before is not None
        resolved[key] = consumer
        candidates[key] = consumer.entry
        if consumer.generates:
            generating.append(key)
        if consumer.unresolved:
            unresolved[key] = consumer.unresolved
    if remaining:
        for key in former.keys() - resolved.keys():
            claims.replace(former[key].entry, None)
    memo.consumers, memo.key_sources = resolved, sources
    settled = _settle(candidates, sources, past) if claims.rivals else SettledConsumers(candidates, {})
    out.note_conflicts(settled.errors, judged)
    out.entries.update(settled.entries)
    for key in settled.errors:
        known = memo.entries.get(key)
        if known is not None and known == out.entries[key]:
            out.entries[key] = known
    out.generating = tuple(settled.entries[key] for key in generating)


def _may_differ(consumer: ResolvedConsumer, changed: frozenset[SecretKey] | None) -> bool:
    return changed is None or not changed.isdisjoint(consumer.secrets)


def _resolve(content: ConsumerEntry, sources: KeySources, known: ResolvedConsumer | None) -> ResolvedConsumer:
    inputs = key_inputs(content, sources)
    if known is not None and known.content is content and known.inputs == inputs:
        return known
    entry, findings = resolve_consumer(content, sources) if inputs else (content, ())
    if known is not None and known.entry == entry:
        entry = known.entry
    generates = any(item.generate is not None for item in content.keys)
    return ResolvedConsumer(content, inputs, entry, findings, generates, secrets_of(content))


def _settle(candidates: dict[ObjectKey, ConsumerEntry], sources: KeySources, past: Past) -> SettledConsumers:
    def fallback(key: ObjectKey) -> ConsumerEntry | None:
        entry = past.fallback(key)
        return resolve_consumer(entry, sources)[0] if isinstance(entry, ConsumerEntry) else None

    return settle_consumers(candidates, past.created, fallback)
