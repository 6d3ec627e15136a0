"""Own content of an AIBackend."""

from tidegate_crds.v1alpha1.aibackend import AIBackendSpec, Concurrency
from tidegate_crds.v1alpha1.aibackend import MockAnswer as SpecMockAnswer
from tidegate_dataplane.snapshot.entries import (
    BackendEntry,
    ConcurrencyEntry,
    ConcurrencyMode,
    Location,
    MockAnswer,
    Provider,
)
from tidegate_operator.compile.content.certificates import ca_bundle
from tidegate_operator.compile.content.endpoint import check_url
from tidegate_operator.compile.content.fields import duration_within, placement_of, secret_ref, source_of
from tidegate_operator.compile.content.price import price_entry
from tidegate_operator.compile.durations import HOUR
from tidegate_operator.compile.problems import Problems
from tidegate_operator.world import Facts, Resource

_INITIAL = 20


def backend_content(resource: Resource, spec: AIBackendSpec, facts: Facts, problems: Problems) -> BackendEntry:
    """Lower a valid spec; notes problems of endpoint, certificates and durations."""
    endpoint = spec.endpoint.rstrip("/") if spec.endpoint else ""
    if spec.endpoint:
        check_url(spec.endpoint, "spec.endpoint", problems)
    if spec.tls and endpoint.startswith("http:"):
        problems.add("spec.tls", "needs an https endpoint: with http there is no certificate to verify")
    return BackendEntry(
        source=source_of(resource),
        provider=Provider(spec.provider.value),
        endpoint=endpoint,
        api_version=spec.api_version or "",
        secret=secret_ref(spec.credential.secret_ref) if spec.credential else None,
        ca_bundle=ca_bundle(spec.tls.ca_bundle, "spec.tls.caBundle", problems) if spec.tls else "",
        connect_timeout_ms=duration_within(spec.connect_timeout, "spec.connectTimeout", problems, least=1, most=HOUR),
        models=tuple(sorted(model.name for model in spec.models)),
        versions={model.name: model.version for model in spec.models if model.version},
        prices={
            model.name: price_entry(model.price, f"spec.models[{position}].price", problems)
            for position, model in enumerate(spec.models)
            if model.price
        },
        location=_location(spec),
        allowed_namespaces=tuple(sorted(spec.allowed_namespaces)),
        mock=_mock(spec.mock or SpecMockAnswer(), problems) if spec.provider.value == Provider.MOCK else None,
        placement=placement_of(spec.placement),
        concurrency=_concurrency(spec.concurrency) if spec.concurrency else None,
    )


def _concurrency(given: Concurrency) -> ConcurrencyEntry:
    """Where nothing is said: at least a twentieth of the most, and a beginning that no small provider minds."""
    if given.mode.value == ConcurrencyMode.FIXED:
        return ConcurrencyEntry(ConcurrencyMode.FIXED, given.max, given.max, given.max)
    initial = given.initial or _INITIAL
    least = given.min or min(max(1, given.max // 20), initial)
    return ConcurrencyEntry(ConcurrencyMode.ADAPTIVE, given.max, least, min(max(initial, least), given.max))


def _location(spec: AIBackendSpec) -> Location | None:
    where = spec.location
    if where is None:
        return None
    return Location(cloud=where.cloud or "", region=where.region or "", jurisdiction=where.jurisdiction or "")


def _mock(mock: SpecMockAnswer, problems: Problems) -> MockAnswer:
    return MockAnswer(
        reply=mock.reply,
        latency_ms=duration_within(mock.latency, "spec.mock.latency", problems, least=0, most=HOUR),
        chunk_delay_ms=duration_within(mock.chunk_delay, "spec.mock.chunkDelay", problems, least=0, most=HOUR),
    )
