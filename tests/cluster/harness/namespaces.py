"""Removes a test's namespace. Without a controller manager nobody else would, and other tests would see its objects."""

from __future__ import annotations

from cluster.harness.rest import ApiError, Rest

_CORE = ("configmaps", "secrets", "serviceaccounts", "services", "pods")


def remove_namespace(admin: Rest, name: str, *, group_version: str = "tidegate.dev/v1alpha1") -> None:
    """Delete the custom resources of `group_version` and the usual core objects in the namespace, then itself.

    Finalizers are not waited for: an object that carries one stays, as it would in a real cluster.
    """
    for resource in _CORE:
        admin.delete(f"/api/v1/namespaces/{name}/{resource}")
    for resource in _namespaced_resources(admin, group_version):
        admin.delete(f"/apis/{group_version}/namespaces/{name}/{resource}")
    admin.delete(f"/api/v1/namespaces/{name}", missing_ok=True)
    # What the namespace controller does at the end: without this it would stay Terminating.
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {"finalizers": []}}
    try:
        admin.replace(f"/api/v1/namespaces/{name}/finalize", body)
    except ApiError as error:
        if error.status != 404:
            raise


def _namespaced_resources(admin: Rest, group_version: str) -> list[str]:
    try:
        resources = admin.get(f"/apis/{group_version}")["resources"]
    except ApiError as error:
        if error.status == 404:
            return []
        raise
    return [item["name"] for item in resources if item["namespaced"] and "/" not in item["name"]]
