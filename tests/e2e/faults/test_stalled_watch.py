"""Watches that have died without a word: connections stay open, nothing comes any more, new connections work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.harness.apiserver import ApiServer
from cluster.harness.certificates import write_private
from cluster.harness.objects import mock_backend
from cluster.harness.system import System
from e2e.faults.changes import KEY, TEAM
from e2e.faults.conftest import declare
from e2e.faults.proxy import FreezingProxy

MOST_SECONDS = 80.0
"""The operator gives a watch up that says nothing for 40 s, a data plane after 35 s: one after the other at worst."""


class ProxiedServer(ApiServer):
    """An API server whose kubeconfigs lead through a proxy, but for the administrator's."""

    proxy: FreezingProxy | None = None

    def kubeconfig(
        self, user_token: str | None = None, *, path: Path | None = None, namespace: str = "default"
    ) -> Path:
        made = super().kubeconfig(user_token, path=path, namespace=namespace)
        if user_token is None or self.proxy is None:
            return made
        config = yaml.safe_load(made.read_text(encoding="utf-8"))
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.proxy.port}"
        return write_private(made, yaml.safe_dump(config).encode())


@pytest.fixture
def server() -> Iterator[ApiServer]:
    from e2e.faults.conftest import install

    with ProxiedServer() as running, FreezingProxy(running.port) as proxy:
        install(running)
        running.proxy = proxy
        yield running


@pytest.mark.timeout(400)
def test_what_changes_behind_a_stalled_watch_is_found(server: ProxiedServer, tmp_path: Path) -> None:
    with System(server, tmp_path) as system:
        declare(system)
        assert server.proxy is not None
        frozen = server.proxy.freeze()
        assert frozen >= 10, "the operator and the data planes hold a watch on each kind"
        system.apply(mock_backend(TEAM, reply="Behind the stall."))
        began = time.monotonic()
        system.wait_for_text("Behind the stall.", key=KEY, deadline=MOST_SECONDS)
        print(f"{frozen} connections frozen in silence: the change is obeyed after {time.monotonic() - began:.1f} s")
        system.wait_for(mock_backend(TEAM), "Ready")
        assert all(process.alive for process in system.processes)
        # The operator may have found the change by listing while its own watch is still dead. Then at once again.
        system.apply(mock_backend(TEAM, reply="After the stall."))
        system.wait_for_text("After the stall.", key=KEY, deadline=MOST_SECONDS - (time.monotonic() - began))
        system.apply(mock_backend(TEAM, reply="As ever."))
        assert system.wait_for_text("As ever.", key=KEY, deadline=20) < 10
