"""What a provider's claim mapping makes of a token. Pure, and total: a claim that is missing, of a wrong type or unfit
gives nothing, never an error.

Worked out once for each token that is verified, not for each request.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from tidegate_dataplane.expressions import EvaluationError, ValueProgram
from tidegate_dataplane.runtime.objects import Claims, Consumer, Provider
from tidegate_dataplane.snapshot.entries import ConsumerEntry, Source

MAX_LENGTH: Final = 128
MAX_ROLES: Final = 64
_NOTHING: Final = Claims()
# A name of Kubernetes' has no colon, so nobody can take the name of an AIConsumer by a claim.
_PREFIX: Final = "jwt:"
_label = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII).fullmatch  # RFC 1123


def claims_of(provider: Provider, token: Mapping[str, Any]) -> Claims:
    """Roles, team, tier and attributes; `token` maps issuer, subject, acr, authTime and claims (NO_TOKEN's members).

    A role that is empty, unprintable or longer than MAX_LENGTH is left out, more than MAX_ROLES give none at all.
    Never raises.
    """
    programs = provider.programs
    if programs is None:
        return _NOTHING
    variables = {"token": token}
    roles = frozenset(role for role in _texts(programs.roles, variables) if _fit(role))
    attributes = {name: _text(program, variables) for name, program in programs.attributes.items()}
    return Claims(
        roles=roles if len(roles) <= MAX_ROLES else frozenset(),
        team=_text(programs.team, variables),
        tier=_text(programs.tier, variables),
        attributes={name: value for name, value in attributes.items() if value},
    )


def mapped_consumer(provider: Provider, token: Mapping[str, Any]) -> Consumer | None:
    """The consumer of a token that no AIConsumer claims; None when the mapping names nobody. Never raises.

    Its key is `namespace/jwt:NAME` and its name `jwt:NAME`. The namespace is the provider's own; only a provider of the
    whole gateway may name another, and then a claim that names none makes nobody.
    """
    programs = provider.programs
    if programs is None or programs.name is None:
        return None
    variables = {"token": token}
    name = _text(programs.name, variables)
    namespace = provider.namespace
    if provider.everywhere and programs.namespace is not None:
        namespace = _text(programs.namespace, variables)
    if not name or _label(namespace) is None:
        return None
    named = _PREFIX + name
    entry = ConsumerEntry(Source(namespace, named, 0), type="User")
    return Consumer(key=f"{namespace}/{named}", entry=entry, namespace=namespace, roles=frozenset())


def _text(program: ValueProgram | None, variables: Mapping[str, Any]) -> str:
    for text in _texts(program, variables):
        if _fit(text):
            return text
    return ""


def _texts(program: ValueProgram | None, variables: Mapping[str, Any]) -> tuple[str, ...]:
    if program is None:
        return ()
    try:
        return program.evaluate(variables)
    except EvaluationError:
        return ()


def _fit(text: str) -> bool:
    return 0 < len(text) <= MAX_LENGTH and text.isprintable()
