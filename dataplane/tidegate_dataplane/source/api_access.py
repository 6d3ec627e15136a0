"""Finding the API server: from inside a pod, or from a kubeconfig."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tidegate_dataplane.settings import ApiAccess

# Where Kubernetes mounts them (kubernetes.io, "Accessing the Kubernetes API from a Pod").
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ApiAccessError(ValueError):
    """The API server's address or the credentials cannot be read; the message says what to do."""


def in_cluster(environ: Mapping[str, str] = os.environ, directory: Path = SERVICE_ACCOUNT) -> ApiAccess | None:
    """Return how a pod reaches the API server, or None outside of a pod."""
    host = environ.get("KUBERNETES_SERVICE_HOST")
    port = environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port or not (directory / "token").exists():
        return None
    name = f"[{host}]" if ":" in host else host
    return ApiAccess(url=f"https://{name}:{port}", ca_file=directory / "ca.crt", token_file=directory / "token")


def from_kubeconfig(path: Path) -> ApiAccess:
    """Read the current context: token, token file or client certificate. Raises ApiAccessError.

    A kubeconfig in YAML needs PyYAML, which the data plane's image does not hold: there, use JSON or the --api-* flags.
    """
    try:
        config = _parse(path)
        context = _named(config, "contexts", "context", config["current-context"])
        cluster = _named(config, "clusters", "cluster", context["cluster"])
        user = _named(config, "users", "user", context["user"])
        return _access(cluster, user, path.parent)
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ApiAccessError):
            raise
        what = f"has no {error}" if isinstance(error, KeyError) else f"cannot be read: {error}"
        raise ApiAccessError(f"kubeconfig {path} {what}") from error


def _parse(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    if data.lstrip().startswith(b"{"):
        return msgspec.json.decode(data, type=dict[str, Any])
    try:
        return msgspec.yaml.decode(data, type=dict[str, Any])
    except ImportError as error:
        raise ApiAccessError(
            f"kubeconfig {path} is YAML and PyYAML is not installed: use --api-server, --api-ca and --api-token-file"
        ) from error


def _named(config: Mapping[str, Any], section: str, kind: str, name: str) -> dict[str, Any]:
    for item in config[section]:
        if item["name"] == name:
            return dict(item[kind])
    raise KeyError(f"{kind} {name!r}")


def _access(cluster: Mapping[str, Any], user: Mapping[str, Any], directory: Path) -> ApiAccess:
    if cluster.get("insecure-skip-tls-verify"):
        raise ApiAccessError("insecure-skip-tls-verify is not supported: give certificate-authority(-data)")
    if "exec" in user or "auth-provider" in user:
        raise ApiAccessError("exec and auth-provider plugins are not supported: use a token or a client certificate")
    ca = _content(cluster, "certificate-authority", directory)
    return ApiAccess(
        url=cluster["server"],
        ca_data=ca.decode("ascii"),
        token=user.get("token", ""),
        token_file=directory / user["tokenFile"] if "tokenFile" in user else None,
        client_certificate=_content(user, "client-certificate", directory),
        client_key=_content(user, "client-key", directory),
    )


def _content(section: Mapping[str, Any], name: str, directory: Path) -> bytes:
    if f"{name}-data" in section:
        return base64.b64decode(str(section[f"{name}-data"]), validate=True)
    if name in section:
        return (directory / str(section[name])).read_bytes()
    return b""
