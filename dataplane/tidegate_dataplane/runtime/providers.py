"""All providers that policies name: who may be asked whether a token is good."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from tidegate_dataplane.runtime.objects import Policy, Provider
from tidegate_dataplane.snapshot.entries import Method


class Providers(Struct, frozen=True, eq=False):
    """`by_key` holds all, `introspecting` those that ask a server.

    A provider of a Shadow policy is among them: what it would accept is evaluated too.
    """

    by_key: dict[str, Provider]
    introspecting: tuple[Provider, ...]

    def __bool__(self) -> bool:
        return bool(self.by_key)


EMPTY: Final = Providers({}, ())


def gathered(before: Providers, policies: Mapping[str, Policy]) -> Providers:
    """The providers of all policies. One whose declaration is as it was stays the same object; when all are, the
    result is `before` itself, so that what was learnt about tokens need not be learnt again."""
    by_key: dict[str, Provider] = {}
    for policy in policies.values():
        for provider in policy.providers:
            known = before.by_key.get(provider.key)
            by_key[provider.key] = known if known is not None and _same(known, provider) else provider
    if len(by_key) == len(before.by_key) and all(before.by_key.get(key) is one for key, one in by_key.items()):
        return before
    return Providers(
        by_key=by_key,
        introspecting=tuple(one for _, one in sorted(by_key.items()) if one.method is Method.INTROSPECTION),
    )


def _same(one: Provider, other: Provider) -> bool:
    return one.entry == other.entry and one.everywhere == other.everywhere and one.shadow == other.shadow
