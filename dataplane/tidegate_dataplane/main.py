"""The command `tidegate-dataplane`."""

import argparse
import gc
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from socket import gethostname

import uvloop

from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.settings import Address, ApiAccess, AuditOptions, Limits, Pressure, Settings, WhenFull
from tidegate_dataplane.source.api_access import ApiAccessError, from_kubeconfig, in_cluster
from tidegate_dataplane.store.flags import add_store_flags, read_store
from tidegate_dataplane.transport.flags import add_transport_flags, read_proxies, read_tls

# A pod serves its network; on a workstation, --listen says otherwise.
_EVERYWHERE = Address("0.0.0.0", 0)  # noqa: S104
# Requests in flight come and go by thousands of objects, and reference counting frees them all. Python's default of
# 700 would walk them again and again to find no cycle.
_GC_THRESHOLD = (20_000, 20, 20)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; returns 0, or 1 with a message that says what to change."""
    options = _parser().parse_args(argv)
    logging.basicConfig(
        level=options.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    gc.set_threshold(*_GC_THRESHOLD)
    try:
        settings = read_settings(options)
        uvloop.run(_serve(settings))
    except (ValueError, OSError) as error:
        print(f"tidegate-dataplane: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: Settings) -> None:
    await DataPlane(settings).run()


def read_settings(options: argparse.Namespace) -> Settings:
    """From the parsed flags. Raises ValueError or OSError that says which flag is wrong."""
    api = _api_access(options)
    if api is None and options.snapshot_dir is None and options.snapshot_file is None:
        raise ValueError(
            "no source of snapshots: run in a cluster, or give --kubeconfig, --api-server, --snapshot-dir"
            " or --snapshot-file"
        )
    if not options.audit_file and (options.audit_key_file or options.audit_when_full is WhenFull.DENY):
        raise ValueError("--audit-key-file and --audit-when-full=deny are of no use without --audit-file")
    if not options.store and (options.journal or options.replicas):
        raise ValueError("--journal and --replicas are of no use without --store")
    return Settings(
        gateway=options.gateway,
        namespace=options.namespace,
        listen=options.listen,
        admin_listen=options.admin_listen,
        api=api,
        snapshot_dir=options.snapshot_dir,
        credentials_dir=options.credentials_dir,
        snapshot_file=options.snapshot_file,
        audit=options.audit_file,
        audit_options=AuditOptions(
            key_file=options.audit_key_file,
            max_bytes=options.audit_max_bytes,
            max_files=options.audit_max_files,
            fsync=options.audit_fsync,
            when_full=options.audit_when_full,
            host=options.audit_host,
        ),
        drain_delay=options.drain_delay,
        grace=options.grace,
        limits=Limits(body_bytes=options.max_body_bytes),
        pressure=Pressure(
            calls_per_turn=options.calls_per_turn,
            backend_queue=options.backend_queue,
            wait_seconds=options.queue_wait,
        ),
        tls=read_tls(options),
        proxies=read_proxies(options),
        forwarded_certificates=options.trust_client_certificate_header,
        failures_per_address=options.auth_failures_per_address,
        failures_per_prefix=options.auth_failures_per_prefix,
        store=read_store(options),
        journal=options.journal,
        replicas=options.replicas,
    )


def _api_access(options: argparse.Namespace) -> ApiAccess | None:
    if options.api_server is not None:
        if options.kubeconfig is not None:
            raise ApiAccessError("give --kubeconfig or --api-server, not both")
        if options.api_ca is not None:
            options.api_ca.read_bytes()  # an unreadable file is said at once, not in a loop
        return ApiAccess(url=options.api_server, ca_file=options.api_ca, token_file=options.api_token_file)
    if options.kubeconfig is not None:
        return from_kubeconfig(options.kubeconfig)
    return None if options.no_api else in_cluster()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tidegate-dataplane",
        description="Serve callers from the snapshots that the operator publishes.",
        epilog="In a pod, the API server is found by itself. A mounted directory serves also when the API is away.",
    )
    add = parser.add_argument
    add("--gateway", default="default", metavar="NAME", help="the gateway to serve (default: %(default)s)")
    add("--namespace", default="tidegate-system", metavar="NAME", help="where the operator publishes (%(default)s)")
    add(
        "--listen",
        type=_address,
        default=_EVERYWHERE._replace(port=8080),
        metavar="HOST:PORT",
        help="callers (%(default)s)",
    )
    add(
        "--admin-listen",
        type=_address,
        default=_EVERYWHERE._replace(port=9090),
        metavar="HOST:PORT",
        help="live, ready, status, keys, metrics, explain (%(default)s)",
    )
    add("--kubeconfig", type=Path, metavar="FILE", help="reach the API server by its current context")
    add("--api-server", metavar="URL", help="reach the API server here, for example https://10.0.0.1:6443")
    add("--api-ca", type=Path, metavar="FILE", help="its certificate authority, with --api-server")
    add("--api-token-file", type=Path, metavar="FILE", help="a token, read again as it changes, with --api-server")
    add("--no-api", action="store_true", help="do not use the API server even in a pod")
    add("--snapshot-dir", type=Path, metavar="DIR", help="the mounted ConfigMaps of the operator")
    add("--credentials-dir", type=Path, metavar="DIR", help="the mounted credentials Secret")
    add("--snapshot-file", type=Path, metavar="FILE", help="a snapshot in one file")
    add("--audit-file", default="", metavar="PATH", help="one JSON line for each decision; - for standard output")
    _add_audit_flags(add)
    add(
        "--grace",
        type=_seconds,
        default=30.0,
        metavar="TIME",
        help="longest wait for what is being served when stopping (30s)",
    )
    add(
        "--drain-delay",
        type=_seconds,
        default=1.0,
        metavar="TIME",
        help="wait between not ready and not accepting (1s)",
    )
    add(
        "--max-body-bytes",
        type=_size,
        default=Limits().body_bytes,
        metavar="N",
        help="largest request body (%(default)s)",
    )
    _add_pressure_flags(add)
    add_transport_flags(parser)
    add_store_flags(parser)
    add(
        "--journal",
        type=Path,
        metavar="FILE",
        help="where the use of shared limits is kept, so that a restart forgets nothing; one for each data plane",
    )
    add(
        "--replicas",
        type=_size,
        default=0,
        metavar="N",
        help="among how many data planes limits are divided while the store is away (default: as many as it last saw)",
    )
    add("--log-level", choices=("debug", "info", "warning", "error"), default="info", help="(%(default)s)")
    return parser


def _add_audit_flags(add: Callable[..., object]) -> None:
    add("--audit-key-file", type=Path, metavar="FILE", help="a key of 32 bytes or more that seals the audit lines")
    add(
        "--audit-max-bytes",
        type=_size,
        default=0,
        metavar="N",
        help="rotate the audit file to FILE.1 and so on once it has that size (never)",
    )
    add(
        "--audit-max-files",
        type=_size,
        default=0,
        metavar="N",
        help="keep so many rotated audit files and delete older ones (keep all)",
    )
    add("--audit-fsync", action="store_true", help="have audit lines on the disk before the next ones are written")
    add(
        "--audit-when-full",
        type=WhenFull,
        choices=tuple(WhenFull),
        default=WhenFull.DROP,
        metavar="{drop,deny}",
        help="when audit lines cannot be written: drop and count them, or deny calls with 503 (%(default)s)",
    )
    add("--audit-host", default=gethostname(), metavar="NAME", help="this machine in audit lines (%(default)s)")


def _add_pressure_flags(add: Callable[..., object]) -> None:
    standard = Pressure()
    add(
        "--queue-wait",
        type=_seconds,
        default=standard.wait_seconds,
        metavar="TIME",
        help="how long a call waits for a busy backend or gateway; Low half, High twice, Critical four times (1s)",
    )
    add(
        "--backend-queue",
        type=_size,
        default=standard.backend_queue,
        metavar="N",
        help="calls that may wait for each backend with a limit (%(default)s)",
    )
    add(
        "--calls-per-turn",
        type=_size,
        default=standard.calls_per_turn,
        metavar="N",
        help="calls that begin in one turn of the event loop, fairly chosen (%(default)s)",
    )


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    for unit in ("ms", "s", "m"):
        number = text.removesuffix(unit)
        if number != text and number.isdecimal():
            return int(number) * _UNITS[unit]
    raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 30s, 500ms or 2m")


def _size(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
