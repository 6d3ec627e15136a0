"""Flux judges objects by kstatus: the real one, given the statuses that our own code writes."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from cluster.harness.apiserver import ApiServer
from cluster.harness.binaries import find_kstatus
from cluster.harness.install import apply_crds
from cluster.harness.objects import collection_of, mock_backend
from delivery.health_files import ROOT
from delivery.statuses import cases
from tidegate_operator.world import Kind


def test_kstatus_judges_as_it_should() -> None:
    every = [(f"{kind.value} {case.name}", case) for kind in sorted(Kind) for case in cases(kind)]
    verdicts = _judged([case.object for _, case in every])
    wrong = [
        f"{name}: {verdict}"
        for (name, case), verdict in zip(every, verdicts, strict=True)
        if verdict["status"] != case.kstatus
    ]
    assert wrong == []


def test_what_failed_says_why() -> None:
    refused = next(case for case in cases(Kind.POLICY) if case.name == "degraded_refused_last_good_serving")
    [verdict] = _judged([refused.object])
    assert "has no member 'noSuchAttribute'" in verdict["message"]
    assert "generation 1 stays in force" in verdict["message"]


def test_an_object_that_no_operator_has_seen_is_not_current() -> None:
    """Without a status kstatus would call it so, and Flux would report a roll-out that nobody has begun."""
    with ApiServer() as server:
        apply_crds(server, ROOT / "crds")
        server.ensure_namespace("team-a")
        backend = mock_backend("team-a")
        server.admin.create(collection_of(backend), backend)
        stored = server.admin.get(f"{collection_of(backend)}/mock")
    [verdict] = _judged([stored])
    assert verdict["status"] == "InProgress", stored
    assert verdict["message"] == "AIBackend generation is 1, but latest observed generation is 0"


def _judged(objects: list[Any]) -> list[dict[str, str]]:
    lines = "".join(json.dumps(each) + "\n" for each in objects)
    ended = subprocess.run([find_kstatus()], input=lines, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]
