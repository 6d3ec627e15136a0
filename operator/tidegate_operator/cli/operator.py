"""`tidegate operator`: compile the cluster's objects and publish them to its data planes."""

import asyncio
import json
import logging
import os
import socket
import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from kubernetes.aio.config import ConfigException

from tidegate_dataplane.settings import Address
from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.admission.findings import DEFAULT_DENIED, Topic
from tidegate_operator.admission.webhook import WebhookOptions, lives_of
from tidegate_operator.compile.durations import parse_duration
from tidegate_operator.kube import ClusterReplaced
from tidegate_operator.release.gates import Gates
from tidegate_operator.release.stager import Staging
from tidegate_operator.run import Options, run
from tidegate_operator.world import Facts

# What libraries log at lower levels may quote whole objects, and with them Secrets.
_QUIET = ("kopf", "aiohttp", "asyncio", "kubernetes", "urllib3")

_SHORTEST_LIFE = timedelta(seconds=10)


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    TEXT = "text"


def operator(
    gateway: Annotated[str, typer.Option(help="Name of the gateway that is published.")] = "default",
    namespace: Annotated[str, typer.Option(help="Namespace of the published ConfigMaps.")] = "tidegate-system",
    platform_namespace: Annotated[
        str | None, typer.Option(help="Namespace whose policies may attach to the gateway; default: --namespace.")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Default: the Pod's own ServiceAccount.")
    ] = None,
    data_plane_url: Annotated[
        list[str] | None, typer.Option(help="Admin address of a data plane, such as http://10.0.0.7:9090; repeatable.")
    ] = None,
    data_plane_service: Annotated[
        str | None, typer.Option(help="Service whose endpoints (port `admin`) are the data planes.")
    ] = None,
    cluster_name: Annotated[
        str, typer.Option(help="Name of this cluster: for spec.placement, and for share and safeShare of quotas.")
    ] = "",
    cloud: Annotated[str, typer.Option(help="As --cluster-name.")] = "",
    region: Annotated[str, typer.Option(help="As --cluster-name.")] = "",
    jurisdiction: Annotated[str, typer.Option(help="As --cluster-name.")] = "",
    cluster_label: Annotated[list[str] | None, typer.Option(help="A further fact, KEY=VALUE; repeatable.")] = None,
    canary: Annotated[
        str, typer.Option(metavar="SHARE", help="Let this share of the data planes try a revision first, such as 25%.")
    ] = "",
    canary_seconds: Annotated[float, typer.Option(min=1, help="How long they try it.")] = 30.0,
    canary_error_ratio: Annotated[float, typer.Option(min=1, help="Stop when they fail so many times as often.")] = 2.0,
    canary_deny_ratio: Annotated[float, typer.Option(min=1, help="As often refused, in all or for a consumer.")] = 2.0,
    canary_latency_ratio: Annotated[float, typer.Option(min=1, help="So many times the others' p99 latency.")] = 2.0,
    canary_min_requests: Annotated[int, typer.Option(min=1, help="Calls on each side before a share counts.")] = 10,
    keep_revisions: Annotated[int, typer.Option(min=1, max=100, help="How many can be rolled back to.")] = 20,
    health_listen: Annotated[
        str, typer.Option(help="HOST:PORT of /-/live, /-/ready and /metrics; empty for none.")
    ] = "",
    leader_election: Annotated[
        bool, typer.Option("--leader-election/--no-leader-election", help="Let one of several operators publish.")
    ] = True,
    identity: Annotated[str | None, typer.Option(help="Name in the leader election; default: the Pod's.")] = None,
    webhook_listen: Annotated[
        str, typer.Option(help="HOST:PORT of the admission webhook (HTTPS); empty for none.")
    ] = "",
    webhook_service: Annotated[str, typer.Option(help="Service by which API servers reach the webhook.")] = "",
    webhook_store: Annotated[
        str,
        typer.Option("--webhook-secret", help="Secret of the webhook's certificates; made when it is not there."),
    ] = "tidegate-webhook",
    webhook_configuration: Annotated[
        str, typer.Option(help="ValidatingWebhookConfiguration to keep the CA bundle and the path of.")
    ] = "tidegate-webhook",
    webhook_certificate_life: Annotated[
        str, typer.Option(help="Life of the webhook's certificate, such as 90d; renewed before a third of it is left.")
    ] = "90d",
    admission_deny: Annotated[
        str,
        typer.Option(
            help="What the webhook denies, with commas: conflict, reference, dangling, lockout, cycle, invalid, note;"
            " or none. Of the rest it warns."
        ),
    ] = ",".join(sorted(DEFAULT_DENIED)),
    log_format: Annotated[LogFormat, typer.Option(help="Lines for programs or for people.")] = LogFormat.JSON,
) -> None:
    """Watch the kinds of tidegate.dev, compile them, publish ConfigMaps, write statuses. Runs until it is stopped."""
    _configure_logging(log_format)
    cluster = ClusterFacts(
        name=cluster_name, cloud=cloud, region=region, jurisdiction=jurisdiction, labels=_labels(cluster_label or [])
    )
    options = Options(
        facts=Facts(gateway, platform_namespace or namespace, cluster, issues_keys=True),
        namespace=namespace,
        identity=identity or _identity(in_cluster=kubeconfig is None),
        kubeconfig=kubeconfig,
        data_plane_urls=tuple(data_plane_url or ()),
        data_plane_service=data_plane_service,
        health=_address(health_listen) if health_listen else None,
        elect=leader_election,
        staging=_staging(
            canary,
            canary_seconds,
            Gates(canary_error_ratio, canary_deny_ratio, canary_latency_ratio, canary_min_requests),
        ),
        kept_revisions=keep_revisions,
        webhook=(
            WebhookOptions(
                listen=_address(webhook_listen, "--webhook-listen"),
                service=webhook_service,
                secret=webhook_store,
                configuration=webhook_configuration,
                denied=_topics(admission_deny),
                lives=lives_of(_life(webhook_certificate_life)),
            )
            if webhook_listen
            else None
        ),
    )
    try:
        with asyncio.Runner() as runner:
            runner.run(run(options))
    except ConfigException as error:
        hint = "" if kubeconfig else " (outside a cluster, give --kubeconfig)"
        typer.echo(f"error: {error}{hint}", err=True)
        raise typer.Exit(1) from None
    except (OSError, ClusterReplaced) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def _staging(share: str, seconds: float, gates: Gates) -> Staging | None:
    if not share:
        return None
    number = share.removesuffix("%")
    if number == share or not number.isdecimal() or not 0 < int(number) < 100:
        raise typer.BadParameter(f"{share!r} is not a share such as 25%", param_hint="--canary")
    return Staging(int(number) / 100, seconds, gates)


