"""Lays out the root file system of an image: Debian's Python, the pinned distributions, Tidegate; nothing else.

    python3.11 deploy/images/rootfs.py {dataplane,operator} {base,tidegate,check} FOLDER [--bytecode {with,without}]

The Dockerfile and the build without an engine (build.py) both run this, so both images hold the same files. Needs a
Debian with mmdebstrap and binutils, root (or a user namespace), and a Python 3.11 with pip. There is no shell, no
package manager, no compiler and no setuid file in the result; what Python does not need of Debian is not in it either.
"""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
USER = 65532
SITE = Path("usr/local/lib/python3.11/dist-packages")
"""On the path of Debian's Python, and nobody else's."""

_SUITE = "bookworm"
_PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "ca-certificates", "libgcc-s1")
_KEPT = ("lib64", "usr/bin/python3.11", "usr/lib/python3.11", "usr/lib/ssl", "etc/ssl/openssl.cnf")
_LIBRARIES = ("lib", "usr/lib")

# The programs of each image and the folders of the wheel that it does not need.
_PROGRAM = {"dataplane": "tidegate-dataplane", "operator": "tidegate"}
_PACKAGE = {"dataplane": "tidegate_dataplane", "operator": "tidegate_operator"}
_LEFT_OUT = {"dataplane": ("tidegate_operator", "tidegate_crds"), "operator": ()}
_OPERATORS_OWN = ("kopf", "kubernetes", "pydantic", "typer", "tidegate_operator")

# Of the standard library: what has a window, a terminal, a database, a test or a manual.
_STANDARD_LIBRARY_LEFT_OUT = (
    "curses",
    "dbm",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "sqlite3",
    "test",
    "tkinter",
    "turtledemo",
    "venv",
    "turtle.py",
    "lib-dynload/_curses*.so",
    "lib-dynload/_dbm*.so",
    "lib-dynload/nis*.so",
    "lib-dynload/_sqlite3*.so",
    "lib-dynload/readline*.so",
    "lib-dynload/_tkinter*.so",
    "lib-dynload/_test*.so",
    "lib-dynload/_xxtest*.so",
    "lib-dynload/xx*.so",
    "lib-dynload/_ctypes_test*.so",
)
_DISTRIBUTIONS_LEFT_OUT = ("*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.c", "*.h", "py.typed", "tests", "test", "__pycache__")

# glibc opens these by name when it resolves a host or ends a thread, so nothing is linked to them.
_OPENED_BY_NAME = {"libgcc_s.so.1", "libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"}

_IMPORT_ALL = """
import importlib, pkgutil, sys
top = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(top.__path__, top.__name__ + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""

_PASSWD = f"root:x:0:0:root:/:/none\ntidegate:x:{USER}:{USER}:tidegate:/:/none\n"
_GROUP = f"root:x:0:\ntidegate:x:{USER}:\n"


class LayoutFailed(RuntimeError):
    """An image cannot be laid out; the message says what to do."""


def lay_out_base(image: str, into: Path, *, bytecode: bool = True) -> None:
    """Make the part of the root file system that changes with the locks only, in the new folder `into`.

    With `bytecode`, modules are compiled beforehand: the file system is read-only when they are first imported. Raises
    LayoutFailed.
    """
    _check_builder()
    with tempfile.TemporaryDirectory(prefix="tidegate-image-") as scratch:
        debian = Path(scratch) / "debian"
        _bootstrap(debian)
        into.mkdir(parents=True)
        _keep(debian, into)
        _trust(debian, into)
    lock = ROOT / "requirements" / f"{image}.lock"
    _install(into, "--require-hashes", "-r", lock)
    if image == "dataplane":
        _silence_command_line(into / SITE)
    _prune(into)
    _strip(into)
    _drop_unused_libraries(into)
    _write_accounts(into)
    if bytecode:
        _compile(into, "usr/lib/python3.11", SITE)


def lay_out_tidegate(image: str, into: Path, wheel: Path, *, bytecode: bool = True) -> None:
    """Make the rest, Tidegate itself, in the new folder `into`. Raises LayoutFailed."""
    into.mkdir(parents=True)
    _install(into, wheel)
    for folder in _LEFT_OUT[image]:
        shutil.rmtree(into / SITE / folder)
    _write_program(image, into)
    if bytecode:
        _compile(into, SITE)


def check(image: str, root: Path) -> None:
    """Prove of a whole root file system that it holds what it must and no more, and as root that it starts."""
    special = [path for path in root.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o6000]
    programs = [path for path in root.rglob("bin/*") if not path.is_dir()]
    unexpected = [path for path in programs if not re.search(r"/(python3(\.11)?|tidegate(-dataplane)?)$", str(path))]
    if special or unexpected:
        raise LayoutFailed(f"this does not belong into the image: {[str(path) for path in special + unexpected]}")
    forbidden = _OPERATORS_OWN if image == "dataplane" else ()
    present = [name for name in forbidden if (root / SITE / name).exists()]
    if present:
        raise LayoutFailed(f"the data plane's image holds {present}, which only the operator needs")
    if os.geteuid() == 0:
        _run(
            ["chroot", f"--userspec={USER}:{USER}", root, "/usr/bin/python3", "-s", "-c", _IMPORT_ALL, _PACKAGE[image]]
        )
        _run(["chroot", f"--userspec={USER}:{USER}", root, f"/usr/local/bin/{_PROGRAM[image]}", "--help"])


def build_wheel(into: Path) -> Path:
    """Tidegate's wheel, made with the pinned hatchling. Raises LayoutFailed."""
    with tempfile.TemporaryDirectory(prefix="tidegate-wheel-") as tools:
        lock = ROOT / "requirements" / "build.lock"
        _run([*_pip("install"), "--target", tools, "--no-deps", "--require-hashes", "-r", lock])
        source = f"import sys; sys.path.insert(0, {tools!r}); from hatchling.build import build_wheel; "
        _run([sys.executable, "-I", "-c", f"{source}print(build_wheel({str(into)!r}))"], cwd=ROOT)
    return next(into.glob("tidegate-*.whl"))


