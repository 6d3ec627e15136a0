"""The chart as it may have been one release ago: an older version, and CRDs that lack what has come since."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from cluster.harness.helm import CHART

VERSION = "0.0.9"


def previous_chart(folder: Path) -> Path:
    """A copy of the chart in which an AIRoute has no `spec.timeout` yet."""
    chart = folder / "tidegate"
    shutil.copytree(CHART, chart)
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": VERSION, "appVersion": VERSION}))
    file = chart / "crd-files" / "airoutes.yaml"
    crd = yaml.safe_load(file.read_text())
    for version in crd["spec"]["versions"]:
        del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["timeout"]
    # Written as it is read: the top level of a CRD in its usual order.
    file.write_text(yaml.safe_dump(crd, sort_keys=False))
    return chart
