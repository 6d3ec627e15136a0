"""From what tokens and client certificates say to the consumers that they stand for."""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from msgspec import Struct

from tidegate_dataplane.runtime.objects import Consumer
from tidegate_dataplane.snapshot.entries import CertificateMatchEntry, TokenMatchEntry

K = TypeVar("K")
M = TypeVar("M")

_SUBJECT: Final = "sub"


class TokenMatch(Struct, frozen=True, eq=False, gc=False):
    """A token whose claims have all these values stands for the consumer."""

    name: str
    claims: tuple[tuple[str, str], ...]
    consumer: Consumer


class CertificateMatch(Struct, frozen=True, eq=False, gc=False):
    """A certificate with the value under which this is found stands for the consumer."""

    name: str
    consumer: Consumer


class Matches(Struct, frozen=True, eq=False):
    """`tokens` by issuer, one claim and its value; `asked` counts how often each claim is that one, by issuer.
    `certificates` by form (subject, uri, dns, fingerprint) and value. All claimants in the order of their age."""

    tokens: dict[tuple[str, str, str], tuple[TokenMatch, ...]]
    asked: dict[str, dict[str, int]]
    certificates: dict[tuple[str, str], tuple[CertificateMatch, ...]]

    def of_token(self, issuer: str, claims: Mapping[str, object]) -> list[TokenMatch]:
        """All matches whose claims the token has with just these string values, the oldest consumer first."""
        found = []
        for claim in self.asked.get(issuer, ()):
            value = claims.get(claim)
            if isinstance(value, str):
                for match in self.tokens.get((issuer, claim, value), ()):
                    if all(claims.get(name) == wanted for name, wanted in match.claims):
                        found.append(match)
        return sorted(found, key=lambda match: _age(match.consumer))

    def of_certificate(self, forms: Iterable[tuple[str, str]]) -> list[CertificateMatch]:
        """All matches that name one of these values, the oldest consumer first."""
        found = [match for form in forms for match in self.certificates.get(form, ())]
        return sorted(found, key=lambda match: _age(match.consumer))


EMPTY: Final = Matches({}, {}, {})


def patched(before: Matches, removed: Iterable[Consumer], added: Iterable[Consumer]) -> Matches:
    """The matches without those of `removed` and with those of `added`."""
    gone = [consumer for consumer in removed if _has_any(consumer)]
    come = [consumer for consumer in added if _has_any(consumer)]
    if not gone and not come:
        return before
    tokens, certificates = dict(before.tokens), dict(before.certificates)
    asked = {issuer: dict(claims) for issuer, claims in before.asked.items()}
    for consumer in gone:
        for entry in consumer.entry.tokens:
            key = _token_key(entry)
            _put(tokens, key, [match for match in tokens.get(key, ()) if match.consumer is not consumer])
            _count(asked, entry, -1)
        for form in map(certificate_form, consumer.entry.certificates):
            kept = [match for match in certificates.get(form, ()) if match.consumer is not consumer]
            _put(certificates, form, kept)
    for consumer in come:
        for entry in consumer.entry.tokens:
            key = _token_key(entry)
            match = TokenMatch(entry.name, tuple(entry.match.items()), consumer)
            _put(tokens, key, sorted((*tokens.get(key, ()), match), key=lambda one: _age(one.consumer)))
            _count(asked, entry, 1)
        for certificate in consumer.entry.certificates:
            form = certificate_form(certificate)
            claimants = (*certificates.get(form, ()), CertificateMatch(certificate.name, consumer))
            _put(certificates, form, sorted(claimants, key=lambda one: _age(one.consumer)))
    return Matches(tokens, asked, certificates)


def certificate_form(entry: CertificateMatchEntry) -> tuple[str, str]:
    """Under which form and value a certificate is found."""
    for form in ("subject", "uri", "dns", "fingerprint"):
        value: str = getattr(entry, form)
        if value:
            return form, value
    return "", ""


def _has_any(consumer: Consumer) -> bool:
    return bool(consumer.entry.tokens or consumer.entry.certificates)


def _primary(entry: TokenMatchEntry) -> str:
    return _SUBJECT if _SUBJECT in entry.match else min(entry.match)


def _token_key(entry: TokenMatchEntry) -> tuple[str, str, str]:
    claim = _primary(entry)
    return entry.issuer, claim, entry.match[claim]


def _count(asked: dict[str, dict[str, int]], entry: TokenMatchEntry, change: int) -> None:
    claims = asked.setdefault(entry.issuer, {})
    claim = _primary(entry)
    claims[claim] = claims.get(claim, 0) + change
    if not claims[claim]:
        del claims[claim]
    if not claims:
        del asked[entry.issuer]


def _put(table: dict[K, tuple[M, ...]], key: K, matches: list[M]) -> None:
    if matches:
        table[key] = tuple(matches)
    else:
        table.pop(key, None)


def _age(consumer: Consumer) -> tuple[int, str]:
    return consumer.entry.source.created, consumer.key
