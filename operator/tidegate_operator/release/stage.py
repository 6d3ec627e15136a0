"""The state of a staged roll-out as it stands in the API: what is tried, on which data planes, what was stopped. Pure.

It stands in the ConfigMap that also holds the index that is tried, so that both are written at once, and an operator
that takes over finds both.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from tidegate_dataplane.snapshot.bundle import canary_config_map

STAGE_KEY = "rollout.json"


class Phase(StrEnum):
    """Whether something is tried. STOPPED: a content failed, and is not tried again."""

    IDLE = "Idle"
    RUNNING = "Running"
    STOPPED = "Stopped"


class Stage(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What stands in the ConfigMap. `planes` are the instances that take part, `digest` is of the content.

    `gate` and `message` say what failed, and `at` when, in seconds since the epoch.
    """

    phase: Phase = Phase.IDLE
    revision: int = 0
    digest: str = ""
    planes: tuple[str, ...] = ()
    gate: str = ""
    message: str = ""
    at: int = 0


NO_STAGE = Stage()


def canary_name(gateway: str) -> str:
    """Name of the ConfigMap."""
    return canary_config_map(gateway)


def read_stage(data: Mapping[str, str] | None) -> Stage:
    """Read it back; what cannot be read counts as absent."""
    try:
        return msgspec.json.decode((data or {}).get(STAGE_KEY, "").encode(), type=Stage)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return NO_STAGE


def encode_stage(stage: Stage) -> str:
    """Canonical JSON."""
    return msgspec.json.encode(stage, order="deterministic").decode()
