"""`tidegate audit verify` as its user meets it."""

import gzip
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dataplane.audit_logs import AUDIT_KEY, record, write_file
from tidegate_operator.cli.register import register


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and everything printed."""
    app = typer.Typer(add_completion=False)
    register(app)
    result = CliRunner().invoke(app, ["audit", "verify", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    write_file(path, [record(number, path=f"/v1/{number}") for number in range(5)])
    return path


def test_a_whole_log(log: Path) -> None:
    code, output = run(log)
    assert code == 0
    assert "7 lines, 5 records, ended in order" in output
    assert output.endswith("\nwhole\n")


def test_a_log_that_is_still_written_is_whole_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    head = write_file(path, [record()], orderly=False)
    code, output = run(path, "--expect", f"{head.seq}:{head.chain}")
    assert code == 0
    assert "whole, as far as it goes" in output
    code, output = run(path, "--expect", f"{head.seq + 1}:{head.chain}")
    assert code == 1
    assert f"the line {head.seq + 1}:{head.chain} is not there" in output


def test_a_changed_line_is_named_by_file_and_number(log: Path) -> None:
    log.write_bytes(log.read_bytes().replace(b"/v1/3", b"/v1/4"))
    code, output = run(log)
    assert code == 1
    assert f"{log}:5: was changed" in output
    assert output.endswith("not whole: 1 problem\n")
    code, output = run(log, "--json")
    assert code == 1
    found = json.loads(output)
    assert (found["valid"], found["found"]) == (False, 1)
    assert (found["problems"][0]["file"], found["problems"][0]["line"]) == (str(log), 5)
    assert found["logs"][0]["records"] == 5


def test_compressed_files_and_keys(tmp_path: Path) -> None:
    path, key_file = tmp_path / "audit.jsonl", tmp_path / "key"
    write_file(path, [record()], key=AUDIT_KEY)
    key_file.write_bytes(AUDIT_KEY + b"\n")
    packed = tmp_path / "audit.jsonl.1.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert run(packed, "--key-file", key_file)[0] == 0
    code, output = run(packed)
    assert code == 2
    assert "give it with --key-file" in output
    assert AUDIT_KEY.decode() not in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere/audit.jsonl"], "/nowhere/audit.jsonl: No such file or directory"),
        (["LOG", "--expect", "7"], "--expect '7' is not SEQ:CHAIN"),
        (["LOG", "--expect", "7:" + "x" * 64], "is not SEQ:CHAIN"),
        (["LOG", "--key-file", "/nowhere/key"], "cannot read the audit key /nowhere/key"),
        (["/"], "/: Is a directory"),
    ],
)
def test_arguments_that_cannot_be_used(log: Path, arguments: list[str], message: str) -> None:
    code, output = run(*(str(log) if each == "LOG" else each for each in arguments))
    assert code == 2
    assert message in output
