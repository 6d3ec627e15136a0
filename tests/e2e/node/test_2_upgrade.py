"""`helm upgrade` and `helm rollback` that replace every pod, while callers go on."""

from __future__ import annotations

import time

import pytest

from e2e.node.load import Load
from e2e.node.release import Release

pytestmark = pytest.mark.timeout(900)


def test_an_upgrade_and_a_rollback_that_replace_all_pods_fail_no_request(release: Release) -> None:
    before = _names(release)
    with Load(release.target()) as upgrading:
        began = time.monotonic()
        release.upgrade({"dataPlane": {"logLevel": "debug"}, "operator": {"logFormat": "text"}})
        release.wait_ready("dataplane", 3)
        upgraded = time.monotonic() - began
    between = _names(release)
    print(f"\nupgrade, {upgraded:.0f} s: {upgrading.account}")
    with Load(release.target()) as rolling_back:
        began = time.monotonic()
        release.rollback(1)
        release.wait_ready("dataplane", 3)
        rolled_back = time.monotonic() - began
    after = _names(release)
    print(f"rollback, {rolled_back:.0f} s: {rolling_back.account}")
    assert not before & between, "the upgrade did not replace every pod"
    assert not between & after, "the rollback did not replace every pod"
    assert (upgrading.account.failures, rolling_back.account.failures) == (0, 0)


def _names(release: Release) -> set[str]:
    return {pod["metadata"]["name"] for pod in [*release.pods("dataplane"), *release.pods("operator")]}
