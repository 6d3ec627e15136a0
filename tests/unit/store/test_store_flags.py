from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from tidegate_dataplane.store.flags import add_store_flags, read_store
from tidegate_dataplane.store.settings import Mode, StoreSettings


def read(*arguments: str) -> StoreSettings | None:
    parser = argparse.ArgumentParser()
    add_store_flags(parser)
    return read_store(parser.parse_args(arguments))


def test_without_a_store_there_is_none() -> None:
    assert read() is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", StoreSettings(mode=Mode.SINGLE, addresses=(("cache", 6379),))),
        ("redis://cache:7000/3", StoreSettings(mode=Mode.SINGLE, addresses=(("cache", 7000),), database=3)),
        ("rediss://[::1]:7000/", StoreSettings(mode=Mode.SINGLE, addresses=(("::1", 7000),), tls=True)),
        (
            "redis+sentinel://a,b:1/gate",
            StoreSettings(mode=Mode.SENTINEL, addresses=(("a", 26379), ("b", 1)), master="gate"),
        ),
        (
            "rediss+sentinel://a/gate/2",
            StoreSettings(mode=Mode.SENTINEL, addresses=(("a", 26379),), master="gate", database=2, tls=True),
        ),
        ("redis+cluster://a,b:1", StoreSettings(mode=Mode.CLUSTER, addresses=(("a", 6379), ("b", 1)))),
    ],
)
def test_addresses(url: str, expected: StoreSettings) -> None:
    assert read("--store", url) == expected


def test_everything_else_has_a_flag_of_its_own() -> None:
    settings = read(
        *("--store", "rediss://cache", "--store-username", "tidegate", "--store-password-file", "/p"),
        *("--store-ca-file", "/ca", "--store-certificate", "/c", "--store-key", "/k", "--store-deadline", "300ms"),
    )
    assert settings == StoreSettings(
        mode=Mode.SINGLE,
        addresses=(("cache", 6379),),
        username="tidegate",
        password_file=Path("/p"),
        tls=True,
        ca_file=Path("/ca"),
        certificate=Path("/c"),
        key=Path("/k"),
        deadline=0.3,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--store-username", "x"], "of no use without --store"),
        (["--store", "http://cache"], r"'http://cache' is not redis://HOST"),
        (["--store", "cache:6379"], r"is not redis://HOST"),
        (["--store", "redis://"], "is not HOST or HOST:PORT"),
        (["--store", "redis://a:0"], "is not HOST or HOST:PORT"),
        (["--store", "redis://::1"], "IPv6 address in brackets"),
        (["--store", "redis://a/x"], "the database is a number"),
        (["--store", "redis://a?db=1"], "each has a flag of its own"),
        (["--store", "redis://a,b"], "takes one host"),
        (["--store", "redis+sentinel://a"], "needs the name of the master"),
        (["--store", "redis+cluster://a/1"], "takes no database"),
        (["--store", "redis://a", "--store-ca-file", "x"], "need TLS: write rediss"),
        (["--store", "rediss://a", "--store-key", "x"], "--store-certificate and --store-key go together"),
        (["--store", "redis://a", "--store-username", "x"], "--store-username needs --store-password-file"),
    ],
)
def test_what_does_not_go_together_is_said(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(*arguments)


@pytest.mark.parametrize("url", ["redis://user:hunter2@cache", "cache://:hunter2@cache", "redis://:hunter2@"])
def test_a_password_on_the_command_line_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="--store-password-file") as failure:
        read("--store", url)
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("text", ["50", "0ms", "1s", "-5ms"])
def test_a_deadline_is_in_milliseconds(text: str) -> None:
    with pytest.raises(SystemExit):
        read("--store", "redis://a", f"--store-deadline={text}")
