"""The examples as worlds to misuse: each round has namespaces, keys and paths of its own, so that rounds never meet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate_operator.manifests import Manifest, load_paths

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
FOLDERS = ("access", "budgets", "claims", "prices", "quickstart", "quotas", "risk", "subscriptions")


@dataclass(frozen=True)
class Base:
    """An object of an example, or one of the Secrets and lists beside them. `tree` is plain JSON data."""

    example: str
    tree: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.tree["kind"])

    @property
    def ours(self) -> bool:
        return str(self.tree["apiVersion"]).startswith("tidegate.dev/")

    @property
    def name(self) -> str:
        return str(self.tree["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.tree["metadata"]["namespace"])

    @property
    def key(self) -> str:
        """As problems and verdicts name it."""
        return f"{self.kind} {self.namespace}/{self.name}"

    def __str__(self) -> str:
        return f"{self.key} of {self.example}"


def bases(number: int) -> list[Base]:
    """All objects of all examples, as they are in round `number`."""
    return [
        Base(folder, _of_round(dict(manifest.raw), f"{folder[:8]}{number}"))
        for folder in FOLDERS
        for manifest in _manifests(EXAMPLES / folder)
    ]


def _manifests(folder: Path) -> Iterator[Manifest]:
    loaded = load_paths([folder])
    assert not loaded.problems, loaded.problems
    yield from loaded.documents


def _of_round(tree: dict[str, Any], suffix: str) -> dict[str, Any]:
    changed: dict[str, Any] = _walked(tree, suffix)
    metadata = changed["metadata"]
    metadata["namespace"] = f"{tree['metadata'].get('namespace', 'default')}-{suffix}"
    if tree["kind"] == "AIRoute":
        changed["spec"]["pathPrefix"] = f"/{suffix}{changed['spec'].get('pathPrefix', '/v1')}"
    if tree["kind"] == "Secret":
        held = changed.get("stringData", {})
        changed["stringData"] = {name: f"{value}-{suffix}" for name, value in held.items()}
    return changed


def _walked(value: Any, suffix: str) -> Any:
    if isinstance(value, dict):
        return {name: _renamed(name, item, suffix) for name, item in value.items()}
    return [_walked(item, suffix) for item in value] if isinstance(value, list) else value


def _renamed(name: str, value: Any, suffix: str) -> Any:
    match name:
        case "namespace" if isinstance(value, str):
            return f"{value}-{suffix}"
        case "allowedNamespaces":
            return [one if one == "*" else f"{one}-{suffix}" for one in value]
        case "sha256":
            return hashlib.sha256(f"{value}{suffix}".encode()).hexdigest()
        case "issuer" | "uri" | "dns" | "subject" if isinstance(value, str):
            return value  # two consumers of several rounds may match one token: nothing forbids it
        case "for" if isinstance(value, str) and "/" in value:
            namespace, _, rest = value.partition("/")
            return f"{namespace}-{suffix}/{rest}"
    return _walked(value, suffix)
