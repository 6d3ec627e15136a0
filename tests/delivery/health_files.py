"""The files under deploy/argocd that follow from health.lua and from the statuses that our own code writes.

    PYTHONPATH=tests .venv/bin/python -m delivery.health_files

writes them anew. The layout is that of Argo CD's own resource_customizations: a folder for each kind, with the script,
health_test.yaml and testdata.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from delivery.statuses import cases
from tidegate_operator.world import Kind

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "argocd"
SETTINGS = FOLDER / "argocd-cm.yaml"
CUSTOMIZATIONS = FOLDER / "resource_customizations" / "tidegate.dev"

_HEADER = """\
# How Argo CD judges Tidegate's objects. Merge it into the ConfigMap that Argo CD reads:
#
#   kubectl -n argocd patch configmap argocd-cm --patch-file deploy/argocd/argocd-cm.yaml
#
# Generated from health.lua.
"""


class _Dumper(yaml.SafeDumper):
    """Scripts as block scalars."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def rendered() -> Iterator[tuple[Path, str]]:
    """Every generated file and its text."""
    script = (FOLDER / "health.lua").read_text()
    data = {f"resource.customizations.health.tidegate.dev_{kind.value}": script for kind in sorted(Kind)}
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": data}
    yield SETTINGS, _HEADER + _dump(settings)
    for kind in sorted(Kind):
        folder, tests = CUSTOMIZATIONS / kind.value, []
        yield folder / "health.lua", script
        for case in cases(kind):
            path = f"testdata/{case.name}.yaml"
            yield folder / path, _dump(case.object)
            tests.append({"healthStatus": {"status": case.health, "message": _message(case.object)}, "inputPath": path})
        yield folder / "health_test.yaml", _dump({"tests": tests})


def _message(sample: dict[str, Any]) -> str:
    """What the script should say of it: the operator's own words, and what serves."""
    status, generation = sample["status"], sample["metadata"]["generation"]
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    if status["observedGeneration"] < generation:
        return f"Waiting for the operator to judge generation {generation}."
    ready, programmed = conditions["Ready"], conditions["Programmed"]
    message = str(ready["message"])
    if conditions["Accepted"]["status"] == "False":
        if "servedGeneration" in status:
            return f"{message}. The last good form, generation {status['servedGeneration']}, is serving."
        return message if programmed["reason"] == "NotPlaced" else f"{message}. Nothing of this object is served."
    if ready["reason"] in ("Pending", "Approved", "Expired") and programmed["status"] == "True":
        return f"{message} ({programmed['message']})"
    return message


def _dump(document: Any) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def main() -> int:
    """Write what differs, remove what is no longer made."""
    wanted = dict(rendered())
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
    for path in CUSTOMIZATIONS.rglob("*.*"):
        if path not in wanted:
            path.unlink()
            print(f"removed {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
