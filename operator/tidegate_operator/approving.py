"""What an approver applies to grant a subscription: it repeats what that asks for, and nothing else. Pure."""

import hashlib
from typing import Any

from tidegate_dataplane.snapshot.entries import SubscriptionEntry
from tidegate_operator.compile.durations import parse_duration
from tidegate_operator.compile.timestamps import format_timestamp, parse_timestamp
from tidegate_operator.resources import GROUP, VERSION
from tidegate_operator.world import Kind

_MAX_NAME = 253


def approval_for(content: SubscriptionEntry, not_after: str | None = None) -> dict[str, Any]:
    """The AIApproval of a subscription as JSON data, in the namespace of the route. Its name is always the same."""
    namespace, _, route = content.route.partition("/")
    spec: dict[str, Any] = {
        "subscription": {
            "namespace": content.source.namespace,
            "name": content.source.name,
            "consumer": content.consumer.partition("/")[2],
            "route": route,
            "plan": content.plan,
        }
    }
    if not_after is not None:
        spec["notAfter"] = not_after
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": Kind.APPROVAL.value,
        "metadata": {"name": approval_name(content.source.namespace, content.source.name), "namespace": namespace},
        "spec": spec,
    }


def approval_name(namespace: str, name: str) -> str:
    """`team-a.search-chat`: distinct for distinct subscriptions, since a namespace has no dot."""
    plain = f"{namespace}.{name}"
    if len(plain) <= _MAX_NAME:
        return plain
    return "sha256-" + hashlib.sha256(plain.encode()).hexdigest()


def end_of(text: str, now: float) -> str:
    """An end given as a time (RFC 3339) or as a duration from `now` (seconds since the epoch); RFC 3339.

    Raises ValueError with what to write, also for an end that has passed.
    """
    try:
        end = int(now) + parse_duration(text) // 1000
    except ValueError:
        try:
            end = parse_timestamp(text)
        except ValueError:
            raise ValueError("write a time such as 2027-01-31T00:00:00Z, or a duration such as 90d") from None
    if end <= now:
        raise ValueError("this time has passed: write a later one")
    try:
        return format_timestamp(end)
    except (OverflowError, ValueError):
        raise ValueError("this is too far away: write an earlier time") from None
