"""The three judges of a manifest: `tidegate validate` without a cluster, the API server's door, and the operator.

What they are asked:

- the door is strict (`fieldValidation=Strict`, what `kubectl apply` asks for by default): a field that the schema does
  not know is an error there, not silently dropped, and so it is offline. A tool that asks for less loses the field on
  the way; the operator then never sees it, and cannot say so.
- the door reads the text itself, as `application/yaml`: kubectl turns YAML into JSON before, and a key that is given
  twice is gone by then.
- of what the door lets in, the operator's word is Accepted and ResolvedRefs. A key that an operator is yet to issue is
  no fault offline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.harness.apiserver import ApiServer
from cluster.harness.objects import PLURALS
from cluster.harness.rest import ApiError, Rest
from cluster.misuse.corpus import Mutant
from tidegate_operator.manifests import load_paths
from tidegate_operator.offline.judge import schema_problems
from tidegate_operator.offline.validation import validate_manifests
from tidegate_operator.problems import Problem, Severity

API = "/apis/tidegate.dev/v1alpha1"
_STRICT = "dryRun=All&fieldValidation=Strict"


@dataclass(frozen=True)
class AtTheDoor:
    """What offline judge and API server say of a mutant by itself; "" and () where they have nothing against it."""

    mutant: Mutant
    offline: tuple[Problem, ...]
    server: str

    @property
    def agree(self) -> bool:
        return bool(self.offline) == bool(self.server)

    def __str__(self) -> str:
        said = "; ".join(map(str, self.offline))
        return f"{self.mutant}\n  offline: {said or 'fine'}\n  server: {self.server or 'fine'}"


def offline(file: Path) -> tuple[Problem, ...]:
    """The errors in one file that need no other file to be seen."""
    loaded = load_paths([file])
    problems = [*loaded.problems, *(problem for one in loaded.documents for problem in schema_problems(one))]
    errors = tuple(problem for problem in problems if problem.severity is Severity.ERROR)
    if not errors and not loaded.documents:
        return (Problem(str(file), 1, "no object"),)
    return errors


def at_the_door(server: ApiServer, mutant: Mutant) -> str:
    """The API server's refusal of the text as it stands, or ""."""
    base = mutant.base
    path = f"{API}/namespaces/{base.namespace}/{PLURALS[base.kind]}?{_STRICT}"
    try:
        server.admin.request("POST", path, mutant.text, content_type="application/yaml")
    except ApiError as error:
        return error.message or str(error)
    return ""


def in_the_world(folder: Path) -> dict[str, list[Problem]]:
    """The errors of `tidegate validate` for all files of a folder together, by object (`Kind namespace/name`)."""
    report = validate_manifests(load_paths([folder]), platform_namespace="tidegate-system")
    found: dict[str, list[Problem]] = {}
    for problem in report.problems:
        if problem.severity is Severity.ERROR:
            found.setdefault(problem.object, []).append(problem)
    return found


def operators_words(rest: Rest) -> dict[str, Mapping[str, Any]]:
    """Every object of Tidegate's kinds, by `Kind namespace/name`."""
    return {
        f"{item['kind']} {item['metadata']['namespace']}/{item['metadata']['name']}": item
        for plural in PLURALS.values()
        for item in rest.list(f"{API}/{plural}")
    }


def judged(item: Mapping[str, Any]) -> bool:
    """Whether the operator has judged the present generation."""
    return bool(item.get("status", {}).get("observedGeneration") == item["metadata"]["generation"])


def against(item: Mapping[str, Any]) -> str:
    """What the operator has against an object; "" for nothing."""
    for condition in item.get("status", {}).get("conditions", ()):
        wrong = condition["status"] == "False" and condition["type"] in ("Accepted", "ResolvedRefs")
        if wrong and condition["reason"] != "KeyNotIssued":
            return f"{condition['type']} {condition['reason']}: {condition['message']}"
    return ""
