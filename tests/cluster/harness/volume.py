"""Fills a directory as the kubelet fills a volume: a new folder aside, then one renamed link.

After Kubernetes' pkg/volume/util/atomic_writer.go: files stand in `..TIMESTAMP`, the link `..data` points to that
folder, and every visible name is a link through `..data`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


class Volume:
    """One mounted volume. `path` is what a program is given."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path
        self._swaps = 0

    def swap(self, files: Mapping[str, bytes]) -> None:
        """Show exactly these files from now on; those that are there already change all at once."""
        self._swaps += 1
        aside = self.path / f"..2026_01_01_00_00_00.{self._swaps:09d}"
        aside.mkdir()
        for name, content in files.items():
            (aside / name).write_bytes(content)
        data, link = self.path / "..data", self.path / "..data_tmp"
        before = data.readlink() if data.is_symlink() else None
        link.symlink_to(aside.name)
        os.replace(link, data)
        shown = {each.name for each in self.path.iterdir() if not each.name.startswith("..")}
        for name in files.keys() - shown:
            (self.path / name).symlink_to(f"..data/{name}")
        for name in shown - files.keys():
            (self.path / name).unlink()
        if before is not None:
            shutil.rmtree(self.path / before)
