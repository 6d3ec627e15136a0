"""The `x-ratelimit-*` and `retry-after` headers. Names as OpenAI's API reference, "Rate limits in headers"."""

import math

from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.errors import Failure
from tidegate_dataplane.ledger.demand import Excess, Measure, Standing, Standings

Headers = list[tuple[bytes, bytes]]


def failure_of(denial: Denial, *, excess: Excess | None = None, now: float = 0.0) -> Failure:
    """The denial as an answer, with the wait that would help."""
    headers: Headers = []
    if denial.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(denial.retry_after))))
    if excess is not None:
        standing = Standing(excess.limit, max(0, excess.limit - excess.used), excess.reset_at)
        requests = excess.demand.measure is Measure.REQUESTS
        headers += limit_headers(Standings(standing if requests else None, None if requests else standing), now)
    return Failure(
        denial.status, denial.code, denial.message, type=denial.type, param=denial.param, headers=tuple(headers)
    )


_NAMES = tuple(
    tuple(b"x-ratelimit-%b-%b" % (what, unit) for what in (b"limit", b"remaining", b"reset"))
    for unit in (b"requests", b"tokens")
)


def limit_headers(standings: Standings, now: float) -> Headers:
    """Where the tightest limits stand; a reset is the number of seconds until then, rounded up."""
    headers: Headers = []
    for (limit, remaining, reset), standing in zip(_NAMES, (standings.requests, standings.tokens), strict=True):
        if standing is not None:
            headers.append((limit, b"%d" % standing.limit))
            headers.append((remaining, b"%d" % standing.remaining))
            headers.append((reset, b"%ds" % max(0, math.ceil(standing.reset_at - now))))
    return headers
