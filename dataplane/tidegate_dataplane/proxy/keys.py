"""The API keys and tokens that a request presents, in any of the headers in which clients of OpenAI and Azure OpenAI
put them."""

from collections.abc import Mapping
from typing import Final, NamedTuple

_KEY_HEADERS: Final = ("api-key", "x-api-key")


class Presented(NamedTuple):
    """`bearer` is from `authorization` ("" when there is none): a key or a token. `keys` are from the other headers."""

    bearer: str
    keys: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Everything that may be a key."""
        return (self.bearer, *self.keys) if self.bearer else self.keys


def presented_keys(headers: Mapping[str, str]) -> Presented:
    """All of them; a scheme other than Bearer is neither key nor token."""
    authorization = headers.get("authorization", "")
    bearer = authorization[7:].strip() if authorization[:7].lower() == "bearer " else ""
    if "api-key" not in headers and "x-api-key" not in headers:
        return Presented(bearer, ())
    return Presented(bearer, tuple(key for name in _KEY_HEADERS if name in headers and (key := headers[name].strip())))
