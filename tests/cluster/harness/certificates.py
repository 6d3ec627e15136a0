"""Keys and certificates of a throw-away API server: its own CA, its serving certificate, the key that signs tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki.authority import Authority, private_pem

_HOSTS = ("127.0.0.1", "localhost", "kubernetes.default.svc")


@dataclass(frozen=True)
class ClusterKeys:
    """Where the files lie; the private ones are readable by their owner alone."""

    ca: Path
    serving_certificate: Path
    serving_key: Path
    token_signing_key: Path
    token_public_key: Path


def write_cluster_keys(directory: Path) -> ClusterKeys:
    """Make a CA, a certificate for 127.0.0.1 and localhost, and a token signing key, good for one day."""
    authority = Authority.create("tidegate-test-ca")
    serving = authority.issue("kube-apiserver", _HOSTS)
    signing_key = ec.generate_private_key(ec.SECP256R1())
    public = signing_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return ClusterKeys(
        ca=write_private(directory / "ca.crt", authority.pem),
        serving_certificate=write_private(directory / "serving.crt", serving.certificate),
        serving_key=write_private(directory / "serving.key", serving.key),
        token_signing_key=write_private(directory / "tokens.key", private_pem(signing_key)),
        token_public_key=write_private(directory / "tokens.pub", public),
    )


def write_private(path: Path, content: bytes) -> Path:
    """Write a file that only its owner may read, from its first byte on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path
