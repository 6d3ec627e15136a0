"""What the chart renders for the three files of values that come with it, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.harness.helm import CHART, Helm

_EXPECTED = Path(__file__).resolve().parents[2] / "golden" / "chart"
_EXAMPLES = sorted(path.stem for path in (CHART / "examples").glob("*.yaml"))
# Generated from the models and tested there: here only that they are rendered, under which name and labels.
_GENERATED = re.compile(
    r"(# Source: tidegate/templates/(?:crds|admission/policies)\.yaml\n(?:(?!---\n).*\n)*?)"
    r"spec:\n(?:(?!---\n).*(?:\n|\Z))*"
)
# A random one otherwise, at every rendering.
_PASSWORD = ("--set", "redis.embedded.auth.password=rendered-for-comparison")


@pytest.mark.parametrize("example", _EXAMPLES)
def test_renders_as_committed(helm: Helm, golden: Callable[[Path, str], None], example: str) -> None:
    text = helm.render(CHART / "examples" / f"{example}.yaml", more=_PASSWORD)
    golden(_EXPECTED / f"{example}.yaml", _GENERATED.sub(r"\1spec: {}  # left out here\n", text))


def test_there_are_the_three_that_the_guide_names() -> None:
    assert _EXAMPLES == ["multi-cloud", "production", "trial"]


def test_a_packaged_chart_holds_all_it_needs(helm: Helm, tmp_path: Path) -> None:
    helm.run("package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("tidegate-*.tgz")
    assert helm.render(chart=package) == helm.render()


@pytest.mark.parametrize("example", _EXAMPLES)
def test_lints_strictly(helm: Helm, example: str) -> None:
    assert "0 chart(s) failed" in helm.run(
        "lint", "--strict", CHART, "--values", CHART / "examples" / f"{example}.yaml"
    )
