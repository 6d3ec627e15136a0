"""The flags that say where the shared store is and how to log in."""

import argparse
import re
from pathlib import Path
from typing import Final

from tidegate_dataplane.store.protocol import DEADLINE_SECONDS
from tidegate_dataplane.store.settings import Mode, StoreSettings

_FORMS: Final = (
    "redis://HOST[:PORT][/DATABASE], redis+sentinel://HOST[:PORT],.../MASTER[/DATABASE] or redis+cluster://HOST[:PORT],...;"
    " rediss with TLS"
)
_SCHEME: Final = re.compile(r"(?P<tls>redis|rediss)(?:\+(?P<mode>sentinel|cluster))?")
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379


def add_store_flags(parser: argparse.ArgumentParser) -> None:
    """Address, login, TLS and deadline of the shared store."""
    add = parser.add_argument_group("shared store (Redis or Valkey) for Exact and Leased limits").add_argument
    add("--store", default="", metavar="URL", help=_FORMS.replace("%", "%%"))
    add("--store-username", default="", metavar="NAME", help="the ACL user (default: the server's default user)")
    add("--store-password-file", type=Path, metavar="FILE", help="its password, read again at each new connection")
    add("--store-ca-file", type=Path, metavar="FILE", help="who must have issued the server's certificate, in PEM")
    add("--store-certificate", type=Path, metavar="FILE", help="a client certificate, in PEM; with --store-key")
    add("--store-key", type=Path, metavar="FILE", help="its private key, in PEM")
    add(
        "--store-deadline",
        type=_milliseconds,
        default=DEADLINE_SECONDS,
        metavar="TIME",
        help="longest wait for an answer; more than 50ms only for a store in another region (50ms)",
    )


def read_store(options: argparse.Namespace) -> StoreSettings | None:
    """None without --store. Raises ValueError that says which flag is wrong, and never repeats a password."""
    files = (options.store_ca_file, options.store_certificate, options.store_key)
    if not options.store:
        if options.store_username or options.store_password_file or any(files):
            raise ValueError("the flags --store-... are of no use without --store")
        return None
    mode, tls, addresses, path = _split(options.store)
    if any(files) and not tls:
        raise ValueError("--store-ca-file, --store-certificate and --store-key need TLS: write rediss in --store")
    if (options.store_certificate is None) != (options.store_key is None):
        raise ValueError("--store-certificate and --store-key go together")
    if options.store_username and options.store_password_file is None:
        raise ValueError("--store-username needs --store-password-file")
    master, database = _read_path(mode, path)
    return StoreSettings(
        mode=mode,
        addresses=addresses,
        master=master,
        database=database,
        username=options.store_username,
        password_file=options.store_password_file,
        tls=tls,
        ca_file=options.store_ca_file,
        certificate=options.store_certificate,
        key=options.store_key,
        deadline=options.store_deadline,
    )


def _split(url: str) -> tuple[Mode, bool, tuple[tuple[str, int], ...], list[str]]:
    scheme, separator, rest = url.partition("://")
    match = _SCHEME.fullmatch(scheme)
    if "@" in rest:
        # A command line is seen by everybody who may list processes.
        raise ValueError("--store must not hold a login: give --store-username and --store-password-file")
    if not separator or match is None:
        raise ValueError(f"--store {url!r} is not {_FORMS}")
    if "?" in rest or "#" in rest:
        raise ValueError("--store takes no options after '?': each has a flag of its own, see --help")
    mode = Mode(match["mode"] or "single")
    hosts, _, path = rest.partition("/")
    port = _SENTINEL_PORT if mode is Mode.SENTINEL else _PORT
    addresses = tuple(_address(host, port) for host in hosts.split(","))
    if mode is Mode.SINGLE and len(addresses) > 1:
        raise ValueError("--store redis:// takes one host; several are redis+sentinel:// or redis+cluster://")
    return mode, match["tls"] == "rediss", addresses, path.rstrip("/").split("/") if path.rstrip("/") else []


def _address(text: str, default_port: int) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\[\]:/\s]+))(?::(?P<port>\d{1,5}))?", text)
    if match is None or not 0 < int(match["port"] or default_port) < 65536:
        raise ValueError(f"--store: {text!r} is not HOST or HOST:PORT; write an IPv6 address in brackets")
    return match["v6"] or match["host"], int(match["port"] or default_port)


def _read_path(mode: Mode, path: list[str]) -> tuple[str, int]:
    master = ""
    if mode is Mode.SENTINEL:
        if not path:
            raise ValueError("--store redis+sentinel:// needs the name of the master: redis+sentinel://HOST,.../MASTER")
        master, path = path[0], path[1:]
    if mode is Mode.CLUSTER and path:
        raise ValueError("--store redis+cluster:// takes no database: a cluster has only one")
    if len(path) > 1 or (path and not path[0].isdecimal()):
        raise ValueError("--store: the database is a number, for example redis://HOST:6379/0")
    return master, int(path[0]) if path else 0


def _milliseconds(text: str) -> float:
    number = text.removesuffix("ms")
    if number == text or not number.isdecimal() or int(number) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 50ms")
    return int(number) / 1000
