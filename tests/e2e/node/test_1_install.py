"""From nothing to the first answer through the Service, with the real Helm, kubelet and kube-proxy."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time

import pytest

from cluster.harness.processes import wait_until
from e2e.node.cluster import Cluster
from e2e.node.load import Connection, Load, chat_request
from e2e.node.release import Release

pytestmark = pytest.mark.timeout(900)


def test_nothing_of_it_can_reach_anything_else(cluster: Cluster) -> None:
    for address in ("192.0.2.1", "198.51.100.1"):  # a documentation network each; a machine with a route would wait
        with socket.socket() as probe:
            probe.settimeout(5)
            assert probe.connect_ex((address, 443)) == errno.ENETUNREACH


def test_the_chart_is_installed_and_its_pods_become_ready(cluster: Cluster, release: Release) -> None:
    began = time.monotonic()
    release.install()
    cluster.seconds["helm install, all pods Ready"] = time.monotonic() - began
    assert len(release.pods("operator")) == 2
    assert len(release.pods("dataplane")) == 3
    for pod in [*release.pods("operator"), *release.pods("dataplane")]:
        container = pod["spec"]["containers"][0]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_first_request_is_answered_through_the_service(cluster: Cluster, release: Release) -> None:
    began = time.monotonic()
    release.apply_objects()
    target = release.target()
    wait_until(lambda: _answers(release), what="the Service to answer 200", deadline=60.0)
    cluster.seconds["objects applied, first answer"] = time.monotonic() - began
    total = time.time() - float(os.environ.get("TIDEGATE_E2E_BEGAN", time.time()))
    print(f"\nfirst answer from {target.host}:{target.port} {total:.0f} s ({total / 60:.1f} min) after `make e2e`")
    for what, seconds in cluster.seconds.items():
        print(f"  {what:<32}{seconds:8.1f} s")


def test_a_load_at_rest_is_served_without_a_failure(release: Release) -> None:
    with Load(release.target()) as load:
        time.sleep(10)
    print(f"\nat rest, {load.seconds:.0f} s: {load.account}")
    assert load.account.failures == 0
    assert load.account.served > 500


def _answers(release: Release) -> bool:
    async def ask() -> int:
        target = release.target()
        reader, writer = await asyncio.open_connection(target.host, target.port)
        try:
            status, _ = await Connection(reader, writer).ask(chat_request(target, stream=False))
        finally:
            writer.close()
        return status

    try:
        return asyncio.run(asyncio.wait_for(ask(), 10)) == 200
    except (OSError, EOFError, TimeoutError):
        return False
