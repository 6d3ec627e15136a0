"""The data of a Secret or ConfigMap, decoded as the API server would. Values never enter a message."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

from tidegate_operator.field_path import FieldPath

# As k8s.io/kubernetes/pkg/apis/core: MaxSecretSize, for ConfigMaps too.
MAX_DATA_BYTES = 1024 * 1024


class SecretProblem(NamedTuple):
    """What is wrong with one entry."""

    path: FieldPath
    message: str
    expected: str


def secret_data(raw: Mapping[str, Any]) -> tuple[Mapping[str, bytes], tuple[SecretProblem, ...]]:
    """The readable entries of `data` and `stringData` (which wins), and what is wrong with the others."""
    problems: list[SecretProblem] = []
    decoded: dict[str, bytes] = {}
    for name, value in _entries(raw, "data", problems).items():
        content = _decoded(value)
        if content is None:
            problems.append(SecretProblem(("data", name), "not base64", "write plain text under stringData instead"))
        else:
            decoded[name] = content
    for name, value in _entries(raw, "stringData", problems).items():
        decoded[name] = value.encode()
    return decoded, tuple(problems)


def config_map_data(raw: Mapping[str, Any]) -> tuple[Mapping[str, bytes], tuple[SecretProblem, ...]]:
    """The readable entries of `data` and `binaryData`, and what is wrong with the others, or with their size."""
    problems: list[SecretProblem] = []
    decoded = {name: value.encode("utf-8", "surrogatepass") for name, value in _entries(raw, "data", problems).items()}
    for name, value in _entries(raw, "binaryData", problems).items():
        content = _decoded(value)
        if content is None:
            problems.append(SecretProblem(("binaryData", name), "not base64", "write plain text under data instead"))
        else:
            decoded[name] = content
    size = sum(map(len, decoded.values()))
    if size > MAX_DATA_BYTES:
        hint = f"a ConfigMap holds at most {MAX_DATA_BYTES} bytes; compress the values with gzip, or use several"
        problems.append(SecretProblem(("data",), f"too large: {size} bytes", hint))
    return decoded, tuple(problems)


def _entries(raw: Mapping[str, Any], part: str, problems: list[SecretProblem]) -> Mapping[str, str]:
    entries: Any = raw.get(part)
    if entries is None:
        return {}
    if not isinstance(entries, dict):
        problems.append(SecretProblem((part,), "wrong type", "must be a map of names and text"))
        return {}
    texts: dict[str, str] = {}
    for name, value in entries.items():
        if isinstance(value, str):
            texts[name] = value
        elif value is None:
            texts[name] = ""
        else:
            problems.append(SecretProblem((part, name), "wrong type", "must be text; put it in quotes"))
    return texts


def _decoded(value: str) -> bytes | None:
    """Standard base64 with padding; line breaks are skipped, as in Go's encoding/base64."""
    try:
        return base64.b64decode(value.replace("\n", "").replace("\r", "").encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
