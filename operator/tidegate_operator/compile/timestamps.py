"""Times as the API writes them: RFC 3339 with an offset."""

import re
from datetime import UTC, datetime

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def parse_timestamp(text: str) -> int:
    """Whole seconds since the epoch (UTC, a fraction is cut off); raises ValueError.

    A leap second (`:60`) is refused, as Go's time package and therefore the API server refuse it.
    """
    if not _RFC3339.fullmatch(text):
        raise ValueError("a time is RFC 3339 with an offset, such as 2027-01-31T00:00:00Z")
    whole = re.sub(r"\.[0-9]+", "", text.upper()).replace("Z", "+00:00")
    try:
        return int(datetime.fromisoformat(whole).timestamp())
    except (ValueError, OverflowError) as error:
        raise ValueError("this date or time of day does not exist: write RFC 3339, such as 2027-01-31T00:00:00Z") from (
            error
        )


def format_timestamp(seconds: int) -> str:
    """RFC 3339 in UTC of whole seconds since the epoch, as the API server writes times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
