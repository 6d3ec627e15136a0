"""Puts Tidegate's manifests into an API server: CRDs (until they serve), RBAC, examples."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from cluster.harness.apiserver import ApiServer
from cluster.harness.kubectl import Kubectl
from cluster.harness.processes import wait_until
from cluster.harness.rest import ApiError

SYSTEM_NAMESPACE = "tidegate-system"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class ManifestsMissing(RuntimeError):
    """A folder that should hold manifests has none; the message names it."""


def apply_crds(server: ApiServer, folder: Path) -> list[str]:
    """Apply every CRD in `folder` and wait until each is Established and served; returns their names.

    Raises ManifestsMissing, ApiError with what the API server has against a schema, DeadlineExceeded.
    """
    manifests = _documents(_manifest_files(folder))
    for manifest in manifests:
        server.admin.apply(f"{_CRDS}/{manifest['metadata']['name']}", manifest)
    for manifest in manifests:
        wait_until(partial(_is_served, server, manifest), what=f"CRD {manifest['metadata']['name']} to be served")
    return [manifest["metadata"]["name"] for manifest in manifests]


def apply_rbac(server: ApiServer, folder: Path) -> list[Path]:
    """Apply the plain manifests in `folder`, into tidegate-system where they name no namespace; returns the files."""
    files = _manifest_files(folder)
    server.ensure_namespace(SYSTEM_NAMESPACE)
    kubectl = Kubectl(server.kubeconfig(namespace=SYSTEM_NAMESPACE))
    for file in files:
        kubectl.apply(file)
    return files


def apply_folder(server: ApiServer, folder: Path) -> list[str]:
    """Apply the manifests in `folder`, making the namespaces they name; returns "Kind namespace/name" of each."""
    documents = _documents(_manifest_files(folder))
    # Namespaces first: everything else stands in them.
    documents.sort(key=lambda document: document["kind"] != "Namespace")
    declared = {document["metadata"]["name"] for document in documents if document["kind"] == "Namespace"}
    for namespace in sorted(_namespaces(documents) - declared):
        server.ensure_namespace(namespace)
    Kubectl(server.admin_kubeconfig).apply(yaml.safe_dump_all(documents))
    return [_label(document) for document in documents]


def _manifest_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ManifestsMissing(f"there is no manifest (*.yaml) in {folder}")
    return files


def _documents(files: Iterable[Path]) -> list[dict[str, Any]]:
    return [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]


def _namespaces(documents: Iterable[dict[str, Any]]) -> set[str]:
    return {str(name) for document in documents if (name := document["metadata"].get("namespace"))}


def _label(document: dict[str, Any]) -> str:
    metadata = document["metadata"]
    namespace = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    return f"{document['kind']} {namespace}{metadata['name']}"


def _is_served(server: ApiServer, manifest: dict[str, Any]) -> bool:
    """Established, listed, and in the OpenAPI document: only then do lists and `kubectl explain` answer."""
    admin, spec = server.admin, manifest["spec"]
    plural = spec["names"]["plural"]
    crd = admin.get(f"{_CRDS}/{manifest['metadata']['name']}")
    conditions = {item["type"]: item["status"] for item in crd.get("status", {}).get("conditions", [])}
    if conditions.get("Established") != "True":
        return False
    try:
        for version in spec["versions"]:
            api = f"apis/{spec['group']}/{version['name']}"
            admin.get(f"/{api}/{plural}", limit="1")
            if f"/{api}/{plural}" not in admin.get(f"/openapi/v3/{api}")["paths"]:
                return False
    except ApiError as error:
        if error.status in (404, 503):
            return False
        raise
    return True
