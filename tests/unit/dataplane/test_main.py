"""The command line: what it understands, and what it says when it does not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.harness.processes import ChildProcess, free_port, wait_for_http
from dataplane.factory import bundle_of, shard
from tidegate_dataplane.main import _parser, main, read_settings
from tidegate_dataplane.settings import Address, AuditOptions, Settings, WhenFull
from tidegate_dataplane.snapshot.bundle import encode_bundle


def settings(*flags: str) -> Settings:
    return read_settings(_parser().parse_args(flags))


def test_flags_become_settings(tmp_path: Path) -> None:
    found = settings(
        "--gateway=edge",
        "--listen=[::1]:8081",
        "--admin-listen=:9091",
        f"--snapshot-dir={tmp_path}",
        "--grace=2m",
        "--drain-delay=500ms",
        "--max-body-bytes=1000",
        "--api-server=https://10.0.0.1:6443",
        f"--api-token-file={tmp_path / 'token'}",
        "--audit-file=audit.jsonl",
        f"--audit-key-file={tmp_path / 'key'}",
        "--audit-max-bytes=1000",
        "--audit-max-files=3",
        "--audit-fsync",
        "--audit-when-full=deny",
        "--audit-host=pod-1",
    )
    assert found.audit_options == AuditOptions(
        key_file=tmp_path / "key", max_bytes=1000, max_files=3, fsync=True, when_full=WhenFull.DENY, host="pod-1"
    )
    assert (found.gateway, found.listen, found.admin_listen) == ("edge", Address("::1", 8081), Address("", 9091))
    assert (found.grace, found.drain_delay, found.limits.body_bytes) == (120.0, 0.5, 1000)
    assert found.api is not None
    assert (found.api.url, found.api.token_file) == ("https://10.0.0.1:6443", tmp_path / "token")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--no-api"], "no source of snapshots"),
        (["--kubeconfig=/nowhere/kubeconfig"], "/nowhere/kubeconfig"),
        (["--kubeconfig=a", "--api-server=b"], "not both"),
        (["--snapshot-file=x", "--audit-file=/nowhere/audit"], "/nowhere/audit"),
        (["--snapshot-file=x", "--audit-when-full=deny"], "without --audit-file"),
        (["--snapshot-file=x", "--audit-file=-", "--audit-key-file=/nowhere/key"], "cannot read the audit key"),
        (["--snapshot-file=x", "--listen=192.0.2.1:80"], "cannot listen on 192.0.2.1:80"),
        (["--snapshot-file=x", "--journal=x"], "without --store"),
        (["--snapshot-file=x", "--replicas=3"], "without --store"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*flags, "--admin-listen=127.0.0.1:0"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("tidegate-dataplane: ")
    assert message in said


@pytest.mark.parametrize(
    "flag", ["--listen=8080", "--listen=::1:80", "--grace=soon", "--max-body-bytes=0", "--replicas=-1"]
)
def test_a_value_that_makes_no_sense_is_refused_by_name(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([flag])
    assert flag.split("=")[0] in capsys.readouterr().err


def test_the_program_serves_a_file_and_ends_well_on_sigterm(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot.json"
    snapshot.write_bytes(encode_bundle(bundle_of(shard())))
    listen, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "tidegate_dataplane.main", "--no-api", "--drain-delay=0s"]
    command += ["--listen", listen, "--admin-listen", admin, "--snapshot-file", str(snapshot), "--audit-file", "-"]
    with ChildProcess("dataplane", command, log=tmp_path / "log") as process:
        wait_for_http(f"http://{admin}/-/ready", deadline=30, process=process)
        wait_for_http(f"http://{listen}/nothing", status=404, process=process)
        process.signal(signal.SIGTERM)
        process._process.wait(10)
        assert process.exit_code == 0
    assert '"code":"unknown_url"' in process.log_text()


def test_the_data_plane_loads_neither_kopf_nor_kubernetes_nor_pydantic() -> None:
    unwanted = ("kopf", "kubernetes", "pydantic", "yaml")
    code = f"import sys, tidegate_dataplane.main; print([name for name in {unwanted} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert found.stdout.strip() == "[]"
