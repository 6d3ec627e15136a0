"""`tidegate serve DIR`: operator and data plane in one process, from a folder of YAML, without a cluster."""

import argparse
import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from watchfiles import awatch

from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.reload import Outcome
from tidegate_dataplane.settings import Address, Settings
from tidegate_dataplane.store.flags import add_store_flags, read_store
from tidegate_dataplane.store.settings import StoreSettings
from tidegate_operator.cli.cluster_fact import ClusterFact, read_facts
from tidegate_operator.cli.sample_call import sample_call
from tidegate_operator.cli.serve_view import ServeView, shared_limits
from tidegate_operator.compile import CompileError
from tidegate_operator.embedded import EmbeddedOperator, Revision
from tidegate_operator.folder import Folder
from tidegate_operator.world import Facts

# Editors write a file in several steps; within this many milliseconds they are one edit.
_DEBOUNCE_MS = 100
_FIRST_LOOK_MS = 500


def serve(
    directory: Annotated[Path, typer.Argument(help="Folder of resources and Secrets.", exists=True)],
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where callers are answered.")] = "127.0.0.1:8080",
    admin_listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where metrics, status and explain are answered.")
    ] = "127.0.0.1:9090",
    watch: Annotated[bool, typer.Option(help="Reload when a file changes.")] = True,
    platform_namespace: Annotated[
        str, typer.Option(help="The namespace whose objects may attach to the whole gateway.")
    ] = "tidegate-system",
    cluster_fact: ClusterFact = None,
    audit_file: Annotated[str, typer.Option(help="Where audit lines go; - for this terminal. Default: nowhere.")] = "",
    store: Annotated[
        str, typer.Option(metavar="URL", help="Redis or Valkey that counts Exact and Leased limits. Default: none.")
    ] = "",
    journal: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keeps the use of Exact and Leased limits over restarts.")
    ] = None,
) -> None:
    """Run the gateway on this machine from a folder: no cluster, no Redis, no provider account needed."""
    if journal is not None and not store:
        raise typer.BadParameter("--journal is of no use without --store")
    try:
        settings = Settings(
            listen=Address.parse(listen),
            admin_listen=Address.parse(admin_listen),
            audit=audit_file,
            grace=5.0,
            store=_store(store),
            journal=journal,
        )
        plane = DataPlane(settings)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    facts = Facts(platform_namespace=platform_namespace, cluster=read_facts(cluster_fact))
    operator = EmbeddedOperator(Folder((directory,)), facts)
    serving = _Serve(operator, plane, ServeView(Console()), has_store=settings.store is not None)
    uvloop.run(serving.run(directory if watch else None))


def _store(url: str) -> StoreSettings | None:
    """The store at an address; a login and certificates are for `tidegate-dataplane`. Raises ValueError."""
    parser = argparse.ArgumentParser()
    add_store_flags(parser)
    return read_store(parser.parse_args([f"--store={url}"]))


class _Serve:
    def __init__(self, operator: EmbeddedOperator, plane: DataPlane, view: ServeView, *, has_store: bool) -> None:
        self._operator = operator
        self._plane = plane
        self._view = view
        self._has_store = has_store

    async def run(self, watched: Path | None) -> None:
        """Serve until the process is told to stop."""
        revision = await asyncio.to_thread(self._operator.refresh)
        self._view.loaded(revision)
        refused = await self._apply(revision)
        if refused:
            self._view.failed(f"the data plane refused the snapshot: {refused}")
        await self._plane.start()
        self._announce(revision)
        async with asyncio.TaskGroup() as tasks:
            follower = tasks.create_task(self._follow(watched)) if watched is not None else None
            await self._plane.wait_closed()
            if follower is not None:
                follower.cancel()

    async def _follow(self, watched: Path) -> None:
        looked = False
        async for changes in awatch(
            watched, debounce=_DEBOUNCE_MS, step=20, rust_timeout=_FIRST_LOOK_MS, yield_on_timeout=True
        ):
            # Once without a change: an edit made before the watch was in place has caused no event.
            if looked and not changes:
                continue
            looked = True
            try:
                revision = await asyncio.to_thread(self._operator.refresh)
            except (OSError, CompileError) as error:
                self._view.failed(f"{error}; what was in force stays")
                continue
            self._view.edited(revision, refused=await self._apply(revision))

    async def _apply(self, revision: Revision) -> str:
        """Hand a revision to the data plane; returns why it was refused, or nothing."""
        self._plane.set_credentials(revision.compiled.credentials)
        outcome = await self._plane.reloader.offer(revision.bundle, source="folder")
        last = self._plane.reloader.last_refusal
        return last.message if outcome is Outcome.REFUSED and last is not None else ""

    def _announce(self, revision: Revision) -> None:
        runtime = self._plane.reloader.runtime
        reading = revision.reading
        call = None
        if runtime is not None:
            served = revision.compiled.served
            call = sample_call(runtime, served, reading.world, reading.secret_manifests, time.time())
        self._view.listening(f"http://{self._plane.address}", f"http://{self._plane.admin_address}", call)
        if not self._has_store and (without := shared_limits(revision.compiled.served)):
            self._view.without_store(without)
