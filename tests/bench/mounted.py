"""Writes snapshots into a directory as the kubelet fills a mounted ConfigMap volume: a new folder, one renamed link."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tidegate_dataplane.snapshot.bundle import INDEX_KEY, Bundle, shard_key
from tidegate_dataplane.snapshot.codec import decode_index


class MountedDirectory:
    """One volume. `path` is what a data plane is given."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path
        self._swaps = 0

    def swap(self, bundle: Bundle) -> None:
        """Replace all files at once: write them aside, rename `..data`, mend the links, remove the old folder."""
        self._swaps += 1
        files = {INDEX_KEY: bundle.index}
        for ref in decode_index(bundle.index).shards:
            files[shard_key(ref.name, ref.sha256)] = bundle.shards[ref.name]
        aside = self.path / f"..{self._swaps:06d}"
        aside.mkdir()
        for name, content in files.items():
            (aside / name).write_bytes(content)
        before = self._target()
        link = self.path / "..data_tmp"
        link.symlink_to(aside.name)
        os.replace(link, self.path / "..data")
        self._show(set(files))
        if before is not None:
            shutil.rmtree(self.path / before)

    def _show(self, names: set[str]) -> None:
        shown = {each.name for each in self.path.iterdir() if not each.name.startswith("..")}
        for name in names - shown:
            (self.path / name).symlink_to(f"..data/{name}")
        for name in shown - names:
            (self.path / name).unlink()

    def _target(self) -> str | None:
        data = self.path / "..data"
        return os.readlink(data) if data.is_symlink() else None