def _check_builder() -> None:
    missing = [tool for tool in ("mmdebstrap", "strip", "readelf") if shutil.which(tool) is None]
    if missing:
        raise LayoutFailed(f"{', '.join(missing)} not found. On Debian: apt-get install mmdebstrap binutils")
    if sys.version_info[:2] != (3, 11):
        raise LayoutFailed("run this with Python 3.11, which is the Python of the images")


def _bootstrap(debian: Path) -> None:
    command = ["mmdebstrap", "--quiet", "--mode=chrootless", "--variant=extract", f"--include={','.join(_PACKAGES)}"]
    _run([*command, _SUITE, debian])


def _keep(debian: Path, into: Path) -> None:
    for name in _KEPT:
        source, target = debian / name, into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy2(source, target, follow_symlinks=False)
    for name in _LIBRARIES:
        folder = next((debian / name).glob("*-linux-gnu"))
        plain = shutil.ignore_patterns("gconv", "perl*", "audit")
        shutil.copytree(folder, into / folder.relative_to(debian), symlinks=True, ignore=plain)


def _trust(debian: Path, into: Path) -> None:
    """One file of certificate authorities, as update-ca-certificates of Debian would write."""
    certificates = sorted((debian / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    target = into / "etc/ssl/certs/ca-certificates.crt"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(path.read_text() for path in certificates))


def _install(into: Path, *what: str | Path) -> None:
    command = [*_pip("install"), "--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    _run([*command, "--target", into / SITE, *what])
    shutil.rmtree(into / SITE / "bin", ignore_errors=True)
    _forget_records(into / SITE)


def _silence_command_line(site: Path) -> None:
    """Importing `cel` imports its command line, and with it a terminal's worth of distributions that the data plane
    must not need: there, that module is empty."""
    module = site / "cel" / "cli.py"
    if not module.exists():
        raise LayoutFailed("cel/cli.py is gone: see whether `import cel` still needs typer, and adapt this script")
    module.write_text("# The command line of `cel` is left out of this image.\n")


def _forget_records(site: Path) -> None:
    """What is left out later would be missed by a RECORD; nobody uninstalls anything here."""
    for record in site.glob("*.dist-info/RECORD"):
        record.unlink()
    for entry_points in site.glob("*.dist-info/entry_points.txt"):
        entry_points.unlink()


def _prune(into: Path) -> None:
    for name in _STANDARD_LIBRARY_LEFT_OUT:
        _remove((into / "usr/lib/python3.11").glob(name))
    for name in _DISTRIBUTIONS_LEFT_OUT:
        _remove((into / SITE).rglob(name))
    _remove((into / "usr/lib/python3.11").rglob("__pycache__"))


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _strip(into: Path) -> None:
    """Wheels carry symbol tables that only a debugger reads."""
    libraries = [path for path in (into / SITE).rglob("*.so*") if path.is_file() and not path.is_symlink()]
    _run(["strip", "--strip-unneeded", *libraries])


def _drop_unused_libraries(into: Path) -> None:
    """Keep the shared libraries that Python and its extension modules are linked to, directly or not."""
    folders = [*into.glob("lib/*-linux-gnu"), *into.glob("usr/lib/*-linux-gnu")]
    by_name = {path.name: path for folder in folders for path in folder.rglob("*.so*")}
    roots = [into / "usr/bin/python3.11", *(into / "usr/lib/python3.11").rglob("*.so"), *(into / SITE).rglob("*.so*")]
    used: set[str] = set()
    waiting = [name for path in roots for name in _needed(path)] + sorted(_OPENED_BY_NAME)
    while waiting:
        name = waiting.pop()
        if name in used or name not in by_name:
            continue
        used.add(name)
        used.add(by_name[name].resolve().name)
        waiting.extend(_needed(by_name[name]))
    used |= {name for name in by_name if name.startswith("ld-linux")}
    _remove(path for name, path in by_name.items() if name not in used)
    for folder in folders:
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
            elif path.is_file() and ".so" not in path.name:
                path.unlink()


def _needed(path: Path) -> list[str]:
    ended = subprocess.run(  # noqa: S603 - our own words
        ["readelf", "-d", str(path)],  # noqa: S607 - wherever binutils lie
        capture_output=True,
        text=True,
        check=True,
    )
    return re.findall(r"\(NEEDED\).*\[(.+)\]", ended.stdout)


def _write_accounts(into: Path) -> None:
    (into / "etc/passwd").write_text(_PASSWD)
    (into / "etc/group").write_text(_GROUP)
    (into / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    (into / "usr/bin/python3").symlink_to("python3.11")
    (into / "tmp").mkdir()
    (into / "tmp").chmod(0o1777)
    for name in ("dev", "proc", "sys", "run"):
        (into / name).mkdir(exist_ok=True)


def _write_program(image: str, into: Path) -> None:
    program = into / "usr/local/bin" / _PROGRAM[image]
    program.parent.mkdir(parents=True)
    module = "tidegate_dataplane.main" if image == "dataplane" else "tidegate_operator.cli"
    program.write_text(f"#!/usr/bin/python3.11 -s\nimport sys\nfrom {module} import main\n\nsys.exit(main())\n")
    program.chmod(0o755)


def _compile(into: Path, *folders: str | Path) -> None:
    """Bytecode that is never compared with its source: both come from here, and a copied file has another time."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for folder in folders:
        done = compileall.compile_dir(
            into / folder, quiet=2, stripdir=str(into), prependdir="/", invalidation_mode=mode, workers=1
        )
        if not done:
            # A template of a distribution need not be valid Python; that Tidegate starts is proved by running it.
            print(f"some files of {folder} do not compile", file=sys.stderr)


def _pip(command: str) -> list[str]:
    quiet = ["--quiet", "--disable-pip-version-check", "--no-compile"] if command == "install" else []
    return [sys.executable, "-m", "pip", command, *quiet, "--root-user-action=ignore"]


def _run(command: Iterable[str | Path], *, cwd: Path | None = None) -> None:
    words = [str(word) for word in command]
    ended = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if ended.returncode != 0:
        shown = " ".join(words[:8])
        raise LayoutFailed(f"{shown} ... failed:\n{(ended.stderr or ended.stdout).strip()[-2000:]}")


def main() -> int:
    """Lay out one image, whole; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image", choices=tuple(_PROGRAM))
    parser.add_argument("part", choices=("base", "tidegate", "check"))
    parser.add_argument("folder", type=Path, help="a new folder; for check, one with both parts")
    parser.add_argument("--bytecode", choices=("with", "without"), default="with", help="(%(default)s)")
    options = parser.parse_args()
    bytecode = options.bytecode == "with"
    try:
        if options.part == "base":
            lay_out_base(options.image, options.folder, bytecode=bytecode)
        elif options.part == "check":
            check(options.image, options.folder)
        else:
            with tempfile.TemporaryDirectory(prefix="tidegate-wheel-") as scratch:
                lay_out_tidegate(options.image, options.folder, build_wheel(Path(scratch)), bytecode=bytecode)
    except LayoutFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
