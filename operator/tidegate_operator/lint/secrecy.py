"""Keys and tokens where everyone who reads Git can see them. No message repeats what it found."""

import re
from collections.abc import Iterator
from typing import Any

from tidegate_dataplane.apikey import PATTERN
from tidegate_operator.field_path import FieldPath, field_text
from tidegate_operator.lint.codes import Code
from tidegate_operator.lint.finding import Finding, View

# Forms that providers publish for secret scanners; a JWT is RFC 7519's three parts, a private key RFC 7468's label. The
# admission policies know the same ones (tidegate_crds/admission/cel.py); a test holds them together.
_FORMS = (
    ("an API key of Tidegate", PATTERN),
    ("an API key of OpenAI or Anthropic", r"\bsk-[A-Za-z0-9_-]{20,}"),
    ("an access key of AWS", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("an API key of Google", r"\bAIza[0-9A-Za-z_-]{35}"),
    ("a token of GitHub", r"\bgh[pousr]_[A-Za-z0-9]{36}"),
    ("a token of GitLab", r"\bglpat-[A-Za-z0-9_-]{20}"),
    ("a token of Slack", r"\bxox[abpr]-[A-Za-z0-9-]{10,}"),
    ("a token", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."),
    ("a private key", r"PRIVATE KEY-----"),
)
_COMPILED = tuple((what, re.compile(form, re.ASCII)) for what, form in _FORMS)
_MOST_TEXT = 65_536


def secrecy(view: View) -> Iterator[Finding]:
    """All specs, also of objects that are not valid."""
    for key, resource in sorted(view.world.resources.items()):
        for path, text in _texts(resource.spec, ("spec",)):
            what = next((what for what, form in _COMPILED if form.search(text[:_MOST_TEXT])), None)
            if what is not None:
                yield Finding(Code.CREDENTIAL_IN_SPEC, key, field_text(path), f"it holds what looks like {what}")


def _texts(value: Any, path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
