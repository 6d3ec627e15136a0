"""`tidegate keys`: make API keys, tell a typing error, list when they were last used."""

import json
import secrets
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.error import URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from tidegate_dataplane.apikey import RANDOM_BYTES, digest_of, issue_key, well_formed
from tidegate_operator.compile.durations import parse_duration

_MISTYPED = 1
_UNUSABLE = 2
_PAGE = 5_000
_TIMEOUT_SECONDS = 20.0
_LONGEST_KEY = 16_384

keys = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


class Row(msgspec.Struct, rename="camel"):
    """One key as a data plane tells it; times are seconds since the epoch."""

    consumer: str
    key: str
    state: str
    last_used: int | None = None
    not_after: int | None = None


class _Page(msgspec.Struct):
    now: int
    since: int
    keys: list[Row]
    next: str | None = None


@keys.callback()
def _keys() -> None:
    """Look after API keys. None of these commands takes a key as an argument: those are seen by everybody."""


@keys.command("new")
def new(as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False) -> None:
    """Make a key. It is shown this once; its SHA-256 may stand in Git."""
    key = issue_key(secrets.token_bytes(RANDOM_BYTES))
    if as_json:
        typer.echo(json.dumps({"key": key, "sha256": digest_of(key)}))
        return
    typer.echo(f"key:    {key}\nsha256: {digest_of(key)}")
    if sys.stdout.isatty():
        typer.echo("Give the key to its application: it is not shown again. The sha256 goes into", err=True)
        typer.echo("spec.credentials.apiKeys[].sha256 of its AIConsumer.", err=True)


@keys.command("check")
def check() -> None:
    """Read a key from standard input: is it mistyped, and what is its SHA-256?

    Exit code 0: it is as Tidegate makes them; 1: it is mistyped, or cut; 2: it has another form, so nobody can tell.
    """
    if sys.stdin.isatty():
        typer.echo("Paste the key, then Enter and Ctrl-D.", err=True)
    key = sys.stdin.read(_LONGEST_KEY).strip()
    fits = well_formed(key)
    if fits is False:
        typer.echo("It begins as Tidegate's keys do, but has a typing error or is cut: copy it again.")
        raise typer.Exit(_MISTYPED)
    if not key or any(character.isspace() for character in key):
        typer.echo("That is no key: give one key, without spaces.")
        raise typer.Exit(_MISTYPED)
    told = "It is well-formed." if fits else "It was not made by Tidegate, so a typing error cannot be told."
    typer.echo(f"{told}\nsha256: {digest_of(key)}")
    raise typer.Exit(0 if fits else _UNUSABLE)


@keys.command("list")
def list_keys(
    admin: Annotated[
        list[str], typer.Option(metavar="URL", help="Admin port of a data plane; repeat it to see their newest use.")
    ],
    unused_for: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only keys without a use for so long, such as 30d.")
    ] = None,
    consumer: Annotated[str, typer.Option(metavar="NAMESPACE/NAME", help="Only the keys of this consumer.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, with times in seconds since the epoch.")] = False,
) -> None:
    """List API keys by their last use, those that were never used first. Never shows a key or a hash."""
    try:
        quiet = parse_duration(unused_for) / 1000 if unused_for else None
        pages = [page for url in admin for page in _pages(url, consumer)]
    except (ValueError, OSError, msgspec.DecodeError) as error:
        typer.echo(f"tidegate keys list: {error}", err=True)
        raise typer.Exit(_UNUSABLE) from None
    now, since = time.time(), max(page.since for page in pages)
    rows = merged(row for page in pages for row in page.keys)
    if quiet is not None:
        rows = [row for row in rows if (row.last_used or 0) <= now - quiet]
        if since > now - quiet:
            typer.echo(_counted_since(since), err=True)
    if as_json:
        typer.echo(msgspec.json.encode(rows).decode())
    else:
        Console().print(_table(rows))


def merged(rows: Iterable[Row]) -> list[Row]:
    """One row for each key, with its newest use on any data plane; the longest unused first."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        known = found.setdefault((row.consumer, row.key), row)
        if (row.last_used or 0) > (known.last_used or 0):
            found[row.consumer, row.key] = row
    return sorted(found.values(), key=lambda row: (row.last_used or 0, row.consumer, row.key))


def _pages(url: str, consumer: str) -> list[_Page]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{url} is not a URL such as http://127.0.0.1:9090")
    pages: list[_Page] = []
    query: dict[str, Any] = {"limit": _PAGE} | ({"consumer": consumer} if consumer else {})
    while not pages or pages[-1].next is not None:
        after = {"after": pages[-1].next} if pages else {}
        address = f"{url.rstrip('/')}/-/keys?{urlencode(query | after)}"
        try:
            with urlopen(address, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - the scheme was looked at
                pages.append(msgspec.json.decode(answer.read(), type=_Page))
        except URLError as error:
            raise OSError(f"{url} does not answer: {error.reason}; is it the admin port of a data plane?") from error
    return pages


def _counted_since(since: int) -> str:
    return (
        f"A data plane has counted only since {_moment(since)}: what was used before that shows in the lastUsedTime of "
        "the AIConsumers' status."
    )


def _table(rows: Iterable[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("CONSUMER", "KEY", "STATE", "LAST USED", "ENDS"):
        table.add_column(title, overflow="fold")
    for row in rows:
        used, ends = (_moment(at) if at else none for at, none in ((row.last_used, "never seen"), (row.not_after, "")))
        table.add_row(row.consumer, row.key, row.state, used, ends)
    return table


def _moment(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
