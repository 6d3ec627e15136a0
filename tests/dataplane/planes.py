"""A whole data plane on loopback, inside the test's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.reload import Outcome
from tidegate_dataplane.settings import Address, AuditOptions, Limits, Settings
from tidegate_dataplane.snapshot.bundle import Bundle

ANY = Address("127.0.0.1", 0)


@asynccontextmanager
async def running(
    bundle: Bundle | None = None,
    *,
    credentials: Mapping[str, bytes] | None = None,
    limits: Limits | None = None,
    audit: Path | None = None,
    audit_options: AuditOptions | None = None,
    grace: float = 5.0,
    drain_delay: float = 0.0,
    snapshot_dir: Path | None = None,
    **more: Any,
) -> AsyncIterator[DataPlane]:
    """Start one on free ports with `bundle` loaded and `more` settings; stop it in order at the end."""
    plane = DataPlane(
        Settings(
            listen=ANY,
            admin_listen=ANY,
            limits=limits or Limits(),
            audit="" if audit is None else str(audit),
            audit_options=audit_options or AuditOptions(),
            grace=grace,
            drain_delay=drain_delay,
            snapshot_dir=snapshot_dir,
            **more,
        )
    )
    plane.set_credentials(credentials or {})
    if bundle is not None:
        assert await plane.reloader.offer(bundle) is Outcome.LOADED, plane.reloader.last_refusal
    await plane.start()
    try:
        yield plane
    finally:
        await plane.stop()


def url(plane: DataPlane) -> str:
    return f"http://{plane.address}"
