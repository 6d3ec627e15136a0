"""Keeps a source of snapshots or credentials going, whatever happens to it."""

import asyncio
import logging

from tidegate_dataplane.source.backoff import Backoff
from tidegate_dataplane.source.files import PolledSource
from tidegate_dataplane.source.kubernetes import KubernetesSource
from tidegate_dataplane.source.state import Health

Source = KubernetesSource | PolledSource

_log = logging.getLogger(__name__)

# How long a source that failed waits before it begins anew: at first, and at the longest.
_RESTART_SECONDS = (0.2, 10.0)


async def follow(source: Source) -> None:
    """A source follows for ever; one that ends has a defect, of which log and status tell, and begins anew."""
    backoff = Backoff(*_RESTART_SECONDS)
    while True:
        try:
            await source.run()
            _log.error("source %s ended and begins anew", type(source).__name__)
        except Exception as error:  # noqa: BLE001 - whatever the defect, it must go on
            _log.exception("source %s failed and begins anew", type(source).__name__)
            for state in source.states:
                state.set(Health.FAILING, f"failed with {type(error).__name__} and begins anew, see the log")
        await asyncio.sleep(backoff.wait())
