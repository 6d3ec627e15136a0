"""From a request's path to the base that routes name, and the operation that its end stands for.

The rules are strict, so that a proxy in front and this one can never read one path in two ways: no dot segments, no
empty segments, no encoded slashes, dots or controls. A path that breaks them belongs to no route.
"""

import re
from enum import Enum
from functools import lru_cache
from typing import Final, Literal

from tidegate_dataplane.snapshot.entries import Operation

MAX_PATH_LENGTH: Final = 512
_SEGMENT = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%(?![01][0-9A-Fa-f]|2[EeFf]|5[Cc]|7[Ff])[0-9A-Fa-f]{2})+"
_PATH = re.compile(rf"(?:/(?!\.{{1,2}}(?:/|\Z)){_SEGMENT})+", re.ASCII)
_SUFFIXES: Final = (
    ("/chat/completions", Operation.CHAT),
    ("/completions", Operation.COMPLETION),
    ("/responses", Operation.RESPONSES),
    ("/embeddings", Operation.EMBEDDINGS),
    ("/images/generations", Operation.IMAGE),
    ("/moderations", Operation.MODERATION),
    ("/fine_tuning/jobs", Operation.FINE_TUNE),
)
_OF_OPERATION: Final = {operation: suffix for suffix, operation in _SUFFIXES}
_MODELS: Final = "/models"


class Listing(Enum):
    """`GET /models` and `GET /models/{id}`: about models, not to one."""

    LISTING = "Listing"


LISTING: Final = Listing.LISTING


@lru_cache(maxsize=4096)
def parse_path(path: str) -> tuple[str, Operation | Literal[Listing.LISTING] | None]:
    """Base path and operation of a raw (not decoded) path without its query; the operation is None for no known path.

    The base of a path that is nothing but a suffix is "/".
    """
    if len(path) > MAX_PATH_LENGTH or _PATH.fullmatch(path) is None:
        return "", None
    for suffix, operation in _SUFFIXES:
        if path.endswith(suffix):
            return path[: -len(suffix)] or "/", operation
    if path.endswith(_MODELS):
        return path[: -len(_MODELS)] or "/", LISTING
    base, found, _ = path.partition(_MODELS + "/")
    return (base or "/", LISTING) if found else ("", None)


def path_of(base: str, operation: Operation) -> str:
    """The path under `base` that stands for an operation; raises KeyError for Models, which stands for none."""
    return base.rstrip("/") + _OF_OPERATION[operation]


def listed_model(path: str, base: str) -> str:
    """The model that a listing path names, still percent-encoded; "" when it asks for all."""
    start = len(base.rstrip("/")) + len(_MODELS)
    return path[start + 1 :]
