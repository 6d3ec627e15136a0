"""What a token turned out to be."""

from collections.abc import Mapping

from msgspec import Struct

from tidegate_dataplane.snapshot.entries import TokenKind


class Verified(Struct, frozen=True, eq=False):
    """A token that holds. `claims` are shared by all who hold them: never change them.

    `accepted` are the keys ("namespace/policy/provider") of all providers that take it. `issuer` of an introspected
    token is the provider's configured one, often "".
    """

    kind: TokenKind
    issuer: str
    subject: str
    claims: Mapping[str, object]
    accepted: frozenset[str]
