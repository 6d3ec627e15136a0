"""The chain of the audit log: what the documentation promises to whoever checks it with other means."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.audit_logs import AUDIT_KEY, MemorySink, record, write_file
from tidegate_dataplane.audit.chain import Chain, ascii_only, key_id, keyed_digest, plain_digest, take_apart
from tidegate_dataplane.audit.key import AuditKeyError, read_key
from tidegate_dataplane.audit.writer import AuditWriter


@pytest.mark.parametrize("key", [None, AUDIT_KEY])
def test_a_few_lines_of_anybody_s_code_verify_it(tmp_path: Path, key: bytes | None) -> None:
    path = tmp_path / "audit.jsonl"
    head = write_file(path, [record(number) for number in range(5)], key=key)
    chain = "0" * 64
    for line in path.read_bytes().splitlines():
        body, _, rest = line.rpartition(b',"chain":"')
        data = bytes.fromhex(chain) + body
        chain = (hmac.new(key, data, hashlib.sha256) if key else hashlib.sha256(data)).hexdigest()
        assert rest == chain.encode() + b'"}'
        assert json.loads(line)["chain"] == chain
    assert chain == head.chain


@given(key=st.binary(min_size=1, max_size=200), data=st.binary(max_size=1000))
def test_a_keyed_digest_is_hmac(key: bytes, data: bytes) -> None:
    assert keyed_digest(key)(data) == hmac.new(key, data, hashlib.sha256).digest()


def test_schema_and_number_come_first_and_the_chain_last(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write_file(path, [record()])
    for number, line in enumerate(path.read_text().splitlines(), 1):
        members = list(json.loads(line))
        assert (members[:2], members[-1]) == (["v", "seq"], "chain")
        assert line.startswith(f'{{"v":1,"seq":{number},')


def test_the_first_line_names_the_writer_and_nothing_of_the_key(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write_file(path, [], key=AUDIT_KEY)
    opened = json.loads(path.read_text().splitlines()[0])
    assert (opened["event"], opened["file"], opened["prev"]) == ("Opened", 1, "0" * 64)
    assert {"gateway": "edge", "host": "pod-1", "process": 7}.items() <= opened["writer"].items()
    assert (opened["hash"], opened["keyId"]) == ("HMAC-SHA-256", key_id(AUDIT_KEY))
    assert AUDIT_KEY.decode() not in path.read_text()
    assert hashlib.sha256(AUDIT_KEY).hexdigest()[:16] != key_id(AUDIT_KEY)


@given(st.text(st.characters(codec="utf-8"), max_size=50))
def test_a_line_is_printable_ascii_and_says_the_same(text: str) -> None:
    sink = MemorySink()
    writer = AuditWriter(sink)
    writer.tend()
    writer.write([record(path=text)])
    line = bytes(sink.data).split(b"\n")[1]
    assert all(0x20 <= each <= 0x7E for each in line)
    assert json.loads(line)["path"] == text if text else "path" not in json.loads(line)


@pytest.mark.parametrize("text", ["a\nb", "a\u2028b", "a\u2029b", "a\u0085b", "a\x7fb", "a\u202eb", "a\x1b[2Jb", "a\r"])
def test_no_text_of_a_caller_breaks_a_line(text: str) -> None:
    sink = MemorySink()
    writer = AuditWriter(sink)
    writer.tend()
    writer.write([record(path=text)])
    assert len(sink.data.decode().splitlines()) == 2
    assert text not in sink.data.decode()


def test_characters_beyond_the_basic_plane_are_two_escapes() -> None:
    assert ascii_only('"é😀"'.encode()) == rb'"\u00e9\ud83d\ude00"'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"v":1,', b'{"v":2,'),
        (b'"seq":1,', b'"seq":-1,'),
        (b'"seq":1,', b'"seq":' + b"1" * 21 + b","),
        (b'"}\n', b'"}'),
        (b'"}\n', b'" }\n'),
        (b',"chain"', b', "chain"'),
    ],
)
def test_what_has_not_the_form_of_a_line_is_none(old: bytes, new: bytes) -> None:
    line = Chain(plain_digest).seal(b'{"a":1}\n')
    assert take_apart(line) is not None
    assert take_apart(line.replace(old, new)) is None


def test_capital_digits_are_another_line() -> None:
    line = Chain(plain_digest).seal(b'{"a":1}\n')
    body, mark, rest = line.partition(b',"chain":"')
    assert take_apart(body + mark + rest.upper()) is None


def test_a_key_that_is_too_short_or_absent_is_said_without_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(AuditKeyError, match="cannot read the audit key"):
        read_key(path)
    path.write_text("short-secret\n")
    with pytest.raises(AuditKeyError, match="12 bytes, fewer than 32") as caught:
        read_key(path)
    assert "short-secret" not in str(caught.value)
    path.write_bytes(AUDIT_KEY + b"\r\n")
    assert read_key(path) == AUDIT_KEY
