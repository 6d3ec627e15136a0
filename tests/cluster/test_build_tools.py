"""Building the tools, with a stand-in for the go command: what the user reads, and that nothing half-built is left."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.harness.binaries import NAMES

_TESTS = Path(__file__).resolve().parents[1]

_FAKE_GO = """\
#!{python}
import os, pathlib, sys, time
here = pathlib.Path(__file__).parent
if sys.argv[1] == "version":
    sys.exit(os.environ.get("FAKE_GO_TOO_OLD"))
if os.environ.get("FAKE_GO_BROKEN"):
    print("runtime/internal/sys", file=sys.stderr)
    sys.exit("server.go:1: undefined: Everything")
output = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
with (here / "built").open("a") as built:
    print(output.name, os.environ["CGO_ENABLED"], file=built)
time.sleep(0.2)
output.write_text("binary")
output.chmod(0o755)
"""


@dataclass(frozen=True)
class Workshop:
    """A cache folder and a PATH that holds the stand-in (or nothing)."""

    cache: Path
    path: Path

    def start(self, **env: str) -> subprocess.Popen[str]:
        inherited = {name: value for name, value in os.environ.items() if name != "KUBEBUILDER_ASSETS"}
        own = {"TIDEGATE_CACHE": str(self.cache), "PATH": str(self.path), "PYTHONPATH": str(_TESTS)}
        command = [sys.executable, "-m", "cluster.build_tools"]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env={**inherited, **own, **env}, stdout=pipe, stderr=pipe, text=True)

    def run(self, **env: str) -> tuple[int, str, str]:
        with self.start(**env) as process:
            out, err = process.communicate(timeout=60)
            return process.returncode, out, err

    def folders(self) -> list[Path]:
        """What lies in the cache, locks aside."""
        return [path for path in self.cache.glob("tools/*") if path.is_dir()]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    path = tmp_path / "bin"
    path.mkdir()
    go = path / "go"
    go.write_text(_FAKE_GO.format(python=sys.executable))
    go.chmod(0o755)
    return Workshop(tmp_path / "cache", path)


def test_builds_once_without_cgo_and_prints_the_folder(workshop: Workshop) -> None:
    code, out, err = workshop.run()
    assert code == 0
    folder = Path(out.strip())
    assert workshop.folders() == [folder]
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    assert "kube-apiserver" in err

    code, again, err = workshop.run()
    assert (code, again, err) == (0, out, "")
    assert sorted((workshop.path / "built").read_text().splitlines()) == sorted(f"{name} 0" for name in NAMES)


def test_two_at_once_build_once(workshop: Workshop) -> None:
    with workshop.start() as first, workshop.start() as second:
        answers = [process.communicate(timeout=60) for process in (first, second)]
        assert (first.returncode, second.returncode) == (0, 0)
    assert answers[0][0] == answers[1][0]
    assert any("another build of the same tools is running" in err for _, err in answers)
    assert len((workshop.path / "built").read_text().splitlines()) == len(NAMES)


def test_a_failed_build_shows_the_compiler_and_leaves_nothing(workshop: Workshop) -> None:
    code, out, err = workshop.run(FAKE_GO_BROKEN="yes")
    assert (code, out) == (1, "")
    assert "error: building etcd failed:\nserver.go:1: undefined: Everything" in err
    assert workshop.folders() == []
    assert workshop.run()[0] == 0


def test_a_missing_go_is_said_with_the_remedy(workshop: Workshop) -> None:
    (workshop.path / "go").unlink()
    code, _, err = workshop.run()
    assert code == 1
    assert err.startswith("error: Go is missing. Install Go 1.26")


def test_a_go_that_is_too_old_is_said_with_the_remedy(workshop: Workshop) -> None:
    code, _, err = workshop.run(FAKE_GO_TOO_OLD="go.mod requires go >= 1.26.0 (running go 1.22.1; GOTOOLCHAIN=local)")
    assert code == 1
    assert "running go 1.22.1" in err
    assert "Install Go 1.26" in err


def test_kubebuilder_assets_are_used_as_they_are(workshop: Workshop, tmp_path: Path) -> None:
    code, out, _ = workshop.run(KUBEBUILDER_ASSETS=str(tmp_path))
    assert (code, out.strip()) == (0, str(tmp_path.resolve()))
    assert workshop.folders() == []
