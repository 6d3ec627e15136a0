"""A token cannot say who goes first: only the AIConsumer can."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from samples.snapshots import policy
from tidegate_dataplane.engine.claimed import _mapped_by
from tidegate_dataplane.engine.mapping import claims_of, mapped_consumer
from tidegate_dataplane.runtime.lower import lower_policy
from tidegate_dataplane.runtime.objects import NO_TOKEN, Consumer, Identity, Provider
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    ClaimMapping,
    ConsumerEntry,
    Method,
    Priority,
    Source,
    TokenKind,
    TokenProviderEntry,
)

TOKEN = {**NO_TOKEN, "subject": "app", "claims": {"priority": "Critical", "tier": "gold"}}


def provider() -> Provider:
    mapping = ClaimMapping(
        name="token.subject", tier="token.claims.priority", attributes={"priority": "token.claims.priority"}
    )
    entry = TokenProviderEntry(name="corp", kind=TokenKind.JWT, mapping=mapping)
    section = AuthenticationEntry((Method.JWT,), providers=(entry,))
    return lower_policy(replace(policy(), authentication=section)).providers[0]


def test_a_consumer_made_of_claims_has_normal_priority() -> None:
    consumer = mapped_consumer(provider(), TOKEN)
    assert consumer is not None
    assert consumer.entry.priority is Priority.NORMAL


@pytest.mark.parametrize("priority", list(Priority))
def test_claims_do_not_change_the_priority_of_an_aiconsumer(priority: Priority) -> None:
    entry = ConsumerEntry(Source("team", "app", 1), priority=priority)
    consumer = Consumer(key="team/app", entry=entry, namespace="team", roles=frozenset())
    corp = provider()
    identity = Identity(consumer, frozenset({Method.JWT}), claims={corp.key: claims_of(corp, TOKEN)})
    found = _mapped_by(identity, frozenset({corp.key}))
    assert found.entry.attributes == {"priority": "Critical"}
    assert found.entry.priority is priority
