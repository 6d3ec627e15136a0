"""What stands in a line of the audit log: a request, or what befell the log itself.

Held to docs/reference/audit.md by a test: a field that is added here is described there.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from tidegate_dataplane.engine.decision import Risk
from tidegate_dataplane.runtime.objects import RuleRef
from tidegate_dataplane.snapshot.entries import Operation

# What a caller wrote freely is cut to so many characters: a line stays short, and so does what waits in memory.
MAX_PATH: Final = 1024
MAX_HOST: Final = 255


class AuditTokens(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """`source` is Reported (by the provider), Counted or Estimated. The others are parts of `input` and `output`."""

    input: int
    output: int
    source: str
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    input_audio: int = 0
    output_audio: int = 0
    input_image: int = 0
    output_image: int = 0
    images: int = 0
    service: str = ""


class AuditTarget(Struct, frozen=True, gc=False):
    """Where the request went last."""

    backend: str
    model: str


class AuditRecord(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """One request. `time` is the arrival (UTC), latencies are milliseconds, `key` is a key's name.

    `version` is that of the target's model, as its backend declares it. `cost` and `overage` are micro-dollars.
    `credentials` names everything that proved the caller, `why` is the step that refused, in the words of `explain`.
    """

    time: datetime
    request_id: str
    outcome: str
    status: int
    gateway: str
    revision: int
    latency_ms: float
    bytes_in: int
    bytes_out: int
    code: str = ""
    consumer: str = ""
    team: str = ""
    tier: str = ""
    key: str = ""
    credentials: tuple[str, ...] = ()
    address: str = ""
    host: str = ""
    path: str = ""
    route: str = ""
    target: AuditTarget | None = None
    operation: Operation | None = None
    model: str = ""
    version: str = ""
    method: str = ""
    subscription: str = ""
    plan: str = ""
    rule: RuleRef | None = None
    why: str = ""
    risk: Risk | None = None
    shadow: tuple[RuleRef, ...] = ()
    tokens: AuditTokens | None = None
    cost: int | None = None
    price_source: str = ""
    price_table: str = ""
    overage: int = 0
    decision_ms: float = 0.0
    upstream_ms: float = 0.0
    attempts: int = 0
    streamed: bool = False


class Event(StrEnum):
    """What befell the log itself. A line of a request has no event."""

    OPENED = "Opened"
    RESUMED = "Resumed"
    LOST = "Lost"
    ROTATED = "Rotated"
    STOPPED = "Stopped"


class Torn(Struct, frozen=True, gc=False):
    """The beginning of a line that a killed process left behind: how many bytes, and their SHA-256 in hex."""

    bytes: int
    sha256: str


class Writer(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """The process that writes: a random id, its gateway and host (in Kubernetes the pod), and when it began."""

    id: str
    gateway: str
    host: str
    process: int
    started: datetime


class Beginning(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """First line of a file (Opened), or of a process that goes on in one (Resumed).

    `prev` is the chain value of the line before, in this file or in the one before it; zeros when there is none.
    `log` is the same in all files of a log, and `file` counts them from 1. `hash` is SHA-256 or HMAC-SHA-256, then
    `key_id` says with which key, without telling anything of it.
    """

    event: Event
    time: datetime
    log: str
    file: int
    prev: str
    writer: Writer
    hash: str
    key_id: str = ""
    torn: Torn | None = None


class Note(Struct, frozen=True, gc=False, omit_defaults=True):
    """Any other event; `records` says how many were lost."""

    event: Event
    time: datetime
    records: int = 0
