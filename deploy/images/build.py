"""Builds the two images with buildah, without an engine and without a registry, and says what is in them.

    python deploy/images/build.py

The archives (OCI, layers not compressed) lie outside the checkout, in a folder that is named after what went into them,
so the second call only prints; what only the locks change is kept apart, so a changed source costs seconds. Needs root,
and Debian's buildah, mmdebstrap and binutils.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from rootfs import ROOT, SITE, USER, LayoutFailed, build_wheel, check, lay_out_base, lay_out_tidegate

IMAGES = ("dataplane", "operator")
NAME = "localhost/tidegate-{image}:{tag}"
DATA_PLANE_LIMIT = 120_000_000
"""Bytes of the data plane's files, not compressed: what a node unpacks."""

_ENTRY = {"dataplane": ("/usr/local/bin/tidegate-dataplane",), "operator": ("/usr/local/bin/tidegate",)}
_COMMAND = {"dataplane": (), "operator": ("operator",)}
_SOURCES = ("crds/tidegate_crds", "operator/tidegate_operator", "dataplane/tidegate_dataplane", "deploy/images")
_FILES = ("pyproject.toml", "README.md", *(f"requirements/{name}.lock" for name in ("build", *IMAGES)))
_COMPILERS = ("cc", "gcc", "g++", "clang", "ld", "as", "go", "rustc", "cargo", "make")
_MEGABYTE = 1_000_000
_KEPT = 3


@dataclass(frozen=True)
class Contents:
    """What one image holds. Sizes in bytes; `compressed` is what a registry would transfer."""

    image: str
    compressed: int
    uncompressed: int
    files: int
    distributions: int
    setuid: int
    compilers: int
    largest: list[tuple[str, int]]


