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


def limit_headers(standings: Standings, now: float) -> Headers:
    """Where the tightest limits stand."""
    headers: Headers = []
    if standings.requests is not None:
        headers += _three(b"requests", standings.requests, now)
    if standings.tokens is not None:
        headers += _three(b"tokens", standings.tokens, now)
    return headers


def _three(unit: bytes, standing: Standing, now: float) -> Headers:
    return [
        (b"x-ratelimit-limit-" + unit, b"%d" % standing.limit),
        (b"x-ratelimit-remaining-" + unit, b"%d" % standing.remaining),
        (b"x-ratelimit-reset-" + unit, b"%ds" % max(0, math.ceil(standing.reset_at - now))),
    ]
