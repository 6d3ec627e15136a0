"""Which files below a path are manifests: what `kubectl apply -R -f` would read, each file once."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_SUFFIXES = (".yaml", ".yml", ".json")
_TEST_SUFFIXES = (".test.yaml", ".test.yml")
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")


def manifest_files(paths: Iterable[str | Path]) -> list[Path]:
    """The files that `load_paths` reads, sorted within each path, each once, whatever links lead to it.

    Left out: hidden files and folders, `*.test.yaml` and kustomizations. Raises FileNotFoundError.
    """
    seen: set[str] = set()
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        for file, real in _files_below(path) if path.is_dir() else [(path, os.path.realpath(path))]:
            if real not in seen:
                seen.add(real)
                found.append(file)
    return found


def _files_below(folder: Path) -> Iterator[tuple[Path, str]]:
    """Each with its real path. Only links are asked where they lead: a folder may have tens of thousands of files."""
    waiting, seen = [folder], set[str]()
    while waiting:
        here = waiting.pop()
        real = os.path.realpath(here)
        if real in seen:
            continue
        seen.add(real)
        folders = []
        for entry in _entries(here):
            path, is_link = here / entry.name, entry.is_symlink()
            # Of a link that leads nowhere, or in a circle, only the path says "no" instead of raising.
            asked = path if is_link else entry
            if _is_manifest_name(entry.name) and asked.is_file():
                yield path, os.path.realpath(path) if is_link else os.path.join(real, entry.name)
            elif not entry.name.startswith(".") and asked.is_dir():
                folders.append(path)
        waiting.extend(reversed(folders))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Sorted by name; nothing of a folder that may not be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _is_manifest_name(name: str) -> bool:
    return (
        name.endswith(_SUFFIXES)
        and not name.startswith(".")
        and not name.endswith(_TEST_SUFFIXES)
        and name not in _KUSTOMIZATIONS
    )


def is_manifest_path(path: str) -> bool:
    """The same for a path within a revision, with slashes: whether it names a manifest, and no part of it is hidden."""
    *folders, name = path.split("/")
    return _is_manifest_name(name) and not any(folder.startswith(".") for folder in folders)
