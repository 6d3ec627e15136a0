"""PEM certificates that objects carry to say whom to trust."""

import re
import ssl

from tidegate_operator.compile.problems import Problems

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def ca_bundle(text: str, field: str, problems: Problems) -> str:
    """The certificates alone: comments are dropped, and a private key never travels on."""
    if "PRIVATE KEY" in text:
        problems.add(
            field, "holds a private key: leave only certificates here, and replace that key, for others saw it"
        )
        return ""
    bundle = "\n".join(_CERTIFICATE.findall(text))
    if not bundle:
        problems.add(field, "must hold at least one PEM block -----BEGIN CERTIFICATE----- … -----END CERTIFICATE-----")
        return ""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=bundle)
    except (ssl.SSLError, ValueError):
        problems.add(field, "holds a certificate that cannot be read: paste the PEM text whole, with its line breaks")
    return bundle + "\n"
