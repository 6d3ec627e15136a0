"""Which data planes run which revision: asks each for `/-/status` and keeps the newest answer.

A long poll: a data plane answers as soon as it runs, or refuses, the revision that was asked for.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from tidegate_operator.conditions import PlaneReport

_log = logging.getLogger(__name__)

POLL_SECONDS = 10
# While a data plane is behind, a refusal that names no revision is noticed only between two polls.
POLL_SECONDS_BEHIND = 2
RETRY_SECONDS = 1.0
# How long an operator that has just started waits for what data planes run already.
FIRST_ANSWERS_SECONDS = 2.0
MIN_INTERVAL = 0.05
ADMIN_PORT_NAME = "admin"
_TIMEOUT = aiohttp.ClientTimeout(total=POLL_SECONDS + 10, sock_connect=2)


class _Refusal(msgspec.Struct):
    reason: str = ""
    message: str = ""
    revision: int | None = None


class _Status(msgspec.Struct, rename="camel"):
    revision: int
    ready: bool
    last_refusal: _Refusal | None = None
    instance: str = ""


class _Endpoint(msgspec.Struct):
    addresses: list[str] = []
    conditions: dict[str, bool | None] | None = None


class _Port(msgspec.Struct):
    name: str | None = None
    port: int | None = None


class EndpointSlice(msgspec.Struct):
    """discovery.k8s.io/v1 EndpointSlice, as far as it is read."""

    metadata: dict[str, Any]
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None

    def urls(self) -> set[str]:
        """Admin addresses of the endpoints that are ready (the API says that absent means ready)."""
        port = next((item.port for item in self.ports or () if item.name == ADMIN_PORT_NAME), None)
        if port is None:
            return set()
        return {
            f"http://{f'[{address}]' if ':' in address else address}:{port}"
            for endpoint in self.endpoints or ()
            if (endpoint.conditions or {}).get("ready") is not False
            for address in endpoint.addresses
        }


class Planes:
    """The data planes of this cluster. `on_change` is called when any of them reports something new."""

    def __init__(self, urls: Iterable[str], *, target: Callable[[], int], on_change: Callable[[], None]) -> None:
        """`target` tells the revision that they should run."""
        self._fixed = frozenset(url.rstrip("/") for url in urls)
        self._slices: dict[str, set[str]] = {}
        self._target = target
        self._on_change = on_change
        self._reports: dict[str, PlaneReport] = {}
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._heard: dict[str, asyncio.Event] = {}

    def reports(self) -> tuple[PlaneReport, ...]:
        """What each that answers said last, sorted by name."""
        return tuple(self._reports[url] for url in sorted(self._reports))

    @property
    def urls(self) -> tuple[str, ...]:
        """The admin ports of those that answered last time."""
        return tuple(sorted(self._reports))

    @property
    def silent(self) -> int:
        """How many should answer and do not."""
        return len(self._polls) - len(self._reports)

    @property
    def highest_revision(self) -> int:
        """The highest revision that any of them runs; 0 when none answers."""
        return max((report.revision for report in self._reports.values()), default=0)

    async def start(self) -> None:
        """Begin to ask."""
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        self._adjust()

    async def stop(self) -> None:
        """Stop asking."""
        for task in self._polls.values():
            task.cancel()
        await asyncio.gather(*self._polls.values(), return_exceptions=True)
        self._polls.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def first_answers(self, at_the_latest: float) -> None:
        """Wait until each has answered, or failed to, once; at most `at_the_latest` seconds."""
        try:
            async with asyncio.timeout(at_the_latest):
                for event in list(self._heard.values()):
                    await event.wait()
        except TimeoutError:
            return

    def set_slices(self, items: Iterable[EndpointSlice]) -> None:
        """Take a complete list of them."""
        self._slices = {str(item.metadata["name"]): item.urls() for item in items}
        self._adjust()

    def see_slice(self, item: EndpointSlice) -> None:
        """Take an EndpointSlice of the data planes' Service."""
        self._slices[str(item.metadata["name"])] = item.urls()
        self._adjust()

    def forget_slice(self, name: str) -> None:
        """Take the deletion of one."""
        self._slices.pop(name, None)
        self._adjust()

    def _adjust(self) -> None:
        if self._session is None:
            return
        wanted = self._fixed.union(*self._slices.values())
        for url in self._polls.keys() - wanted:
            self._polls.pop(url).cancel()
            self._heard.pop(url).set()
            if self._reports.pop(url, None) is not None:
                self._on_change()
        for url in wanted - self._polls.keys():
            self._heard[url] = asyncio.Event()
            self._polls[url] = asyncio.create_task(self._poll(url, self._session), name=f"data plane {url}")

    async def _poll(self, url: str, session: aiohttp.ClientSession) -> None:
        wanted = 0
        while True:
            started = asyncio.get_running_loop().time()
            try:
                status = await self._ask(url, session, wanted)
            except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
                self._lost(url, error)
                wanted = 0
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._take(url, status)
            refused = status.last_refusal is not None and status.last_refusal.revision == wanted
            wanted = wanted + 1 if refused and wanted > status.revision else status.revision + 1
            elapsed = asyncio.get_running_loop().time() - started
            await asyncio.sleep(max(0.0, MIN_INTERVAL - elapsed))

    async def _ask(self, url: str, session: aiohttp.ClientSession, wanted: int) -> _Status:
        report = self._reports.get(url)
        behind = report is not None and report.revision < self._target()
        query = {"waitRevision": str(wanted), "timeoutSeconds": str(POLL_SECONDS_BEHIND if behind else POLL_SECONDS)}
        async with session.get(f"{url}/-/status", params=query if wanted else None) as response:
            response.raise_for_status()
            return msgspec.json.decode(await response.read(), type=_Status)

    def _take(self, url: str, status: _Status) -> None:
        refusal = status.last_refusal
        # A refusal of what it has meanwhile taken is history.
        current = refusal is not None and (refusal.revision is None or refusal.revision > status.revision)
        report = PlaneReport(
            name=urlsplit(url).netloc,
            ready=status.ready,
            revision=status.revision,
            refusal=f"{refusal.reason}: {refusal.message}" if refusal is not None and current else "",
            instance=status.instance,
        )
        self._heard[url].set()
        if self._reports.get(url) != report:
            self._reports[url] = report
            self._on_change()

    def _lost(self, url: str, error: Exception) -> None:
        self._heard[url].set()
        if self._reports.pop(url, None) is not None:
            _log.warning("data plane %s does not answer any more: %s", url, error or type(error).__name__)
            self._on_change()
