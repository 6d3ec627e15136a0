"""Backends: their credential becomes a name in the snapshot and a value in the credentials Secret."""

import msgspec

from tidegate_operator.compile.forms import Forms
from tidegate_operator.compile.lowered import Lowered
from tidegate_operator.compile.memo import Memo
from tidegate_operator.compile.secret_values import Secrets, credential_name, resolve_credential


def lower_backends(forms: Forms, secrets: Secrets, memo: Memo, out: Lowered) -> None:
    """Put every backend in force.

    A backend whose Secret is missing keeps the name of its credential, so that a data plane knows that one is needed.
    """
    for key, content in forms.backends.items():
        entry = content
        if content.secret is not None:
            name = credential_name(key.namespace, key.name)
            value, findings = resolve_credential(content, secrets)
            if value is not None:
                out.credentials[name] = value
            if findings:
                out.unresolved[key] = findings
            entry = msgspec.structs.replace(content, credential=name)
        known = memo.entries.get(key)
        out.entries[key] = known if known is not None and known == entry else entry
