"""The harness itself: a real API server that verifies certificates, obeys RBAC, and survives its own restart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.binaries import KUBERNETES_VERSION, ToolsMissing, find_tools
from cluster.harness.kubectl import Kubectl, KubectlFailed
from cluster.harness.processes import ChildProcess, ProcessFailed, wait_until
from cluster.harness.rest import ApiError


def _config_map(name: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_serves_the_pinned_version(api_server: ApiServer, kubectl: Kubectl) -> None:
    assert api_server.admin.get("/version")["gitVersion"] == KUBERNETES_VERSION
    assert f"Server Version: {KUBERNETES_VERSION}" in kubectl.run("version")


def test_kubectl_applies_reads_and_deletes(kubectl: Kubectl, namespace: str) -> None:
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: greeting}\ndata: {word: hello}\n"
    assert "serverside-applied" in kubectl.apply(manifest, namespace=namespace)
    assert kubectl.get_json("configmap", "greeting", namespace=namespace)["data"] == {"word": "hello"}
    kubectl.delete("configmap", "greeting", namespace=namespace)
    with pytest.raises(KubectlFailed, match="NotFound"):
        kubectl.get_json("configmap", "greeting", namespace=namespace)


def test_a_fresh_service_account_may_do_nothing_until_a_role_allows_it(
    api_server: ApiServer, kubectl: Kubectl, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    with api_server.rest(api_server.token_for(namespace, "reader")) as reader:
        with pytest.raises(ApiError) as denied:
            reader.list(path)
        assert (denied.value.status, denied.value.reason) == (403, "Forbidden")
        assert f"system:serviceaccount:{namespace}:reader" in denied.value.message

        kubectl.run("create", "role", "reads", "--verb=list", "--resource=configmaps", "-n", namespace)
        account = f"--serviceaccount={namespace}:reader"
        kubectl.run("create", "rolebinding", "reads", "--role=reads", account, "-n", namespace)

        def may_list() -> bool:
            try:
                return reader.list(path) == []
            except ApiError as error:
                if error.status != 403:
                    raise
                return False

        wait_until(may_list, what="the new role to be obeyed")
        with pytest.raises(ApiError, match="403 Forbidden"):
            reader.create(path, _config_map("not-allowed"))


def test_a_service_account_kubeconfig_is_that_identity(api_server: ApiServer, namespace: str) -> None:
    own = Kubectl(api_server.kubeconfig_for_serviceaccount(namespace, "operator"))
    identity = own.run("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert identity == f"system:serviceaccount:{namespace}:operator"


def test_a_wrong_token_is_no_one(api_server: ApiServer) -> None:
    with api_server.rest("not-a-token") as stranger, pytest.raises(ApiError, match="401 Unauthorized"):
        stranger.list("/api/v1/namespaces")


def test_objects_survive_a_stop_and_a_crash_of_the_api_server(own_api_server: ApiServer) -> None:
    server, path = own_api_server, "/api/v1/namespaces/default/configmaps"
    server.ensure_namespace("default")
    server.admin.create(path, _config_map("kept", word="before"))
    token = server.token_for("default", "still-valid")

    server.kill_api()
    with pytest.raises(ConnectionRefusedError):
        server.admin.get(f"{path}/kept")
    server.start_api()
    assert server.admin.get(f"{path}/kept")["data"] == {"word": "before"}

    server.stop_api()
    assert not server.is_ready()
    server.start_api()
    assert server.admin.get(f"{path}/kept")["data"] == {"word": "before"}
    # Same port, same keys: a client that was connected before needs nothing new.
    with server.rest(token) as account, pytest.raises(ApiError, match="403 Forbidden"):
        account.get(f"{path}/kept")


def test_stop_leaves_neither_processes_nor_keys(tmp_path: Path) -> None:
    server = ApiServer().start()
    pids = server.pids
    server.stop()
    assert len(pids) == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not server.directory.exists()


def test_many_objects_are_created_and_listed_page_by_page(api_server: ApiServer, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    done = api_server.admin.create_many([(path, _config_map(f"n-{index:04}")) for index in range(1200)])
    assert done.objects == 1200
    names = [item["metadata"]["name"] for item in api_server.admin.list(path)]
    assert names == [f"n-{index:04}" for index in range(1200)]


def test_missing_tools_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(ToolsMissing, match="make cluster-tools"):
        find_tools()


def test_a_child_that_fails_to_start_shows_its_log(tmp_path: Path) -> None:
    script = "import sys; print('cannot read the config'); sys.exit(3)"
    with (
        ChildProcess("broken", [sys.executable, "-c", script], log=tmp_path / "log") as child,
        pytest.raises(ProcessFailed, match=r"broken ended with 3\n.*\ncannot read the config"),
    ):
        child.wait_for_log("ready")


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux' own")
def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from cluster.harness.processes import ChildProcess\n"
        f"child = ChildProcess('sleeper', ['sleep', '300'], log=pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(300)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=env) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        command = Path(f"/proc/{child}/cmdline")
        wait_until(lambda: command.read_bytes().startswith(b"sleep"), what="the child to run")
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not _runs(child), what="the child to die with its parent")


def _runs(pid: int) -> bool:
    """Whether it is there and no zombie that only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
