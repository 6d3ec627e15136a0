"""Own content of an AIBackend."""

import re
import ssl
from urllib.parse import urlsplit

from tidegate_crds.v1alpha1.aibackend import AIBackendSpec
from tidegate_crds.v1alpha1.aibackend import MockAnswer as SpecMockAnswer
from tidegate_dataplane.snapshot.entries import BackendEntry, MockAnswer, Provider
from tidegate_operator.compile.content.fields import duration_within, placement_of, secret_ref, source_of
from tidegate_operator.compile.durations import HOUR
from tidegate_operator.compile.problems import Problems
from tidegate_operator.world import Facts, Resource

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_HOST = re.compile(r"[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?)*\.?")


def backend_content(resource: Resource, spec: AIBackendSpec, facts: Facts, problems: Problems) -> BackendEntry:
    """Lower a valid spec; notes problems of endpoint, certificates and durations."""
    endpoint = _endpoint(spec.endpoint, problems) if spec.endpoint else ""
    if spec.tls and endpoint.startswith("http:"):
        problems.add("spec.tls", "needs an https endpoint: with http there is no certificate to verify")
    return BackendEntry(
        source=source_of(resource),
        provider=Provider(spec.provider.value),
        endpoint=endpoint,
        api_version=spec.api_version or "",
        secret=secret_ref(spec.credential.secret_ref) if spec.credential else None,
        ca_bundle=_ca_bundle(spec.tls.ca_bundle, problems) if spec.tls else "",
        connect_timeout_ms=duration_within(spec.connect_timeout, "spec.connectTimeout", problems, least=1, most=HOUR),
        models=tuple(sorted(model.name for model in spec.models)),
        allowed_namespaces=tuple(sorted(spec.allowed_namespaces)),
        mock=_mock(spec.mock or SpecMockAnswer(), problems) if spec.provider.value == Provider.MOCK else None,
        placement=placement_of(spec.placement),
    )


def _endpoint(url: str, problems: Problems) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
        problems.add("spec.endpoint", "must have a port between 1 and 65535 and a well-formed host")
        return url
    if not host or not (":" in host or _HOST.fullmatch(host)):
        problems.add("spec.endpoint", "must name a host, such as https://api.openai.com/v1")
    if port == 0 or parts.netloc.endswith(":"):
        problems.add("spec.endpoint", "must have a port between 1 and 65535, or none")
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        problems.add("spec.endpoint", "must not have '.' or '..' in its path")
    return url.rstrip("/")


def _ca_bundle(text: str, problems: Problems) -> str:
    """The certificates alone: comments are dropped, and a private key never travels on."""
    field = "spec.tls.caBundle"
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


def _mock(mock: SpecMockAnswer, problems: Problems) -> MockAnswer:
    return MockAnswer(
        reply=mock.reply,
        latency_ms=duration_within(mock.latency, "spec.mock.latency", problems, least=0, most=HOUR),
        chunk_delay_ms=duration_within(mock.chunk_delay, "spec.mock.chunkDelay", problems, least=0, most=HOUR),
    )