def _identity(*, in_cluster: bool) -> str:
    """A restarted container keeps its Pod's name, and with it the Lease; elsewhere every process is another."""
    host = os.environ.get("POD_NAME") or socket.gethostname()
    return host if in_cluster else f"{host}_{os.getpid()}"


def _labels(pairs: list[str]) -> dict[str, str]:
    labels = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--cluster-label")
        labels[name] = value
    return labels


def _address(text: str, flag: str = "--health-listen") -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=flag) from error


def _topics(text: str) -> frozenset[Topic]:
    """What is denied; `none` for nothing."""
    names = [name.strip() for name in text.split(",") if name.strip() not in ("", "none")]
    try:
        return frozenset(Topic(name) for name in names)
    except ValueError:
        known = ", ".join(Topic)
        raise typer.BadParameter(f"give some of {known}, or none", param_hint="--admission-deny") from None


def _life(text: str) -> timedelta:
    try:
        life = timedelta(milliseconds=parse_duration(text))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--webhook-certificate-life") from error
    if life < _SHORTEST_LIFE:
        raise typer.BadParameter("must be at least 10s", param_hint="--webhook-certificate-life")
    return life


def _configure_logging(form: LogFormat) -> None:
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_JsonLines() if form is LogFormat.JSON else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # The operator handles signals itself; Kopf says at every start that it does not.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
