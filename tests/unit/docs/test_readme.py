"""What the README shows is what Tidegate accepts, and every example folder is valid."""

import re
from pathlib import Path

import pytest

from tidegate_operator.manifests import load_paths
from tidegate_operator.offline.validation import validate_manifests

ROOT = Path(__file__).resolve().parents[3]
SECRETS = """
---
apiVersion: v1
kind: Secret
metadata: {name: openai, namespace: search}
stringData: {api-key: not-a-provider-key}
---
apiVersion: v1
kind: Secret
metadata: {name: web-key, namespace: search}
stringData: {token: not-a-caller-key}
"""


def test_the_example_in_the_readme_is_valid(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    file = tmp_path / "readme.yaml"
    file.write_text("---\n".join(blocks) + SECRETS)
    report = validate_manifests(load_paths([file]), platform_namespace="tidegate-system")
    assert [str(problem) for problem in report.problems] == []
    assert report.objects == 6


# Those of argocd and ci are of other tools' kinds.
@pytest.mark.parametrize("folder", sorted({path.name for path in (ROOT / "examples").iterdir()} - {"argocd", "ci"}))
def test_every_example_folder_is_valid(folder: str) -> None:
    report = validate_manifests(load_paths([ROOT / "examples" / folder]), platform_namespace="tidegate-system")
    assert [str(problem) for problem in report.problems] == []
    assert report.objects


def test_every_chore_that_the_readme_names_exists() -> None:
    makefile = "\n".join(path.read_text() for path in (ROOT / "Makefile", *(ROOT / "make").glob("*.mk")))
    named = set(re.findall(r"make ([a-z][a-z-]+)", (ROOT / "README.md").read_text()))
    assert named
    assert named <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
