"""An API server whose webhook configuration points at operators on this machine, and what kubectl is told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.harness.apiserver import ApiServer
from cluster.harness.binaries import find_tools
from cluster.harness.gateway import start_operator
from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.processes import ChildProcess, wait_until
from cluster.harness.rest import ApiError
from tidegate_crds.definition import NAMES

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
CONFIGURATION = f"{CONFIGURATIONS}/tidegate-webhook"
SECRET = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/secrets/tidegate-webhook"
GROUP = "/apis/tidegate.dev/v1alpha1"
ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Said:
    """How kubectl ended, and both of its streams."""

    code: int
    text: str

    @property
    def warnings(self) -> list[str]:
        return [line.removeprefix("Warning: ") for line in self.text.splitlines() if line.startswith("Warning: ")]


def configure(server: ApiServer, port: int) -> None:
    """Install the chart's configuration, with a URL in the place of the Service."""
    manifest = chart_configuration()
    for webhook in manifest["webhooks"]:
        webhook["clientConfig"] = {"url": f"https://127.0.0.1:{port}/"}
    try:
        server.admin.delete(CONFIGURATION)
    except ApiError as error:
        if error.status != 404:
            raise
    server.admin.create(CONFIGURATIONS, manifest)


def chart_configuration() -> dict[str, Any]:
    """The chart's ValidatingWebhookConfiguration, without Helm: its few expressions are put in by hand."""
    text = (ROOT / "charts/tidegate/templates/admission/webhook.yaml").read_text().split("*/ -}}", 1)[1]
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("{{")]
    whole = "\n".join(kept)
    for given, value in (
        ('{{ include "tidegate.fullname" . }}', "tidegate"),
        ('{{ include "tidegate.operator.serviceAccountName" . }}', "tidegate-operator"),
        ("{{ .Release.Namespace }}", SYSTEM_NAMESPACE),
        ("{{ .Values.admission.webhook.timeoutSeconds }}", "2"),
    ):
        whole = whole.replace(given, value)
    found = [one for one in yaml.safe_load_all(whole) if one and one["kind"] == "ValidatingWebhookConfiguration"]
    manifest: dict[str, Any] = found[0]
    return manifest


def start_webhook(
    server: ApiServer, directory: Path, port: int, *, name: str = "operator", more: Sequence[str] = ()
) -> ChildProcess:
    """Start an operator with a webhook. It may not listen yet."""
    flags = ["--log-format", "text", "--webhook-listen", f"127.0.0.1:{port}", *more]
    return start_operator(server, data_plane_urls=(), directory=directory, name=name, more=flags)


def wait_for_trust(server: ApiServer, process: ChildProcess) -> None:
    """Wait until the API server asks the webhook and trusts it, and the webhook has seen everything."""

    def listens() -> bool:
        said = apply(
            server, "AIRoute", "probe", {"models": ["probe-x"], "targets": [{"backendRef": {"name": "nobody"}}]}
        )
        return any("does not exist" in line for line in said.warnings)

    wait_until(listens, what="the webhook to be asked", deadline=60.0, process=process)


def apply(
    server: ApiServer,
    kind: str,
    name: str,
    spec: dict[str, Any],
    *,
    namespace: str = "team-a",
    dry_run: bool = True,
    annotations: dict[str, str] | None = None,
) -> Said:
    """`kubectl apply` of one object."""
    metadata = {"name": name, "namespace": namespace, "annotations": annotations or {}}
    body = {"apiVersion": "tidegate.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
    dry = ["--dry-run=server"] if dry_run else []
    return kubectl(server, "apply", "--server-side", "--force-conflicts", *dry, "-f", "-", stdin=yaml.safe_dump(body))


def kubectl(server: ApiServer, *args: str, stdin: str = "") -> Said:
    """Run kubectl as the administrator."""
    ended = subprocess.run(
        [str(find_tools().kubectl), *args],
        input=stdin,
        env={**os.environ, "KUBECONFIG": str(server.admin_kubeconfig), "KUBECACHEDIR": str(server.directory / "cache")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Said(ended.returncode, ended.stdout + ended.stderr)


def declare(server: ApiServer, kind: str, name: str, spec: dict[str, Any], *, namespace: str = "team-a") -> None:
    """Create an object past kubectl; ApiError when it is refused."""
    body = {"apiVersion": "tidegate.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    server.admin.create(f"{GROUP}/namespaces/{namespace}/{NAMES[kind].plural}", body)


def clear(server: ApiServer) -> None:
    """Delete everything of Tidegate's, and the configuration first."""
    for path in (CONFIGURATION, SECRET):
        server.admin.delete(path, missing_ok=True)
    for names in NAMES.values():
        for item in server.admin.list(f"{GROUP}/{names.plural}"):
            meta = item["metadata"]
            place = f"{GROUP}/namespaces/{meta['namespace']}/{names.plural}/{meta['name']}"
            server.admin.delete(place, missing_ok=True)
