"""Writes the files that follow from the models: `python -m tidegate_crds.generate [--check]`.

crds/<plural>.yaml, one CustomResourceDefinition each, docs/reference/api.md, and the chart's admission policies. With
--check nothing is written; exit code 1 names each stale file and the command that renews it.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tidegate_crds.admission.chart import TEMPLATE, chart_template
from tidegate_crds.definition import NAMES, custom_resource_definition
from tidegate_crds.reference import api_reference

COMMAND = "python -m tidegate_crds.generate"
CRD_FOLDERS = ("crds", "charts/tidegate/crd-files")
_HEADER = f"# Generated from crds/tidegate_crds/v1alpha1 by `{COMMAND}`; do not edit.\n"
_ADMISSION_HEADER = f"{{{{- /* Generated from crds/tidegate_crds/admission by `{COMMAND}`; do not edit. */ -}}}}\n"
_ROOT = Path(__file__).resolve().parents[2]


class _PlainDumper(yaml.SafeDumper):
    """No anchors: a CRD is read by people."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def generated_files() -> dict[str, str]:
    """Every generated file: path relative to the project's root -> content."""
    crds = {f"{names.plural}.yaml": crd_yaml(kind) for kind, names in NAMES.items()}
    files = {f"{folder}/{name}": text for folder in CRD_FOLDERS for name, text in crds.items()}
    files["docs/reference/api.md"] = api_reference()
    files[TEMPLATE] = _ADMISSION_HEADER + chart_template(_written)
    return files


def crd_yaml(kind: str) -> str:
    """The CRD of `kind` as YAML, the same bytes for the same models."""
    return _HEADER + _written(custom_resource_definition(kind))


def _written(manifest: Any) -> str:
    return yaml.dump(
        manifest, Dumper=_PlainDumper, sort_keys=False, width=120, allow_unicode=True, default_flow_style=False
    )


def stale_files(files: Mapping[str, str], root: Path) -> list[str]:
    """Those of `files` whose content under `root` is another, or missing."""
    return [path for path, text in files.items() if not _has_content(root / path, text)]


def main(arguments: list[str] | None = None) -> int:
    """Write what is stale, or with --check only report it. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Generate the CRDs and the API reference.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
    parser.add_argument("--root", type=Path, default=_ROOT, help="the project's root (default: this checkout)")
    options = parser.parse_args(arguments)
    files = generated_files()
    stale = stale_files(files, options.root)
    for path in stale:
        if options.check:
            print(f"{path} is stale: run `{COMMAND}` and commit the result", file=sys.stderr)
        else:
            target = options.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(files[path], encoding="utf-8")
            print(f"wrote {path}")
    return 1 if options.check and stale else 0


def _has_content(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
