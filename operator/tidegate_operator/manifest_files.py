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
        for file in _files_below(path) if path.is_dir() else [path]:
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                found.append(file)
    return found


def _files_below(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if _is_manifest_name(name) and (file := Path(here, name)).is_file():
                yield file


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