def cache_root() -> Path:
    """$TIDEGATE_CACHE, else $XDG_CACHE_HOME/tidegate, else ~/.cache/tidegate; then images/."""
    own, shared = os.environ.get("TIDEGATE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    base = Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "tidegate"
    return base.expanduser() / "images"


def key() -> str:
    """Names a build after every file that goes into it."""
    digest = hashlib.sha256()
    for path in _inputs():
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def archive(image: str) -> Path:
    """Where the OCI archive of `image` lies once it is built from what the checkout holds now."""
    return cache_root() / key() / f"{image}.tar"


def ensure() -> Path:
    """The folder with both archives and contents.json, built first when it is not there. Safe to run twice at once.

    Raises LayoutFailed with what to do next.
    """
    target = cache_root() / key()
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _check_builder()
            _build_all(target)
            _forget_old()
    return target


def _forget_old() -> None:
    """Every changed source makes new archives of 400 MB: keep the newest ones, and the newest layers below them."""
    for pattern in ("[0-9a-f]" * 12, *(f"base-{image}-*" for image in IMAGES)):
        folders = sorted(cache_root().glob(pattern), key=lambda folder: folder.stat().st_mtime)
        for folder in folders[:-_KEPT]:
            shutil.rmtree(folder)


def _inputs() -> Iterator[Path]:
    for folder in _SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path
    for name in _FILES:
        yield ROOT / name


def _check_builder() -> None:
    if shutil.which("buildah") is None:
        raise LayoutFailed("buildah not found. On Debian: apt-get install buildah mmdebstrap binutils")
    if os.geteuid() != 0:
        raise LayoutFailed("images are built by root: try sudo make images")


def _build_all(target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as folder:
        partial = Path(folder)
        wheel = build_wheel(partial)
        done = partial / "done"
        done.mkdir()
        contents = []
        for image in IMAGES:
            began = time.monotonic()
            _say(f"building the image of the {image}")
            base, own = _base(image), partial / f"{image}.own"
            lay_out_tidegate(image, own, wheel)
            whole = partial / f"{image}.root"
            _run("cp", "-a", "--reflink=auto", str(base), str(whole))
            _run("cp", "-a", f"{own}/.", str(whole))
            check(image, whole)
            _pack(image, (base, own), done / f"{image}.tar", scratch=partial)
            contents.append(_contents(image, whole, done / f"{image}.tar"))
            _say(f"  {time.monotonic() - began:.0f} s")
        (done / "contents.json").write_text(json.dumps([asdict(each) for each in contents], indent=2))
        done.rename(target)


def _base(image: str) -> Path:
    """The folder with Debian's Python and the pinned distributions, laid out first when it is not there."""
    digest = hashlib.sha256((ROOT / "requirements" / f"{image}.lock").read_bytes())
    digest.update((ROOT / "deploy/images/rootfs.py").read_bytes())
    target = cache_root() / f"base-{image}-{digest.hexdigest()[:12]}"
    if not target.exists():
        _say("  Debian's Python and the pinned distributions, once")
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as folder:
            lay_out_base(image, Path(folder) / "root")
            (Path(folder) / "root").rename(target)
    return target


def _pack(image: str, layers: tuple[Path, ...], into: Path, *, scratch: Path) -> None:
    """An OCI archive with a layer for each folder."""
    name = NAME.format(image=image, tag="e2e")
    below = "scratch"
    for number, layer in enumerate(layers):
        container = _buildah(scratch, "from", below)
        _buildah(scratch, "copy", "--quiet", container, str(layer), "/")
        below = f"localhost/{image}-layer:{number}" if layer != layers[-1] else name
        if below == name:
            _buildah(scratch, "config", *_settings(image), container)
        _buildah(scratch, "commit", "--quiet", "--format", "oci", "--disable-compression", container, below)
        _buildah(scratch, "rm", container)
    _buildah(scratch, "push", "--quiet", "--disable-compression", name, f"oci-archive:{into}:{name}")


def _settings(image: str) -> list[str]:
    settings = [
        *("--user", f"{USER}:{USER}", "--workingdir", "/", "--stop-signal", "SIGTERM"),
        *("--entrypoint", json.dumps(list(_ENTRY[image]))),
        *("--cmd", " ".join(_COMMAND[image])),
        *("--env", "PYTHONUNBUFFERED=1", "--env", "PYTHONDONTWRITEBYTECODE=1", "--env", "PATH=/usr/local/bin:/usr/bin"),
        *("--label", f"org.opencontainers.image.title=tidegate-{image}"),
        *("--label", "org.opencontainers.image.licenses=Apache-2.0"),
        *("--label", f"org.opencontainers.image.version={_version()}"),
    ]
    ports = ["--port", "8080/tcp", "--port", "9090/tcp"] if image == "dataplane" else []
    return settings + ports


def _buildah(scratch: Path, *arguments: str) -> str:
    storage = ["--storage-driver", "vfs", "--root", str(scratch / "storage"), "--runroot", str(scratch / "run")]
    return _run("buildah", *storage, *arguments)


def _run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if ended.returncode != 0:
        raise LayoutFailed(f"{' '.join(command[:6])} ... failed:\n{ended.stderr.strip()}")
    return ended.stdout.strip()


def _version() -> str:
    line = next(line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version"))
    return line.split('"')[1]


def _contents(image: str, root: Path, packed: Path) -> Contents:
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    site = root / SITE
    sizes = {path.name: _size(path) for path in site.iterdir()}
    sizes["Python and its libraries"] = _size(root) - _size(site)
    return Contents(
        image=image,
        compressed=_compressed(packed),
        uncompressed=_size(root),
        files=len(files),
        distributions=len(list(site.glob("*.dist-info"))),
        setuid=sum(1 for path in files if path.stat().st_mode & 0o6000),
        compilers=sum(1 for path in files if path.parent.name in ("bin", "sbin") and path.name in _COMPILERS),
        largest=sorted(sizes.items(), key=lambda item: -item[1])[:6],
    )


def _compressed(path: Path) -> int:
    """Bytes of that file as gzip of level 6 makes it, which is what registries transfer."""
    squeeze, total = zlib.compressobj(6), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total += len(squeeze.compress(block))
    return total + len(squeeze.flush())


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file() and not each.is_symlink())


def table(folder: Path) -> tuple[str, bool]:
    """What to print of the images of that folder, and whether the bound holds."""
    contents = [Contents(**each) for each in json.loads((folder / "contents.json").read_text())]
    lines = [
        f"{'image':<12}{'files, MB':>11}{'gzipped, MB':>13}{'files':>8}{'python':>8}{'setuid':>8}{'compilers':>11}"
    ]
    for each in contents:
        sizes = f"{each.uncompressed / _MEGABYTE:>11.1f}{each.compressed / _MEGABYTE:>13.1f}"
        counts = f"{each.files:>8}{each.distributions:>8}{each.setuid:>8}{each.compilers:>11}"
        lines.append(f"{each.image:<12}{sizes}{counts}")
    for each in contents:
        largest = ", ".join(f"{name} {size / _MEGABYTE:.1f}" for name, size in each.largest)
        lines.append(f"largest in the {each.image}, MB: {largest}")
    ok = all(each.setuid == 0 and each.compilers == 0 for each in contents)
    size = next(each.uncompressed for each in contents if each.image == "dataplane")
    verdict = "within" if size <= DATA_PLANE_LIMIT else "ABOVE"
    lines.append(f"the data plane is {verdict} its bound of {DATA_PLANE_LIMIT / _MEGABYTE:.0f} MB, not compressed")
    return "\n".join([*lines, f"archives: {folder}"]), ok and size <= DATA_PLANE_LIMIT


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Build what is missing and print the table; returns the exit code, 1 when a bound is broken."""
    try:
        text, ok = table(ensure())
    except LayoutFailed as error:
        _say(f"error: {error}")
        return 1
    print(text)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
