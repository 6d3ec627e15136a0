"""The locks of the images are parts of dev.lock, so that images hold what the tests ran with."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_locks_of_the_images_are_up_to_date() -> None:
    script = ROOT / "deploy" / "images" / "locks.py"
    ended = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_data_plane_has_nothing_of_the_operator() -> None:
    lines = (ROOT / "requirements" / "dataplane.lock").read_text().splitlines()
    names = {line.split("==")[0] for line in lines if "==" in line}
    assert {"starlette", "uvloop", "msgspec"} <= names
    assert not names & {"kopf", "kubernetes", "pydantic", "typer", "rich", "pyyaml", "genai-prices"}


def test_the_older_python_of_the_images_gets_what_it_needs() -> None:
    # Debian 12 has Python 3.11.2; redis needs this below 3.11.3.
    assert "async-timeout==" in (ROOT / "requirements" / "dataplane.lock").read_text()
