"""The API keys that a request presents, in any of the headers in which clients of OpenAI and Azure OpenAI put them."""

from collections.abc import Mapping

_KEY_HEADERS = ("api-key", "x-api-key")


def presented_keys(headers: Mapping[str, str]) -> tuple[str, ...]:
    """All of them; a scheme other than Bearer is no API key."""
    authorization = headers.get("authorization", "")
    keys = []
    if authorization[:7].lower() == "bearer " and (key := authorization[7:].strip()):
        keys.append(key)
    for name in _KEY_HEADERS:
        if name in headers and (key := headers[name].strip()):
            keys.append(key)
    return tuple(keys)
