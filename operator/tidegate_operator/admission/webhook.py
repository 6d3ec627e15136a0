"""The webhook as a part of the operator: what it is told at the start, and the task that it runs in."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from prometheus_client import CollectorRegistry

from tidegate_dataplane.settings import Address
from tidegate_operator.admission.certificates import Lives
from tidegate_operator.admission.findings import DEFAULT_DENIED, Topic
from tidegate_operator.admission.keeper import Keeper, Place
from tidegate_operator.admission.review import Reviewer
from tidegate_operator.admission.server import AdmissionServer
from tidegate_operator.kube import Api
from tidegate_operator.world import Facts, World

_log = logging.getLogger(__name__)
_EVERYWHERE = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - only compared


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """How the webhook is served. `service` is the Service by which API servers come, "" for none."""

    listen: Address
    service: str = ""
    secret: str = "tidegate-webhook"  # noqa: S105 - the name of a Secret
    configuration: str = "tidegate-webhook"
    denied: frozenset[Topic] = DEFAULT_DENIED
    lives: Lives = field(default_factory=Lives)

    def names(self, namespace: str) -> tuple[str, ...]:
        """What the certificate is for: how an API server calls a Service, and an address that is listened on."""
        service = (f"{self.service}.{namespace}.svc",) if self.service else ()
        host = self.listen.host
        return (*service, *((host.strip("[]"),) if host not in _EVERYWHERE else ()))


def lives_of(serving: timedelta) -> Lives:
    """The lives of all that go with a serving certificate's."""
    return Lives(
        authority=12 * serving,
        serving=serving,
        overlap=min(timedelta(hours=1), serving / 24),
        backdate=min(timedelta(minutes=5), serving / 4),
    )


class Webhook:
    """Serves reviews until cancelled. `filled` is set once everything was listed."""

    def __init__(
        self,
        options: WebhookOptions,
        api: Api,
        namespace: str,
        facts: Facts,
        *,
        world: Callable[[], World],
        filled: asyncio.Event,
        registry: CollectorRegistry,
    ) -> None:
        self._options = options
        self._filled = filled
        self._world = world
        place = Place(namespace, options.secret, options.configuration, options.names(namespace))
        self._keeper = Keeper(api, place, lives=options.lives)
        self._server = AdmissionServer(
            world=lambda: world() if filled.is_set() else None,
            reviewer=Reviewer(facts),
            keeper=self._keeper,
            registry=registry,
            denied=options.denied,
        )

    async def run(self) -> None:
        """Until cancelled; raises OSError when the port is taken."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keeper.run())
                await self._keeper.ready.wait()
                await self._server.start(*self._options.listen)
                _log.info("the admission webhook listens on %s:%d", *self._options.listen)
                await self._filled.wait()
                await self._server.warm(self._world())
        finally:
            await self._server.stop()
