"""The audit log's reference describes what is written, no less and no more."""

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import fields

from dataplane.audit_logs import record, write_file
from tidegate_dataplane.audit.chain import SCHEMA
from tidegate_dataplane.audit.log import FLUSH_RECORDS, FLUSH_SECONDS, MAX_WAITING, STALL_SECONDS
from tidegate_dataplane.audit.record import MAX_HOST, MAX_PATH, AuditRecord, AuditTokens, Beginning, Event, Torn, Writer
from tidegate_dataplane.engine.decision import Risk, RiskOutcome, RiskPart
from tidegate_dataplane.engine.explain_text import MAX_LINE
from tidegate_dataplane.main import _parser
from tidegate_dataplane.pricing.price import PriceSource
from tidegate_dataplane.proxy.exchange import Outcome
from tidegate_dataplane.runtime.objects import RuleRef

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "audit.md").read_text()


def section(title: str) -> str:
    return re.split(r"\n#+ ", TEXT.split(f"# {title}\n", 1)[1])[0]


def first_column(text: str) -> list[str]:
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def names(*structs: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for struct in structs for field in fields(struct)}


def missing(wanted: Iterable[str], text: str) -> set[str]:
    return {name for name in wanted if f"`{name}`" not in text}


def test_each_member_of_a_request_has_a_row_and_each_row_a_member() -> None:
    rows = first_column(section("A request"))
    assert len(rows) == len(set(rows))
    assert set(rows) == names(AuditRecord)


def test_what_stands_inside_members_is_named() -> None:
    assert missing(names(Risk, RiskPart, RuleRef, AuditTokens), section("A request")) == set()
    assert missing([each.value for each in [*RiskOutcome, *Outcome, *PriceSource]], section("A request")) == set()


def test_each_event_and_its_members_are_described() -> None:
    text = section("The log itself")
    assert first_column(text)[1:] == [each.value for each in Event]
    assert missing(names(Beginning, Writer, Torn) - {"event"}, text) == set()


def test_the_few_lines_that_check_a_chain_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "audit.jsonl"
    write_file(path, [record(number) for number in range(3)])
    exec(code, {})
    path.write_bytes(path.read_bytes().replace(b'"status":200', b'"status":201', 1))
    with pytest.raises(AssertionError):
        exec(code, {})


def test_each_flag_is_described() -> None:
    flags = {flag for action in _parser()._actions for flag in action.option_strings if "--audit" in flag}
    described = set(re.findall(r"`(--audit-[a-z-]+)", section("Flags of the data plane")))
    assert described == flags


def test_the_numbers_are_those_of_the_program() -> None:
    text = section("What may be lost")
    assert f"last {FLUSH_SECONDS * 1000:g} ms" in text
    assert f"last {FLUSH_RECORDS:,} records" in text
    assert f"up to {MAX_WAITING:,} records wait" in text
    assert (STALL_SECONDS, "more than a second" in text) == (1.0, True)
    lines = section("A request")
    assert f"at most {MAX_PATH:,} characters" in lines
    assert f"at most {MAX_HOST} characters" in lines
    assert f"at most {MAX_LINE} characters" in lines
    assert f"version of this format: {SCHEMA}" in section("Every line")
