"""Certificates of the genuine cluster: one authority for the API server and for what it shows to the kubelet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cluster.harness.certificates import ClusterKeys, write_private
from e2e.node.layout import API_SERVICE, GATEWAY
from pki.authority import Authority, private_pem

_HOSTS = (
    "127.0.0.1",
    GATEWAY,
    API_SERVICE,
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True)
class NodeKeys:
    """The API server's own keys, and its client certificate for the kubelet."""

    cluster: ClusterKeys
    kubelet_client: Path
    kubelet_client_key: Path


def write_node_keys(directory: Path) -> NodeKeys:
    """Make everything anew, good for one day, readable by the owner alone."""
    authority = Authority.create("tidegate-e2e-ca")
    serving = authority.issue("kube-apiserver", _HOSTS)
    client = authority.issue_client("kube-apiserver-kubelet-client")
    signing_key = ec.generate_private_key(ec.SECP256R1())
    public = signing_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return NodeKeys(
        ClusterKeys(
            ca=write_private(directory / "ca.crt", authority.pem),
            serving_certificate=write_private(directory / "serving.crt", serving.certificate),
            serving_key=write_private(directory / "serving.key", serving.key),
            token_signing_key=write_private(directory / "tokens.key", private_pem(signing_key)),
            token_public_key=write_private(directory / "tokens.pub", public),
        ),
        kubelet_client=write_private(directory / "kubelet-client.crt", client.certificate),
        kubelet_client_key=write_private(directory / "kubelet-client.key", client.key),
    )
