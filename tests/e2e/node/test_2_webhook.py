"""The operator's webhook, which the API server reaches through the Service, kube-proxy and a pod of the operator."""

from __future__ import annotations

import pytest

from cluster.harness.kubectl import KubectlFailed
from cluster.harness.processes import wait_until
from e2e.node.release import TENANT, Release

pytestmark = pytest.mark.timeout(600)
_NOBODYS_ROLE = '[{"op": "replace", "path": "/spec/authorization/rules/0/roles/0", "value": "inferense"}]'


def test_a_change_that_locks_everybody_out_is_denied(release: Release) -> None:
    assert _denial(release) == "", "the webhook is not installed yet"
    release.upgrade({"admission": {"webhook": {"enabled": True}}})
    took = wait_until(
        lambda: "nobody could call AIRoute team-search/chat any more" in _denial(release),
        what="the webhook to deny it",
        deadline=60,
    )
    print(f"\nthe webhook denied a lockout {took:.1f} s after the upgrade")


def _denial(release: Release) -> str:
    """What the API server says to the change; empty when it would be taken."""
    arguments = ("patch", "aipolicy", "house-rules", "-n", TENANT, "--type=json", "-p", _NOBODYS_ROLE)
    try:
        release.cluster.kubectl.run(*arguments, "--dry-run=server")
    except KubectlFailed as error:
        return str(error)
    return ""
