"""Runs Kopf in a thread with an event loop of its own, and starts it again when it ends.

Kopf cancels every task of its loop when it stops, and a burst of thousands of events keeps its loop busy for seconds;
neither may touch publishing. Two Kopf operators run in that loop: one watches the whole cluster (Tidegate's kinds,
Secrets, and ConfigMaps that are labelled as lists), one the operator's own namespace (its outputs among them).
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import kopf

from tidegate_operator.handlers import CLUSTER_RESOURCES, Event, own_resources, registry_for, settings_for
from tidegate_operator.kube import load_configuration, watch_session
from tidegate_operator.outputs import Gateway

_log = logging.getLogger(__name__)

RESTART_SECONDS = (0.5, 1, 2, 5, 10, 30)
STOP_SECONDS = 3.0
# Watches that ran for so long are worth starting again without delay.
HEALTHY_SECONDS = 60.0
# Reading the kubeconfig again at every 401 must not become a busy loop.
LOGIN_INTERVAL_SECONDS = 1.0


class Streams:
    """The lists and watches of everything that the operator looks at.

    `on_event` is called in the loop that `start` was called in, for each event. `on_relist` is called there with a
    collection's path when Kopf has listed it anew and its watch has begun: deletions that happened before that list
    were never reported, so somebody must look for them.
    """

    def __init__(
        self,
        *,
        kubeconfig: Path | None,
        gateway: Gateway,
        service: str | None,
        on_event: Callable[[Event], None],
        on_relist: Callable[[str], None],
    ) -> None:
        self._kubeconfig = kubeconfig
        self._gateway = gateway
        self._service = service
        self._on_event = on_event
        self._on_relist = on_relist
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="kopf", daemon=True)
        self._home: asyncio.AbstractEventLoop | None = None
        self._kopf_loop: asyncio.AbstractEventLoop | None = None
        self._stop_flag: asyncio.Event | None = None
        self._listed: set[str] = set()

    def start(self) -> None:
        """Begin to watch."""
        self._home = asyncio.get_running_loop()
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    async def stop(self) -> None:
        """Stop watching; gives up waiting after a few seconds."""
        self._stopping.set()
        loop, flag = self._kopf_loop, self._stop_flag
        if loop is not None and flag is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(flag.set)
            except RuntimeError:
                _log.debug("the watches ended by themselves")
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, STOP_SECONDS)

    def _supervise(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                with asyncio.Runner() as runner:
                    runner.run(self._operate())
            except Exception as error:  # noqa: BLE001 - whatever ended Kopf, the operator cannot work without watches
                _log.warning("the watches ended and will be started again: %s", error or type(error).__name__)
            except asyncio.CancelledError:
                _log.warning("the watches were cancelled and will be started again")
            self._stopping.wait(RESTART_SECONDS[min(failures, len(RESTART_SECONDS) - 1)])
            failures = failures + 1 if time.monotonic() - started < HEALTHY_SECONDS else 0

    async def _operate(self) -> None:
        self._kopf_loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._stop_flag = stop
        if self._stopping.is_set():
            return
        cluster = kopf.operator(
            registry=registry_for(CLUSTER_RESOURCES, self._deliver, self._login()),
            settings=settings_for(self._gateway),
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
        )
        own = kopf.operator(
            registry=registry_for(
                own_resources(discover=self._service is not None), self._deliver, self._login(), own=True
            ),
            settings=settings_for(self._gateway, own=True, service=self._service),
            namespaces=[self._gateway.namespace],
            standalone=True,
            stop_flag=stop,
        )
        tasks = {asyncio.create_task(cluster, name="cluster"), asyncio.create_task(own, name="own namespace")}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
        await asyncio.wait(tasks, timeout=STOP_SECONDS)
        for task in done:
            task.result()

    def _login(self) -> Any:
        """Kopf's login handler: called at the start, and again whenever the API server takes its token no more."""
        last = float("-inf")

        async def login(**_: Any) -> kopf.AiohttpSession:
            nonlocal last
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, last + LOGIN_INTERVAL_SECONDS - loop.time()))
            last = loop.time()
            configuration = await load_configuration(self._kubeconfig)
            trace = aiohttp.TraceConfig()
            trace.on_request_end.append(self._observe)
            return kopf.AiohttpSession(
                server=configuration.host,
                aiohttp_session=await watch_session(configuration, trace),
                default_namespace=self._gateway.namespace,
            )

        return login

    async def _observe(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        """Sees each request of Kopf once its answer has begun: of a list, of a watch."""
        path = params.url.path
        if params.method != "GET" or params.response.status != 200:
            return
        if params.url.query.get("watch") != "true":
            self._listed.add(path)
        elif path in self._listed:
            self._listed.discard(path)
            self._call_home(self._on_relist, path)

    def _deliver(self, event: Event) -> None:
        self._call_home(self._on_event, event)

    def _call_home(self, function: Callable[[Any], None], argument: Any) -> None:
        if self._home is not None and not self._home.is_closed():
            try:
                self._home.call_soon_threadsafe(function, argument)
            except RuntimeError:
                # The operator is ending.
                self._stopping.set()
