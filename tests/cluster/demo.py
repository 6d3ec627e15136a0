"""Tidegate on a real API server on this machine: API server, operator, two data planes, until Ctrl-C.

make demo-cluster

Leaves .demo/kubeconfig (an administrator's) and the logs under .demo/ for as long as it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import FrameType

from cluster.build_tools import BuildFailed, ensure_tools
from cluster.harness.apiserver import ApiServer
from cluster.harness.binaries import ToolsMissing, find_tools
from cluster.harness.conditions import is_ready
from cluster.harness.gateway import DataPlane, start_data_plane, start_operator
from cluster.harness.install import ManifestsMissing, apply_crds, apply_folder, apply_rbac
from cluster.harness.kubectl import Kubectl, KubectlFailed
from cluster.harness.processes import (
    ChildProcess,
    DeadlineExceeded,
    ProcessFailed,
    http_status,
    is_free,
    stop_all,
    wait_until,
)
from tidegate_dataplane.reload import Reloader
from tidegate_operator.cli.sample_call import SampleCall, sample_call
from tidegate_operator.embedded import EmbeddedOperator
from tidegate_operator.folder import Folder
from tidegate_operator.resources import RESOURCES
from tidegate_operator.world import Facts

ROOT = Path(__file__).resolve().parents[2]
DATA_PLANES = 2


class DemoFailed(RuntimeError):
    """The demo cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Options:
    examples: Path
    port: int
    """Traffic port of the first data plane; the next one has the next."""
    admin_port: int
    directory: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 after Ctrl-C, 1 when something could not start or ended by itself."""
    # `make` and a supervisor end it with SIGTERM: take everything down then too. Ctrl-C must end it as well where a
    # shell has started it in the background, with SIGINT ignored.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        _run(_options(argv))
    except KeyboardInterrupt:
        pass
    except (
        BuildFailed,
        DemoFailed,
        ToolsMissing,
        ManifestsMissing,
        KubectlFailed,
        ProcessFailed,
        FileNotFoundError,
    ) as error:
        _say(f"error: {error}")
        return 1
    return 0


def _run(options: Options) -> None:
    ports = [base + index for base in (options.port, options.admin_port) for index in range(DATA_PLANES)]
    _check_ports(ports)
    ensure_tools(_say)
    options.directory.mkdir(exist_ok=True)
    for log in options.directory.glob("*.log"):
        log.unlink()
    kubeconfig = options.directory / "kubeconfig"
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(_say, "everything is stopped")
        with _step("API server (etcd and kube-apiserver)"):
            server = cleanup.enter_context(ApiServer())
        cleanup.callback(kubeconfig.unlink, missing_ok=True)
        server.kubeconfig(path=kubeconfig)
        cleanup.callback(_say, "\nstopping")
        with _step("CRDs, roles and examples"):
            apply_crds(server, ROOT / "crds")
            apply_rbac(server, ROOT / "charts" / "tidegate" / "rbac")
            applied = apply_folder(server, options.examples)
        processes: list[ChildProcess] = []
        cleanup.callback(stop_all, processes)
        planes = _start_data_planes(server, options, processes)
        urls = [plane.admin_url for plane in planes]
        processes.append(start_operator(server, data_plane_urls=urls, directory=options.directory))
        with _step("operator and data planes"):
            _wait_ready(planes, processes)
            _wait_programmed(server)
        _explain(options, planes, applied)
        _watch(processes)


def _start_data_planes(server: ApiServer, options: Options, processes: list[ChildProcess]) -> list[DataPlane]:
    """Start them, noting each in `processes` at once, so that it is stopped even when the next one fails."""
    planes = []
    for index in range(DATA_PLANES):
        plane = start_data_plane(
            server,
            directory=options.directory,
            name=f"dataplane-{index + 1}",
            port=options.port + index,
            admin_port=options.admin_port + index,
        )
        processes.append(plane.process)
        planes.append(plane)
    return planes


def _wait_ready(planes: Sequence[DataPlane], processes: Sequence[ChildProcess]) -> None:
    def ready() -> bool:
        _check_alive(processes)
        return all(http_status(f"{plane.admin_url}/-/ready") == HTTPStatus.OK for plane in planes)

    try:
        wait_until(ready, what="the data planes to serve what the operator publishes", deadline=60.0)
    except DeadlineExceeded as error:
        raise DemoFailed("\n".join([str(error), *(process.log_tail(12) for process in processes)])) from None


def _wait_programmed(server: ApiServer) -> None:
    """So that the first table shows what came of the objects; one that is never ready shall be seen in it too."""
    paths = [resource.path() for resource in RESOURCES.values()]
    with contextlib.suppress(DeadlineExceeded):
        wait_until(
            lambda: all(is_ready(item) for path in paths for item in server.admin.list(path)),
            what="every object to be ready",
            deadline=5.0,
        )


def _watch(processes: Sequence[ChildProcess]) -> None:
    """Until Ctrl-C; a program that ends by itself ends the demo."""
    while True:
        _check_alive(processes)
        time.sleep(0.5)


def _check_alive(processes: Sequence[ChildProcess]) -> None:
    for process in processes:
        if not process.alive:
            raise DemoFailed(f"{process.name} ended by itself with {process.exit_code}\n{process.log_tail()}")


def _explain(options: Options, planes: Sequence[DataPlane], applied: Sequence[str]) -> None:
    kubeconfig = options.directory / "kubeconfig"
    _say(f"\n{len(applied)} objects from {_short(options.examples)}:\n")
    _say(Kubectl(kubeconfig).run("get", "tidegate", "--all-namespaces"))
    _say("In another terminal:\n")
    _say(f"  export KUBECONFIG={shlex.quote(str(kubeconfig))}")
    if shutil.which("kubectl") is None:
        _say(f"  export PATH={shlex.quote(str(find_tools().kubectl.parent))}:$PATH")
    _say("  kubectl get tidegate -A")
    _say("  kubectl explain aipolicy.spec")
    call = _sample_call(options.examples)
    if call is not None:
        namespace, _, name = call.route.partition("/")
        _say(f"  kubectl describe airoute -n {namespace} {name}")
        _say(f"\n  {call.curl(planes[0].url)}")
    addresses = ", ".join(f"{plane.url} (admin {plane.admin_url})" for plane in planes)
    _say(f"\nData planes: {addresses}\nLogs: {_short(options.directory)}/*.log\nCtrl-C stops everything.")


def _sample_call(folder: Path) -> SampleCall | None:
    """A call that will be answered, found as `tidegate serve` finds it: by asking the engine."""
    revision = EmbeddedOperator(Folder((folder,)), Facts()).refresh()
    reloader = Reloader(Facts().gateway)
    asyncio.run(reloader.offer(revision.bundle))
    reloader.close()
    if reloader.runtime is None:
        return None
    reading = revision.reading
    return sample_call(reloader.runtime, revision.compiled.served, reading.world, reading.secret_manifests, time.time())


def _check_ports(ports: Sequence[int]) -> None:
    for port in ports:
        if not is_free(port):
            raise DemoFailed(
                f"port {port} of 127.0.0.1 is taken. Is another demo running? Stop that program, or choose"
                ' others: make demo-cluster DEMO_ARGS="--port 8280 --admin-port 9290"'
            )


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    start = time.monotonic()
    print(f"starting {what} ... ", end="", flush=True)
    try:
        yield
    except BaseException:
        print("", flush=True)
        raise
    print(f"{time.monotonic() - start:.1f} s", flush=True)


def _options(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="make demo-cluster", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=Path, default=ROOT / "examples" / "quickstart", metavar="DIR")
    parser.add_argument("--port", type=int, default=8180, help="traffic port of the first data plane")
    parser.add_argument("--admin-port", type=int, default=9190, help="admin port of the first data plane")
    parser.add_argument("--directory", type=Path, default=ROOT / ".demo", help="for the kubeconfig and the logs")
    given = parser.parse_args(argv)
    return Options(given.examples.resolve(), given.port, given.admin_port, given.directory.resolve())


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _say(line: str) -> None:
    print(line, flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
