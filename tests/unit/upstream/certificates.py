"""TLS servers of a test, with certificates of an authority of its own."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from pki import authority


@dataclass(frozen=True)
class Authority:
    """`ca_file` holds the PEM that a client must trust."""

    directory: Path
    name: str
    issuer: authority.Authority

    @classmethod
    def create(cls, directory: Path, name: str) -> "Authority":
        issuer = authority.Authority.create(name)
        (directory / f"{name}.pem").write_bytes(issuer.pem)
        return cls(directory, name, issuer)

    @property
    def ca_file(self) -> str:
        return str(self.directory / f"{self.name}.pem")

    def server_context(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """Return a server's context with a certificate for these DNS names or addresses."""
        issued = self.issuer.issue("server", names, expired=expired)
        file = self.directory / f"{self.name}-{'-'.join(names).replace(':', '_')}.pem"
        file.write_bytes(issued.key + issued.certificate)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        return context
