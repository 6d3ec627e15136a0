"""Writes snapshots into a directory as the kubelet fills a mounted ConfigMap volume: a new folder, one renamed link."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from tidegate_dataplane.snapshot.bundle import INDEX_KEY, Bundle, shard_key
from tidegate_dataplane.snapshot.codec import decode_index


class Prepared(NamedTuple):
    """A snapshot that lies in its folder already, and the names of its files."""

    folder: str
    names: frozenset[str]


class MountedDirectory:
    """One volume. `path` is what a data plane is given."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path
        self._swaps = 0

    def swap(self, bundle: Bundle) -> None:
        """Replace all files at once: write them aside, rename `..data`, mend the links, remove the old folder."""
        before = self._target()
        self.show(self.prepare(bundle))
        if before is not None:
            shutil.rmtree(self.path / before)

    def prepare(self, bundle: Bundle) -> Prepared:
        """Write the files aside, which is most of the work of a swap and must not fall on the core under test."""
        self._swaps += 1
        files = {INDEX_KEY: bundle.index}
        for ref in decode_index(bundle.index).shards:
            files[shard_key(ref.name, ref.sha256)] = bundle.shards[ref.name]
        aside = self.path / f"..{self._swaps:06d}"
        aside.mkdir()
        for name, content in files.items():
            (aside / name).write_bytes(content)
        return Prepared(aside.name, frozenset(files))

    def show(self, prepared: Prepared) -> None:
        """Swap to it; the folder before stays."""
        link = self.path / "..data_tmp"
        link.symlink_to(prepared.folder)
        os.replace(link, self.path / "..data")
        self._show(prepared.names)

    def _show(self, names: frozenset[str]) -> None:
        shown = {each.name for each in self.path.iterdir() if not each.name.startswith("..")}
        for name in names - shown:
            (self.path / name).symlink_to(f"..data/{name}")
        for name in shown - names:
            (self.path / name).unlink()

    def _target(self) -> str | None:
        data = self.path / "..data"
        return os.readlink(data) if data.is_symlink() else None
