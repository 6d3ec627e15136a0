"""Puts the admission policies into an API server, and knows when they hold."""

from __future__ import annotations

from typing import Any

from cluster.harness.apiserver import ApiServer
from cluster.harness.processes import wait_until
from cluster.harness.rest import ApiError
from tidegate_crds.admission.policies import bindings, policies
from tidegate_crds.definition import NAMES

REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
GROUP = "/apis/tidegate.dev/v1alpha1"


def apply_policies(server: ApiServer) -> None:
    """Apply policies and default bindings; returns once each kind's errors are refused."""
    for policy in policies():
        name = policy["metadata"]["name"]
        server.admin.apply(f"{REGISTRATION}/validatingadmissionpolicies/{name}", policy)
    for binding in bindings():
        name = binding["metadata"]["name"]
        server.admin.apply(f"{REGISTRATION}/validatingadmissionpolicybindings/{name}", binding)
    probes: dict[str, dict[str, Any]] = {
        "AIPolicy": {"targetRefs": [{"kind": "Gateway"}], "rateLimits": [{"name": "x", "requests": 1}]},
        "AIBackend": {"provider": "OpenAI", "endpoint": "https://-x-/"},
        "AIRoute": {"models": ["x"], "targets": [{"backendRef": {"name": "x"}}], "timeout": "2h"},
        "AIConsumer": {
            "credentials": {"apiKeys": [{"name": "x", "secretRef": {"name": "x", "key": "k" * 250}, "generate": {}}]}
        },
        "Quota": {"targetRefs": [{"kind": "Gateway"}], "limits": [{"unit": "Concurrent", "amount": "1"}]},
    }
    for kind, spec in probes.items():
        wait_until(lambda kind=kind, spec=spec: refusal(server, kind, spec) != "", what=f"the policy of {kind} to hold")  # type: ignore[misc]


def refusal(
    server: ApiServer, kind: str, spec: dict[str, Any], *, namespace: str = "team-a", name: str = "wrong"
) -> str:
    """What the API server says against the object in a dry run, "" when it takes it."""
    body = {"apiVersion": "tidegate.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    try:
        server.admin.create(f"{GROUP}/namespaces/{namespace}/{NAMES[kind].plural}?dryRun=All", body)
    except ApiError as error:
        return str(error)
    return ""
