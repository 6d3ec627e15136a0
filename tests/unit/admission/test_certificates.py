"""The webhook's certificates over the years, by a clock of the test's own."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from tidegate_operator.admission.certificates import Kept, Lives, read_kept, renewed, written
from tidegate_operator.admission.configuration import ClientConfig, Configuration, Service, Webhook, path_of, pointed
from tidegate_operator.ingest import Meta

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("tidegate-webhook.tidegate-system.svc", "127.0.0.1")
LIVES = Lives()
DAY = timedelta(days=1)


def _trusts(bundle: bytes, kept: Kept, at: datetime) -> bool:
    """Whether a client with this bundle takes the certificate then: some authority signed it, and both are good."""
    leaf = kept.serving.parsed
    if not leaf.not_valid_before_utc <= at < leaf.not_valid_after_utc:
        return False
    for authority in x509.load_pem_x509_certificates(bundle):
        if authority.subject == leaf.issuer and authority.not_valid_before_utc <= at < authority.not_valid_after_utc:
            leaf.verify_directly_issued_by(authority)
            return True
    return False


def test_what_is_made_at_first_serves_these_names_and_nothing_is_due_then() -> None:
    kept = renewed(None, NAMES, BEGIN, LIVES)
    names = kept.serving.parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAMES[0]]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == [NAMES[1]]
    assert _trusts(kept.trusted, kept, BEGIN)
    assert renewed(kept, NAMES, BEGIN + DAY, LIVES) is kept


def test_what_is_read_back_is_what_was_written() -> None:
    kept = renewed(None, NAMES, BEGIN, LIVES)
    assert read_kept(written(kept)) == kept


@pytest.mark.parametrize("name", ["ca.crt", "ca.key", "tls.crt", "tls.key", "ca-bundle.crt", "path-token"])
@pytest.mark.parametrize("value", [b"", b"nonsense", None])
def test_a_secret_that_cannot_be_used_is_made_anew(name: str, value: bytes | None) -> None:
    data = written(renewed(None, NAMES, BEGIN, LIVES))
    if value is None:
        del data[name]
    else:
        data[name] = value
    assert read_kept(data) is None


def test_a_key_of_another_certificate_is_not_served() -> None:
    one, other = (written(renewed(None, NAMES, BEGIN, LIVES)) for _ in range(2))
    assert read_kept({**one, "tls.key": other["tls.key"]}) is None


def test_another_name_makes_another_certificate_of_the_same_authority() -> None:
    kept = renewed(None, NAMES, BEGIN, LIVES)
    again = renewed(kept, ("other.tidegate-system.svc",), BEGIN, LIVES)
    assert again.authority == kept.authority
    assert again.serving != kept.serving
    assert again.token == kept.token


def test_over_ten_years_whoever_read_the_bundle_before_trusts_what_is_served() -> None:
    """API servers may be behind, and the other replica too: old and new meet in every combination."""
    kept = renewed(None, NAMES, BEGIN, LIVES)
    changes, authorities = 0, {kept.authority.certificate}
    now = BEGIN
    while now < BEGIN + 3650 * DAY:
        now += 4 * DAY
        wanted = renewed(kept, NAMES, now, LIVES)
        if wanted is not kept:
            changes += 1
            authorities.add(wanted.authority.certificate)
            assert kept.serving.parsed.not_valid_after_utc - now > LIVES.serving / 4
            assert _trusts(kept.trusted, wanted, now), "who still has the old bundle must trust the new certificate"
            assert _trusts(wanted.trusted, kept, now), "who has the new bundle must trust the old certificate"
            assert len(wanted.bundle) <= 3
            kept = wanted
        assert _trusts(kept.trusted, kept, now)
    assert len(authorities) >= 4
    assert 40 <= changes <= 90


def test_an_operator_that_was_away_for_years_makes_it_good_at_once() -> None:
    kept = renewed(None, NAMES, BEGIN, LIVES)
    late = BEGIN + 2000 * DAY
    again = renewed(kept, NAMES, late, LIVES)
    assert _trusts(again.trusted, again, late)
    assert again.token == kept.token


def test_python_itself_takes_the_chain() -> None:
    now = datetime.now(UTC)
    kept = renewed(None, NAMES, now, LIVES)
    context = ssl.create_default_context(cadata=kept.trusted.decode())
    assert context.cert_store_stats()["x509_ca"] == 1


def _configuration(**client: object) -> Configuration:
    return Configuration(Meta(name="x", resource_version="7"), [Webhook("a", ClientConfig(**client))])  # type: ignore[arg-type]


def test_the_configuration_gets_bundle_and_path_and_is_left_alone_then() -> None:
    kept = renewed(None, NAMES, BEGIN, LIVES)
    patch = pointed(_configuration(service=Service("s", "n", "/")), kept)
    assert [(one["op"], one["path"]) for one in patch] == [
        ("test", "/metadata/resourceVersion"),
        ("add", "/webhooks/0/clientConfig/caBundle"),
        ("add", "/webhooks/0/clientConfig/service/path"),
    ]
    done = _configuration(service=Service("s", "n", path_of(kept.token)), ca_bundle=patch[1]["value"])
    assert pointed(done, kept) == []


def test_a_url_keeps_host_and_port_and_gets_the_path() -> None:
    kept = renewed(None, NAMES, BEGIN, LIVES)
    patch = pointed(_configuration(url="https://127.0.0.1:9443/x?timeout=2s"), kept)
    assert patch[2]["value"] == f"https://127.0.0.1:9443{path_of(kept.token)}?timeout=2s"
