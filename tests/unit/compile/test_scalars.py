"""Durations, times and the names of credentials."""

import pytest

from tidegate_operator.compile.durations import format_duration, parse_duration
from tidegate_operator.compile.secret_values import credential_name
from tidegate_operator.compile.timestamps import parse_timestamp


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("0ms", 0), ("500ms", 500), ("30s", 30_000), ("1m30s", 90_000), ("1h", 3_600_000), ("366d", 31_622_400_000)],
)
def test_a_duration_is_read_in_milliseconds(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds
    assert parse_duration(format_duration(milliseconds)) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "s", "1.5s", "-1s", "5 s", "1s1s1s1s1s", "1234567s", "5M", "٣s", "1s\n"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 500ms"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2027-01-31T00:00:00Z", 1_801_353_600),
        ("2027-01-31t01:00:00.999999999+01:00", 1_801_353_600),
        ("1969-12-31T23:59:59z", -1),
        ("2024-02-29T12:00:00-00:00", 1_709_208_000),
    ],
)
def test_a_time_is_read_in_whole_seconds(text: str, seconds: int) -> None:
    assert parse_timestamp(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2027-01-31",
        "2027-01-31T00:00:00",
        "2027-01-31 00:00:00Z",
        "2027-02-29T00:00:00Z",
        "2027-01-31T24:00:00Z",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "2027-01-31T00:00:00+24:00",
        "2027-01-31T00:00:00.Z",
        "20270131T000000Z",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_timestamp(text)


def test_credential_names_fit_a_secret_and_never_meet() -> None:
    pairs = [
        ("a", "b.c"),
        ("a.b", "c"),
        ("team", "n" * 253),
        ("team", "n" * 252 + "m"),
        ("ü", "x"),
        ("a", "b/c"),
        ("a", ""),
    ]
    names = [credential_name(namespace, name) for namespace, name in pairs]
    assert names[0] == "a.b.c"
    assert len(set(names)) == len(names)
    assert all(
        len(name) <= 253 and name.replace("-", "").replace(".", "").isalnum() and name.isascii() for name in names
    )
