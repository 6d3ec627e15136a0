"""One alert: a threshold of one counter that was crossed in one window. What webhooks, lists and Events tell of it."""

from hashlib import blake2b
from typing import Final

from msgspec import Struct

from tidegate_dataplane.alerts.rule import AlertRule

_SEPARATOR: Final = "\x1f"
# A scope's value may be what an expression made of a caller's header.
_MAX_SCOPE: Final = 256


class Alert(Struct, frozen=True, rename="camel", gc=False):
    """The body of a webhook. Times are whole seconds since the epoch; `used` and `amount` are in units of the limit
    (money in micro-dollars, computing time in milliseconds).

    `id` is the same for the same crossing on every data plane and at each attempt to tell of it: whoever receives it
    twice takes it once. `scope` is whose counter it is, "" where there is only one. Of a counter that is not shared,
    `used` is what one data plane of `cluster` has counted.
    """

    id: str
    gateway: str
    cluster: str
    quota: str
    limit: str
    unit: str
    scope: str
    threshold: int
    used: int
    amount: int
    window_start: int
    window_end: int
    at: int

    def __str__(self) -> str:
        """E.g. `Quota team-a/monthly: 80 % of Tokens per Month used by team-a/search (8012 of 10000)`."""
        who = f" by {self.scope}" if self.scope else ""
        return f"Quota {self.quota}: {self.threshold} % of {self.limit} used{who} ({self.used} of {self.amount})"


def alert_id(rule: AlertRule, scope: str, window_start: int, percent: int, *, gateway: str, cluster: str) -> str:
    """32 hex digits. Which cluster it is matters only where clusters count by themselves."""
    where = "" if rule.shared else cluster
    named = _SEPARATOR.join((gateway, where, rule.counter, scope, str(window_start), str(percent)))
    return blake2b(named.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def shown_scope(scope: str) -> str:
    """A scope's value as it may stand in a line of text: printable, and not too long."""
    text = "".join(character if character.isprintable() else "�" for character in scope[:_MAX_SCOPE])
    return text if len(scope) <= _MAX_SCOPE else f"{text}…"
