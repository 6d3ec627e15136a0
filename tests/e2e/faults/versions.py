"""The programs and CRDs of an earlier version, taken out of git."""

from __future__ import annotations

import os
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SCHEMA_2 = "f3b113f855be2580323b6b8bdf8b51c58240fec9^"
"""The last commit whose operator publishes, and whose data planes read, snapshots of schema 2 alone."""


class OldVersion:
    """An earlier version in a folder. Its dependencies are those of today's environment."""

    def __init__(self, folder: Path, commit: str = SCHEMA_2) -> None:
        """Raises CalledProcessError in a clone that does not reach back so far."""
        parts = ("crds", "operator", "dataplane", "examples")
        packed = subprocess.run(
            ["git", "archive", "--format=tar", commit, *parts], cwd=ROOT, capture_output=True, check=True
        ).stdout
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        self.folder = folder
        self.crds = folder / "crds"

    @property
    def environment(self) -> dict[str, str]:
        """Variables under which `tidegate` and `tidegate-dataplane` are those of this version."""
        roots = [str(self.folder / part) for part in ("crds", "operator", "dataplane")]
        return {"PYTHONPATH": os.pathsep.join(roots), "PYTHONDONTWRITEBYTECODE": "1"}
