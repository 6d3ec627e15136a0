"""The smallest valid object of each of Tidegate's kinds, which together make one world."""

from __future__ import annotations

from typing import Any

ONE_OF_EACH: dict[str, dict[str, Any]] = {
    "AIBackend": {"provider": "Mock"},
    "AIRoute": {
        "models": ["one"],
        "targets": [{"backendRef": {"name": "one"}}],
        "subscription": {"plans": [{"name": "basic"}]},
    },
    "AIConsumer": {"team": "search"},
    "AIPolicy": {"targetRefs": [{"kind": "Namespace"}], "authentication": {"methods": ["APIKey"]}},
    "Quota": {
        "targetRefs": [{"kind": "Namespace"}],
        "per": "Consumer",
        "limits": [{"unit": "Requests", "amount": "10", "window": {"calendar": "Day"}}],
    },
    "AISubscription": {
        "consumerRef": {"name": "one"},
        "routeRef": {"name": "one"},
        "plan": "basic",
        "reason": "to look what it says",
    },
    "AIApproval": {
        "subscription": {"namespace": "team-a", "name": "one", "consumer": "one", "route": "one", "plan": "basic"}
    },
}
"""Specs by kind. Each object is called `one` and stands in the namespace `team-a`."""


def placed(kind: str, facts: dict[str, str]) -> dict[str, Any]:
    """The spec of that kind, placed where `facts` hold."""
    return {**ONE_OF_EACH[kind], "placement": {"clusterSelector": {"matchLabels": facts}}}
