"""What a source says of itself in `/-/status`."""

import time
from enum import StrEnum


class Health(StrEnum):
    """Whether a source delivers."""

    STARTING = "Starting"
    FOLLOWING = "Following"
    WAITING = "Waiting"
    FAILING = "Failing"


class SourceState:
    """The state of one source; `since` (epoch seconds) moves only when `health` changes. Never holds a secret."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.health = Health.STARTING
        self.message = ""
        self.since = time.time()

    def set(self, health: Health, message: str = "") -> None:
        if health is not self.health:
            self.health = health
            self.since = time.time()
        self.message = message
