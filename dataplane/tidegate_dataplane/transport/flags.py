"""The flags that say how callers reach the data plane, and what they must not contradict."""

import argparse
from pathlib import Path
from typing import Any

from tidegate_dataplane.authenticate.rate import FAILURES_PER_ADDRESS, FAILURES_PER_PREFIX, Rate
from tidegate_dataplane.settings import TlsSettings
from tidegate_dataplane.transport.proxies import AddressHeader, TrustedProxies

_REQUIRED = "required"


def add_transport_flags(parser: argparse.ArgumentParser) -> None:
    """TLS, trusted proxies, and limits on failed authentications."""
    _add_tls(parser.add_argument_group("TLS for callers").add_argument)
    _add_proxies(parser.add_argument_group("trusted proxies").add_argument)
    add = parser.add_argument_group("failed authentications").add_argument
    add(
        "--auth-failures-per-address",
        type=_rate,
        default=FAILURES_PER_ADDRESS,
        metavar="N/TIME",
        help="answer further ones of an address with 429 (%(default)s)",
    )
    add(
        "--auth-failures-per-prefix",
        type=_rate,
        default=FAILURES_PER_PREFIX,
        metavar="N/TIME",
        help="the same for keys that begin alike, from whatever address (%(default)s)",
    )


def _add_tls(add: Any) -> None:
    add("--tls-dir", type=Path, metavar="DIR", help="a mounted Secret with tls.crt and tls.key")
    add("--tls-certificate", type=Path, metavar="FILE", help="the certificate with its chain, in PEM; with --tls-key")
    add("--tls-key", type=Path, metavar="FILE", help="its private key, in PEM")
    add("--client-ca", type=Path, metavar="FILE", help="ask for client certificates that these authorities issued")
    add(
        "--client-certificates",
        choices=("optional", _REQUIRED),
        help="whether a caller without one may connect (optional); with --client-ca",
    )
    add(
        "--client-crl",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="revocation lists, PEM or DER; may be given several times",
    )
    add(
        "--client-crl-required",
        action="store_true",
        help="refuse client certificates whose issuer has no current revocation list",
    )


def _add_proxies(add: Any) -> None:
    add(
        "--trusted-proxy",
        action="append",
        default=[],
        metavar="CIDR",
        help="proxies that say where callers are; may be given several times",
    )
    add(
        "--trusted-proxy-depth",
        type=int,
        default=1,
        metavar="N",
        help="how many of them a request passes at the most (%(default)s)",
    )
    add(
        "--trusted-proxy-header",
        choices=[each.value for each in AddressHeader],
        default=AddressHeader.X_FORWARDED_FOR.value,
        help="where they write it; the other is not read (%(default)s)",
    )
    add(
        "--trust-client-certificate-header",
        action="store_true",
        help="they verify client certificates, and replace what a caller sends as x-forwarded-client-cert",
    )


def read_tls(options: argparse.Namespace) -> TlsSettings | None:
    """None when none of the flags is given. Raises ValueError that says which flags do not go together."""
    certificate, key = _certificate_files(options)
    if options.client_ca is None and (options.client_certificates or options.client_crl or options.client_crl_required):
        raise ValueError("--client-certificates, --client-crl and --client-crl-required need --client-ca")
    if options.client_crl_required and not options.client_crl:
        raise ValueError("--client-crl-required needs --client-crl")
    if certificate is None or key is None:
        if options.client_ca is not None:
            raise ValueError("--client-ca needs TLS: give --tls-dir, or --tls-certificate and --tls-key")
        return None
    return TlsSettings(
        certificate=certificate,
        key=key,
        client_ca=options.client_ca,
        client_crls=tuple(options.client_crl),
        client_crl_required=options.client_crl_required,
        client_certificates_required=options.client_certificates == _REQUIRED,
    )


def _certificate_files(options: argparse.Namespace) -> tuple[Path | None, Path | None]:
    if options.tls_dir is None:
        if (options.tls_certificate is None) != (options.tls_key is None):
            raise ValueError("--tls-certificate and --tls-key go together")
        return options.tls_certificate, options.tls_key
    if options.tls_certificate is not None or options.tls_key is not None:
        raise ValueError("give --tls-dir, or --tls-certificate and --tls-key, not both")
    return options.tls_dir / "tls.crt", options.tls_dir / "tls.key"


def read_proxies(options: argparse.Namespace) -> TrustedProxies | None:
    """None when nobody is trusted. Raises ValueError that names the flag."""
    if not options.trusted_proxy:
        if options.trust_client_certificate_header:
            raise ValueError("--trust-client-certificate-header needs --trusted-proxy")
        return None
    header = AddressHeader(options.trusted_proxy_header)
    return TrustedProxies.parse(options.trusted_proxy, options.trusted_proxy_depth, header=header)


def _rate(text: str) -> Rate:
    try:
        return Rate.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
