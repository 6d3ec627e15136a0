"""A whole Tidegate on an API server: one operator and some data planes as processes, which tests kill and start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cluster.harness.apiserver import ApiServer
from cluster.harness.callers import Reply, ask, status_of
from cluster.harness.conditions import condition, wait_for_condition
from cluster.harness.gateway import DATA_PLANE_ACCOUNT, DataPlane, start_data_plane, start_operator
from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.objects import Manifest, path_of
from cluster.harness.processes import ChildProcess, DeadlineExceeded, free_port, stop_all, wait_until
from cluster.harness.published import Published, read_published

DATA_PLANES = 2
_DEADLINE = 20.0
# After a first start the statuses of thousands of objects take the API server half a minute; publishing does not wait.
_STATUS_DEADLINE = 90.0


class System:
    """Runs while it is entered as a context manager. Data planes keep their ports over restarts."""

    def __init__(
        self,
        server: ApiServer,
        directory: Path,
        *,
        data_planes: int = DATA_PLANES,
        more: Sequence[str] = (),
        operator_more: Sequence[str] = (),
    ) -> None:
        """`more` are further flags of each data plane, `operator_more` of the operator. Nothing runs before it is
        entered."""
        self.server = server
        self.admin = server.admin
        self.directory = directory
        self._more = more
        self._operator_more = operator_more
        self._ports = [(free_port(), free_port()) for _ in range(data_planes)]
        self._kubeconfig = server.kubeconfig_for_serviceaccount(SYSTEM_NAMESPACE, DATA_PLANE_ACCOUNT)
        self._operator: ChildProcess | None = None
        self.planes: list[DataPlane] = []

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is None:
            assert self.complaints() == []

    @property
    def operator(self) -> ChildProcess:
        assert self._operator is not None
        return self._operator

    @property
    def processes(self) -> list[ChildProcess]:
        return [plane.process for plane in self.planes] + ([self._operator] if self._operator else [])

    def start(self) -> None:
        """Start everything; see `wait_ready`."""
        self.planes = [self.start_plane(number) for number in range(len(self._ports))]
        self.start_operator()

    def stop(self) -> None:
        """Ask everything to end, wait for it."""
        stop_all(self.processes, grace=5.0)

    def complaints(self) -> list[str]:
        """Lines of any log that tell of a defect: an exception that nobody expected."""
        return [
            f"{log.name}: {line}"
            for log in sorted(self.directory.glob("*.log"))
            for line in log.read_text(errors="replace").splitlines()
            if "Traceback" in line or "Exception in ASGI" in line or "never retrieved" in line
        ]

    def kill(self) -> None:
        """SIGKILL to everything but the API server."""
        for process in self.processes:
            process.kill9()

    def start_operator(self, *, more: Sequence[str] = ()) -> ChildProcess:
        """Start the operator (again), with these flags in addition; its log goes on in the same file."""
        urls = [f"http://127.0.0.1:{admin}" for _, admin in self._ports]
        # A container that restarts keeps its Pod's name, so it need not wait for its own Lease to run out.
        more = ["--identity", "the-operator", *self._operator_more, *more]
        self._operator = start_operator(self.server, data_plane_urls=urls, directory=self.directory, more=more)
        return self._operator

    def start_plane(self, number: int, *, more: Sequence[str] = ()) -> DataPlane:
        """Start data plane `number` (again), with these flags in addition."""
        port, admin_port = self._ports[number]
        name = f"dataplane-{number + 1}"
        audit = ["--audit-file", str(self.directory / f"{name}.audit")]
        plane = start_data_plane(
            self.server,
            directory=self.directory,
            name=name,
            port=port,
            admin_port=admin_port,
            kubeconfig=self._kubeconfig,
            more=["--drain-delay", "0s", *audit, *self._more, *more],
        )
        if number < len(self.planes):
            self.planes[number] = plane
        return plane

    def wait_ready(self) -> None:
        """Wait until every data plane serves a snapshot."""
        for plane in self.planes:
            plane.wait_ready()

    def apply(self, *manifests: Manifest) -> None:
        """Server-side apply, as `kubectl apply --server-side` sends it."""
        for manifest in manifests:
            self.admin.apply(path_of(manifest), manifest, field_manager="kubectl")

    def delete(self, manifest: Manifest) -> None:
        self.admin.delete(path_of(manifest))

    def get(self, manifest: Manifest) -> Any:
        return self.admin.get(path_of(manifest))

    def condition(self, manifest: Manifest, kind: str) -> Any:
        """See `conditions.condition`."""
        return condition(self.get(manifest), kind)

    def wait_for(self, manifest: Manifest, kind: str, status: str = "True", *, reason: str | None = None) -> Any:
        """See `conditions.wait_for_condition`."""
        return wait_for_condition(self.admin, path_of(manifest), kind, status, reason=reason, deadline=_STATUS_DEADLINE)

    def wait_all_ready(self, manifests: Iterable[Manifest]) -> None:
        """Wait until each of Tidegate's kinds among them is in force on every data plane."""
        for manifest in manifests:
            if manifest["apiVersion"] != "v1":
                self.wait_for(manifest, "Ready")

    def published(self) -> Published:
        """What is published now, verified."""
        found = read_published(self.admin)
        assert found is not None, "nothing is published"
        return found

    def revisions(self) -> list[int]:
        """What each data plane serves."""
        return [int(status_of(plane.admin_url)["revision"]) for plane in self.planes]

    def ask_all(self, *, key: str, model: str = "chat") -> list[Reply]:
        """The same call to each data plane."""
        return [ask(plane.url, key=key, model=model) for plane in self.planes]

    def wait_for_status(
        self, status: int, *, key: str, model: str = "chat", code: str = "", deadline: float = _DEADLINE
    ) -> float:
        """Wait until each data plane answers so; returns the seconds that took."""

        def wanted(reply: Reply) -> bool:
            return reply.status == status and code in ("", reply.code)

        return self._wait(wanted, f"{status} {code}", key, model, deadline)

    def wait_for_text(self, text: str, *, key: str, model: str = "chat", deadline: float = _DEADLINE) -> float:
        """Wait until the model says `text` through each data plane; returns the seconds that took."""

        def wanted(reply: Reply) -> bool:
            return reply.status == 200 and reply.text == text

        return self._wait(wanted, repr(text), key, model, deadline)

    def _wait(self, wanted: Callable[[Reply], bool], what: str, key: str, model: str, deadline: float) -> float:
        last: list[Reply] = []

        def holds() -> bool:
            nonlocal last
            last = self.ask_all(key=key, model=model)
            return all(wanted(reply) for reply in last)

        try:
            return wait_until(holds, what=f"{what} for {model} from each data plane", deadline=deadline)
        except DeadlineExceeded as error:
            tails = "\n".join(process.log_tail(8) for process in self.processes)
            seen = [(reply.status, reply.body[:200]) for reply in last]
            raise DeadlineExceeded(f"{error}\nlast: {seen}\n{tails}") from None
