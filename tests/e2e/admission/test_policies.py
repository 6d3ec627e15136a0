"""The admission policies in a real API server, without any operator: what they refuse, what they let pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.harness.apiserver import ApiServer
from e2e.admission.installing import refusal
from e2e.admission.refusals import CASES, ODD, Case
from tidegate_operator.compile.accept import judge
from tidegate_operator.verdicts import Finding
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource

ROOT = Path(__file__).resolve().parents[3]


class _Loader(yaml.SafeLoader):
    """Times stay texts, as in JSON."""


_Loader.yaml_implicit_resolvers = {
    letter: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _judged(kind: str, spec: dict[str, Any], namespace: str, name: str) -> tuple[Finding, ...]:
    return judge(Resource(ObjectKey(Kind(kind), namespace, name), spec), Facts()).errors


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[2]}")
def test_a_policy_refuses_what_the_compiler_refuses_in_its_words(guarded_server: ApiServer, case: Case) -> None:
    kind, spec, field = case
    findings = [found for found in _judged(kind, spec, "team-a", "wrong") if found.field == field]
    assert findings, "the compiler does not mind"
    said = refusal(guarded_server, kind, spec)
    assert f"{field}: {findings[0].message}" in said


def _declared() -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Every object of examples and golden inputs: kind, namespace, spec, where it stands."""
    files = [*sorted((ROOT / "examples").rglob("*.yaml")), *sorted((ROOT / "tests/golden").rglob("*.in.yaml"))]
    kinds = set(Kind)
    for file in files:
        for document in yaml.load_all(file.read_text(), _Loader):
            yield from _found(document, file, kinds)


def _found(node: Any, file: Path, kinds: set[Kind]) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    if isinstance(node, list):
        for item in node:
            yield from _found(item, file, kinds)
    elif isinstance(node, dict):
        if node.get("kind") in kinds and isinstance(node.get("spec"), dict):
            metadata = node.get("metadata", {})
            yield node["kind"], str(metadata.get("namespace", "team-a")), node["spec"], f"{file.name}: {metadata}"
        else:
            for item in node.values():
                yield from _found(item, file, kinds)


def test_everything_passes_that_the_compiler_takes(guarded_server: ApiServer) -> None:
    tried = 0
    declared = [*_declared(), *((kind, "team-a", spec, "odd") for kind, spec in ODD)]
    for kind, namespace, spec, where in declared:
        errors = _judged(kind, spec, namespace, "wrong")
        if errors:
            continue
        guarded_server.ensure_namespace(namespace)
        said = refusal(guarded_server, kind, spec, namespace=namespace)
        assert "ValidatingAdmissionPolicy" not in said, (where, said)
        tried += said == ""
    assert tried > 200


def test_what_looks_odd_is_taken_by_both(guarded_server: ApiServer) -> None:
    for kind, spec in ODD:
        assert _judged(kind, spec, "team-a", "wrong") == (), (kind, spec)
        assert refusal(guarded_server, kind, spec) == "", (kind, spec)
