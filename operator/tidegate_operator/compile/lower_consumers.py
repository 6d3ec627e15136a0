"""Consumers: the hashes of their keys, each owned by one consumer."""

from collections.abc import Mapping

from tidegate_dataplane.snapshot.entries import ConsumerEntry
from tidegate_operator.compile.accept import Judged
from tidegate_operator.compile.consumer_keys import SettledConsumers, settle_consumers
from tidegate_operator.compile.forms import Forms, Past
from tidegate_operator.compile.lowered import Lowered
from tidegate_operator.compile.memo import Memo, ResolvedConsumer
from tidegate_operator.compile.secret_values import Secrets, resolve_consumer, secret_values
from tidegate_operator.world import ObjectKey


def lower_consumers(
    forms: Forms,
    judged: Mapping[ObjectKey, Judged],
    secrets: Secrets,
    past: Past,
    memo: Memo,
    out: Lowered,
) -> None:
    """Put every consumer in force."""
    resolved: dict[ObjectKey, ResolvedConsumer] = {}
    candidates: dict[ObjectKey, ConsumerEntry] = {}
    unresolved = out.unresolved
    former = memo.consumers
    for key, content in forms.consumers.items():
        consumer = former.get(key)
        if consumer is None or consumer.content is not content or consumer.values:
            consumer = _resolve(content, secrets, consumer)
        resolved[key] = consumer
        candidates[key] = consumer.entry
        if consumer.unresolved:
            unresolved[key] = consumer.unresolved
    memo.consumers = resolved
    settled = _settle(candidates, secrets, past, memo)
    out.note_conflicts(settled.errors, judged)
    out.entries.update(settled.entries)
    for key in settled.errors:
        known = memo.entries.get(key)
        if known is not None and known == out.entries[key]:
            out.entries[key] = known


def _resolve(content: ConsumerEntry, secrets: Secrets, known: ResolvedConsumer | None) -> ResolvedConsumer:
    references = tuple(item.secret for item in content.keys if item.secret is not None)
    values = secret_values(references, content.source.namespace, secrets)
    # A value that is not there has more than one explanation, which the values alone do not tell apart.
    if known is not None and known.content is content and known.values == values and None not in values:
        return known
    entry, findings = resolve_consumer(content, secrets) if references else (content, ())
    if known is not None and known.entry == entry:
        entry = known.entry
    return ResolvedConsumer(content, values, entry, findings)


def _settle(candidates: dict[ObjectKey, ConsumerEntry], secrets: Secrets, past: Past, memo: Memo) -> SettledConsumers:
    if candidates == memo.free_consumers:
        return SettledConsumers(candidates, {})

    def fallback(key: ObjectKey) -> ConsumerEntry | None:
        entry = past.fallback(key)
        return resolve_consumer(entry, secrets)[0] if isinstance(entry, ConsumerEntry) else None

    settled = settle_consumers(candidates, past.created, fallback)
    memo.free_consumers = {} if settled.errors else candidates
    return settled
