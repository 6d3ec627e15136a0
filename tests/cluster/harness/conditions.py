"""Reads and waits for the conditions that the operator writes on Tidegate's objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.harness.processes import DeadlineExceeded, wait_until
from cluster.harness.rest import Rest

Resource = Mapping[str, Any]


def condition(resource: Resource, kind: str) -> Mapping[str, Any]:
    """The condition of that type; empty when there is none, or when it speaks of an older generation."""
    for found in resource.get("status", {}).get("conditions", []):
        if found["type"] == kind and found.get("observedGeneration") == resource["metadata"]["generation"]:
            return dict(found)
    return {}


def is_ready(resource: Resource) -> bool:
    """Whether its newest generation is in force on every data plane."""
    return condition(resource, "Ready").get("status") == "True"


def wait_for_condition(
    rest: Rest, path: str, kind: str, status: str = "True", *, reason: str | None = None, deadline: float = 10.0
) -> dict[str, Any]:
    """Wait until the object at `path` has that condition for its newest generation; returns the object.

    Raises DeadlineExceeded with the status it had at the end.
    """
    last: dict[str, Any] = {}

    def holds() -> bool:
        nonlocal last
        last = rest.get(path)
        found = condition(last, kind)
        return found.get("status") == status and reason in (None, found.get("reason"))

    what = f"{kind}={status}{f' ({reason})' if reason else ''} of {path}"
    try:
        wait_until(holds, what=what, deadline=deadline)
    except DeadlineExceeded as error:
        raise DeadlineExceeded(f"{error}\n{last.get('status')}") from None
    return last
