"""Backends that nothing refers to, and credentials on the wire."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from tidegate_operator.lint.codes import Code
from tidegate_operator.lint.finding import Finding, View
from tidegate_operator.world import Kind

_NEAR = (".svc", ".svc.cluster.local", ".local", ".localhost")


def backends(view: View) -> Iterator[Finding]:
    """References of routes count as they are written, those of routes that are not valid too."""
    referred = set(_referred(view))
    for key, backend in view.backends.items():
        if f"{key.namespace}/{key.name}" not in referred:
            yield Finding(Code.UNUSED_BACKEND, key, "metadata.name", "no AIRoute refers to it")
        if backend.secret is not None and _far_and_plain(backend.endpoint):
            message = "its credential goes over plain http to another machine"
            yield Finding(Code.CREDENTIAL_UNENCRYPTED, key, "spec.endpoint", message)


def _referred(view: View) -> Iterator[str]:
    for key, resource in view.world.resources.items():
        targets = resource.spec.get("targets") if key.kind is Kind.ROUTE else None
        for target in targets if isinstance(targets, list) else ():
            ref: Any = target.get("backendRef") if isinstance(target, dict) else None
            if isinstance(ref, dict):
                yield f"{ref.get('namespace') or key.namespace}/{ref.get('name')}"


def _far_and_plain(endpoint: str) -> bool:
    """Plain http to what is neither this machine nor a Service of the cluster."""
    try:
        url = urlsplit(endpoint)
        host = url.hostname or ""
    except ValueError:
        return False
    if url.scheme != "http" or not host:
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        # A name without a dot is of this machine or of the cluster.
        return "." in host and not host.endswith(_NEAR)
