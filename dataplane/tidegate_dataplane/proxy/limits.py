"""The `x-ratelimit-*` and `retry-after` headers of a refusal.

Names as in OpenAI's API reference, "Rate limits in headers". Answers that are served do not carry them: finding the
tightest limit and writing six headers would cost a twentieth of a request's time.
"""

import math

from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.errors import Failure
from tidegate_dataplane.ledger.demand import Excess
from tidegate_dataplane.snapshot.entries import Unit

# Costs are in micro-dollars, compute time in milliseconds.
_NAMES = {
    Unit.REQUESTS: b"requests",
    Unit.COST: b"cost",
    Unit.COMPUTE_SECONDS: b"compute",
    Unit.CONCURRENT: b"concurrent",
    Unit.EXPRESSION: b"units",
}
Headers = list[tuple[bytes, bytes]]


def failure_of(denial: Denial, *, excess: Excess | None = None, now: float = 0.0) -> Failure:
    """The denial as an answer, with the wait that would help and where the limit stands."""
    headers: Headers = []
    if denial.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(denial.retry_after))))
    if denial.challenge:
        headers.append((b"www-authenticate", denial.challenge.encode("ascii")))
    if excess is not None:
        headers += _standing(excess, now)
    return Failure(
        denial.status, denial.code, denial.message, type=denial.type, param=denial.param, headers=tuple(headers)
    )


def _standing(excess: Excess, now: float) -> Headers:
    """A reset is the number of seconds until then, rounded up."""
    unit = _NAMES.get(excess.demand.unit, b"tokens")
    return [
        (b"x-ratelimit-limit-" + unit, b"%d" % excess.limit),
        (b"x-ratelimit-remaining-" + unit, b"%d" % max(0, excess.limit - excess.used)),
        (b"x-ratelimit-reset-" + unit, b"%ds" % max(0, math.ceil(excess.reset_at - now))),
    ]
