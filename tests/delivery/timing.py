"""How long after Argo CD's write a cluster obeys: from what its API server shows to what its data planes answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.gateway import json_headers
from bench.keepalive import KeepAlive
from bench.wrk import Call
from cluster.harness.callers import CHAT
from cluster.harness.objects import Manifest
from delivery.clusters import Cluster
from delivery.watching import Watch

_DEADLINE = 180.0
_POLL = 0.004


@dataclass(frozen=True)
class Question:
    """A call whose answer tells which policy is in force: its file, the caller's key, and the changed object."""

    body: Path
    key: str
    manifest: Manifest


def push_and_measure(
    clusters: Sequence[Cluster], question: Question, *, wanted: int, push: Callable[[], str]
) -> tuple[str, float, list[float]]:
    """Push; returns the commit, the seconds until every cluster obeyed, and for each those since Argo CD's write.

    A cluster obeys when every data plane answers `wanted`. Raises TimeoutError.
    """
    armed = threading.Barrier(len(clusters) + 1)
    with ThreadPoolExecutor(len(clusters)) as pool:
        measuring = [pool.submit(_lag, cluster, question, wanted, armed) for cluster in clusters]
        armed.wait(_DEADLINE)
        began = time.monotonic()
        commit = push()
        lags = [each.result() for each in measuring]
        return commit, time.monotonic() - began, lags


def _lag(cluster: Cluster, question: Question, wanted: int, armed: threading.Barrier) -> float:
    headers = json_headers(question.key)
    with ExitStack() as stack:
        generation = cluster.system.get(question.manifest)["metadata"]["generation"]
        watch = stack.enter_context(Watch(cluster.server, question.manifest))
        calls = [Call(plane.url + CHAT, question.body, headers) for plane in cluster.system.planes]
        callers = [stack.enter_context(KeepAlive(call)) for call in calls]
        stale = [caller.ask() for caller in callers]
        if wanted in stale:
            armed.abort()
            raise AssertionError(f"{cluster.name} answers {stale} before the push")
        armed.wait(_DEADLINE)
        written = watch.wait_beyond(generation, deadline=_DEADLINE)
        while callers:
            callers = [caller for caller in callers if caller.ask() != wanted]
            if time.monotonic() - written > _DEADLINE:
                raise TimeoutError(f"{cluster.name} does not answer {wanted}")
            if callers:
                time.sleep(_POLL)
        return time.monotonic() - written
