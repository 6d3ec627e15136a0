"""The guide to reviewing a change: its commands, run as they are printed, say what it prints."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from tidegate_operator.difference.effect import Difference, Effect

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "how-to" / "review-a-change.md").read_text()
REFERENCE = (ROOT / "docs" / "reference" / "diff.md").read_text()
BLOCKS = re.findall(r"```(sh|text)\n(.*?)```", GUIDE, re.DOTALL)
LOG = [
    {"requestId": "req-1", "outcome": "Served", "status": 200},
    {"requestId": "req-2", "outcome": "Denied", "status": 403, "code": "permission_denied", "model": "chat-slow"},
]
RECORD = {
    "v": 1,
    "time": "2026-06-30T09:00:00Z",
    "consumer": "default/demo-app",
    "key": "demo",
    "method": "APIKey",
    "path": "/v1/chat/completions",
    "route": "default/chat",
    "operation": "Chat",
    "model": "chat-fast",
}


def test_the_commands_say_what_is_printed(tmp_path: Path) -> None:
    repository = _repository(tmp_path)
    said = ""
    for kind, text in BLOCKS:
        if kind == "text":
            assert text.strip() in said, f"printed:\n{said}"
        else:
            said = _shell(repository, text)
    assert (repository / "comment.md").read_text().startswith("## What this change does")


def test_the_reference_names_every_member() -> None:
    for struct in (Difference, Effect):
        for field in msgspec.structs.fields(struct):
            assert f"`{field.encode_name}`" in REFERENCE, field.encode_name


def _repository(folder: Path) -> Path:
    root = folder / "repository"
    shutil.copytree(ROOT / "examples" / "quickstart", root / "policies")
    (root / "audit.jsonl").write_text("".join(json.dumps({**RECORD, **one}) + "\n" for one in LOG))
    _shell(root, "git init -q -b main && git add policies && git commit -q -m before")
    return root


def _shell(folder: Path, text: str) -> str:
    """What a block writes; no command may say that it cannot tell."""
    own = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.com", "GIT_COMMITTER_NAME": "t"}
    own |= {"GIT_COMMITTER_EMAIL": "t@example.com", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=folder,
        env={**os.environ, **own, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    # A busy machine is told how far it has come.
    assert all(line.startswith("tidegate diff: ") for line in done.stderr.splitlines()), done.stderr
    return done.stdout
