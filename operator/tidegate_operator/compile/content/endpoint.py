"""URLs of services that a data plane calls."""

import re
from urllib.parse import urlsplit

from tidegate_operator.compile.problems import Problems

_HOST = re.compile(r"[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?)*\.?")


def check_url(url: str, field: str, problems: Problems) -> None:
    """Note what keeps a data plane from calling `url`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        problems.add(field, "must have a port between 1 and 65535 and a well-formed host")
        return
    if not host or not (":" in host or _HOST.fullmatch(host)):
        problems.add(field, "must name a host, such as https://api.openai.com/v1")
    if port == 0 or parts.netloc.endswith(":"):
        problems.add(field, "must have a port between 1 and 65535, or none")
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        problems.add(field, "must not have '.' or '..' in its path")
