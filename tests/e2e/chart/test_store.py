"""The settings of the store for trials, in a real Redis, with a real data plane as its caller."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import AuthenticationError, NoPermissionError

from cluster.harness.gateway import program
from cluster.harness.helm import CHART, Helm, documents, only
from cluster.harness.processes import ChildProcess, free_port, wait_for_http, wait_until
from redis import Redis
from redis_parts.redis_binary import find_redis

_PASSWORD = "a-password-for-this-test"


@pytest.fixture
def rendered(tmp_path: Path) -> list[dict[str, Any]]:
    more = ["--set", f"redis.embedded.auth.password={_PASSWORD}"]
    return documents(Helm(tmp_path / "helm").render(CHART / "examples" / "trial.yaml", more=more))


def test_a_data_plane_logs_in_and_nobody_else(rendered: list[dict[str, Any]], tmp_path: Path) -> None:
    port = free_port()
    with ChildProcess("redis", [find_redis(), _settings(rendered, tmp_path, port)], log=tmp_path / "redis.log"):
        admin = free_port()
        (tmp_path / "password").write_text(_PASSWORD)
        command: list[str | Path] = [
            *(program("tidegate-dataplane"), "--no-api", "--snapshot-dir", tmp_path),
            *("--listen", "127.0.0.1:0", "--admin-listen", f"127.0.0.1:{admin}"),
            *("--store", f"redis://127.0.0.1:{port}", "--store-username", "tidegate"),
            *("--store-password-file", tmp_path / "password", "--journal", tmp_path / "journal"),
        ]
        with ChildProcess("dataplane", command, log=tmp_path / "dataplane.log") as plane:
            wait_for_http(f"http://127.0.0.1:{admin}/-/live", process=plane)
            wait_until(lambda: _store(admin)["connected"], what="the login", process=plane)
        with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
            stranger.get("tidegate:x")
        with Redis(port=port, username="tidegate", password=_PASSWORD) as itself:
            with pytest.raises(NoPermissionError):
                itself.flushall()
            with pytest.raises(NoPermissionError):
                itself.get("somebody-elses")


def test_its_user_has_the_rights_that_the_guide_gives() -> None:
    guide = (CHART.parents[1] / "docs" / "how-to" / "shared-store.md").read_text()
    template = (CHART / "templates" / "redis" / "redis.yaml").read_text()
    documented, used = (_rights(text) for text in (guide, template))
    # One command for servers of any age, and one that only another database than 0 needs.
    assert used == {right.replace("+info|server", "+info") for right in documented}


def _rights(text: str) -> set[str]:
    (line,) = [line for line in text.splitlines() if line.strip().startswith("user tidegate on >")]
    return {word for word in line.split() if word[0] in "+-~&" or word == "resetchannels"}


def _settings(rendered: list[dict[str, Any]], folder: Path, port: int) -> Path:
    """As the pod has them, with this machine's folders."""
    users = folder / "users.acl"
    users.write_text(only(rendered, "Secret", "tidegate-redis")["stringData"]["users.acl"])
    text = only(rendered, "ConfigMap", "tidegate-redis")["data"]["redis.conf"]
    text = text.replace("/etc/tidegate/redis-users/users.acl", str(users)).replace("dir /data", f"dir {folder}")
    file = folder / "redis.conf"
    file.write_text(f"{text}\nport {port}\nbind 127.0.0.1\n")
    return file


def _store(admin_port: int) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/-/status", timeout=5) as answer:
        return json.load(answer)["store"]
