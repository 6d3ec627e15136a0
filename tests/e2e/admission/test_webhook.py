"""The operator's webhook behind a real API server: what kubectl is told, and that nothing hangs on it."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.processes import ChildProcess, free_port, wait_until
from cluster.harness.rest import ApiError
from e2e.admission.hooked import (
    CONFIGURATION,
    CONFIGURATIONS,
    GROUP,
    SECRET,
    Said,
    apply,
    chart_configuration,
    clear,
    configure,
    declare,
    kubectl,
    start_webhook,
    wait_for_trust,
)

SHA = "0123456789abcdef" * 4
ROUTE: dict[str, Any] = {"models": ["chat"], "targets": [{"backendRef": {"name": "mock"}}]}
POLICY: dict[str, Any] = {
    "targetRefs": [{"kind": "Namespace"}],
    "authentication": {"methods": ["APIKey"]},
    "authorization": {"rules": [{"name": "all", "effect": "Allow", "roles": ["inference"]}]},
}
LIMITS = [{"unit": "Tokens", "amount": "5", "window": {"calendar": "Month"}}]


@dataclass
class Hooked:
    """An API server with a running operator and its webhook."""

    server: ApiServer
    process: ChildProcess
    port: int

    def apply(self, kind: str, name: str, spec: dict[str, Any], **more: Any) -> Said:
        return apply(self.server, kind, name, spec, **more)


def _declare_all(server: ApiServer) -> None:
    declare(server, "AIBackend", "mock", {"provider": "Mock"})
    declare(server, "AIRoute", "chat", ROUTE)
    declare(server, "AIPolicy", "rules", POLICY)
    keys = [{"name": "ci", "sha256": SHA}]
    declare(server, "AIConsumer", "app", {"roles": ["inference"], "credentials": {"apiKeys": keys}})


@pytest.fixture(scope="module")
def hooked(hooked_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hooked]:
    """Routes, policies and consumers of a team, and an operator that is asked about their changes."""
    port = free_port()
    clear(hooked_server)
    _declare_all(hooked_server)
    process = start_webhook(hooked_server, tmp_path_factory.mktemp("hooked"), port)
    try:
        configure(hooked_server, port)
        wait_for_trust(hooked_server, process)
        yield Hooked(hooked_server, process, port)
    finally:
        process.stop()
        clear(hooked_server)


def test_harmless_changes_pass_without_a_word(hooked: Hooked) -> None:
    for said in (
        hooked.apply("AIRoute", "chat", {**ROUTE, "timeout": "10s"}),
        hooked.apply("AIBackend", "other", {"provider": "Mock"}),
    ):
        assert said.code == 0, said.text
        assert said.warnings == []


def test_a_conflicting_route_is_warned_of(hooked: Hooked) -> None:
    said = hooked.apply("AIRoute", "second", ROUTE)
    assert said.code == 0
    assert said.warnings[0].startswith("spec.models: AIRoute team-a/chat, which comes first, already answers Chat")


def test_a_missing_reference_is_warned_of(hooked: Hooked) -> None:
    said = hooked.apply("AIRoute", "new", {"models": ["new"], "targets": [{"backendRef": {"name": "gone"}}]})
    assert said.code == 0
    assert said.warnings == [
        "spec.targets[0].backendRef: AIBackend team-a/gone does not exist: create it, or correct the name"
    ]


def test_a_lockout_is_denied_and_the_author_may_insist(hooked: Hooked) -> None:
    # Of the same name: server-side apply merges rules by name.
    locking = {**POLICY, "authorization": {"rules": [{"name": "all", "effect": "Deny"}]}}
    said = hooked.apply("AIPolicy", "rules", locking)
    assert said.code != 0
    assert 'admission webhook "changes.tidegate.dev" denied the request' in said.text
    assert "nobody could call AIRoute team-a/chat any more, and somebody can now" in said.text
    assert "set the annotation tidegate.dev/admission: Warn" in said.text
    insisted = hooked.apply("AIPolicy", "rules", locking, annotations={"tidegate.dev/admission": "Warn"})
    assert insisted.code == 0, insisted.text
    assert insisted.warnings == ["nobody could call AIRoute team-a/chat any more, and somebody can now"]


def test_a_deletion_that_leaves_others_dangling_is_warned_of(hooked: Hooked) -> None:
    said = kubectl(hooked.server, "delete", "aibackend", "mock", "-n", "team-a", "--dry-run=server")
    assert said.code == 0
    assert any("AIRoute team-a/chat: spec.targets[0].backendRef" in line for line in said.warnings), said.text


def test_a_circle_of_quotas_is_warned_of(hooked: Hooked) -> None:
    here = [{"kind": "Namespace"}]
    declare(hooked.server, "Quota", "lower", {"targetRefs": here, "limits": LIMITS, "parent": "upper"})

    def circle() -> bool:
        said = hooked.apply("Quota", "upper", {"targetRefs": here, "limits": LIMITS, "parent": "lower"})
        return any(line.startswith("spec.parent: leads back to this quota") for line in said.warnings)

    wait_until(circle, what="the circle to be told")


def test_what_only_the_compiler_reads_is_warned_of(hooked: Hooked) -> None:
    rules = [{"name": "broken", "effect": "Deny", "when": "request.model =="}]
    said = hooked.apply("AIPolicy", "rules", {**POLICY, "authorization": {"rules": rules}})
    assert said.code == 0
    assert said.warnings[0].startswith("spec.authorization.rules[1].when: not a CEL expression")


def test_labels_and_statuses_are_not_asked_about(hooked: Hooked) -> None:
    before = _counted(hooked)
    path = f"{GROUP}/namespaces/team-a/airoutes/chat"
    hooked.server.admin.patch(path, {"metadata": {"labels": {"a": "b"}}})
    hooked.server.admin.patch(f"{path}/status", {"status": {"servedGeneration": 1}})
    assert _counted(hooked) == before


def _counted(hooked: Hooked) -> int:
    return hooked.process.log_text().count("AIRoute team-a/chat")


def test_the_operators_role_reaches_this_secret_and_this_configuration_only(hooked: Hooked) -> None:
    account = "system:serviceaccount:tidegate-system:tidegate-operator"

    def may(*question: str) -> bool:
        return kubectl(hooked.server, "auth", "can-i", *question, "--as", account).code == 0

    configurations = "validatingwebhookconfigurations.admissionregistration.k8s.io"
    assert may("patch", f"{configurations}/tidegate-webhook")
    assert not may("patch", f"{configurations}/another")
    assert not may("create", configurations)
    assert not may("delete", f"{configurations}/tidegate-webhook")
    assert may("update", "secrets/tidegate-webhook", "-n", "tidegate-system")
    assert not may("update", "secrets/another", "-n", "tidegate-system")
    assert not may("update", "secrets/tidegate-webhook", "-n", "team-a")


def test_who_does_not_know_the_path_learns_nothing(hooked: Hooked) -> None:
    context = ssl.create_default_context(cadata=_bundle(hooked.server))
    for path in ("/", "/admission/", "/admission/guess", "/metrics"):
        connection = http.client.HTTPSConnection("127.0.0.1", hooked.port, context=context, timeout=5)
        connection.request("POST", path, body=b"{}")
        assert connection.getresponse().status == 404, path
        connection.close()


def _bundle(server: ApiServer) -> str:
    client = server.admin.get(CONFIGURATION)["webhooks"][0]["clientConfig"]
    return base64.b64decode(client["caBundle"]).decode()


def test_while_the_operator_is_down_everything_is_taken(own_hooked: ApiServer, tmp_path: Path) -> None:
    port = free_port()
    _declare_all(own_hooked)
    process = start_webhook(own_hooked, tmp_path, port)
    configure(own_hooked, port)
    wait_for_trust(own_hooked, process)
    process.stop()
    began = time.monotonic()
    locking = {**POLICY, "authentication": {"methods": ["MTLS"]}}
    said = apply(own_hooked, "AIPolicy", "rules", locking, dry_run=False)
    assert said.code == 0, said.text
    assert time.monotonic() - began < 10
    said = apply(own_hooked, "AIRoute", "second", ROUTE, dry_run=False)
    assert (said.code, said.warnings) == (0, [])


def test_the_charts_configuration_gets_bundle_and_path_and_the_certificate_is_for_the_service(
    own_hooked: ApiServer, tmp_path: Path
) -> None:
    own_hooked.admin.create(CONFIGURATIONS, chart_configuration())
    port = free_port()
    process = start_webhook(own_hooked, tmp_path, port, more=["--webhook-service", "tidegate-webhook"])

    def client() -> dict[str, Any]:
        found: dict[str, Any] = own_hooked.admin.get(CONFIGURATION)["webhooks"][0]["clientConfig"]
        return found

    try:
        wait_until(lambda: "caBundle" in client(), what="the CA bundle", deadline=60.0, process=process)
        assert client()["service"]["path"].startswith("/admission/")
        assert client()["service"]["name"] == "tidegate-webhook"
        wait_until(lambda: "listens on" in process.log_text(), what="the webhook", deadline=30.0, process=process)
        context = ssl.create_default_context(cadata=_bundle(own_hooked))
        name = "tidegate-webhook.tidegate-system.svc"
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            assert secured.version() in ("TLSv1.2", "TLSv1.3")
    finally:
        process.stop()


def test_a_certificate_is_renewed_again_and_again_and_no_call_fails(own_hooked: ApiServer, tmp_path: Path) -> None:
    """Certificates of twelve seconds, an authority of two and a half minutes; two operators that share them."""
    ports = (free_port(), free_port())
    _declare_all(own_hooked)
    life = ["--webhook-certificate-life", "12s"]
    processes = [
        start_webhook(own_hooked, tmp_path, port, name=f"operator-{number}", more=life)
        for number, port in enumerate(ports)
    ]
    try:
        configure(own_hooked, ports[0])
        for process in processes:
            wait_until(lambda p=process: "listens on" in p.log_text(), what="both to listen", deadline=60)  # type: ignore[misc]
        wait_for_trust(own_hooked, processes[0])
        calls, silent = _calls_while(own_hooked, ports, seconds=30.0)
        assert calls > 20
        assert silent == 0, f"{silent} of {calls} calls passed the webhook by"
        secret = own_hooked.admin.get(SECRET)
        assert int(secret["metadata"]["resourceVersion"]) > 0
        renewals = sum(process.log_text().count("renewed the webhook's certificate") for process in processes)
        assert renewals >= 3
    finally:
        for process in processes:
            process.stop()


def _calls_while(server: ApiServer, ports: tuple[int, int], *, seconds: float) -> tuple[int, int]:
    """Creations in dry run that the webhook must warn of, and how many it did not; both operators are also called
    by name with the bundle that is configured."""
    failures: list[str] = []
    stop = threading.Event()

    def shake_hands() -> None:
        while not stop.wait(0.2):
            context = ssl.create_default_context(cadata=_bundle(server))
            for port in ports:
                try:
                    with (
                        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
                        context.wrap_socket(plain, server_hostname="127.0.0.1"),
                    ):
                        pass
                except OSError as error:
                    failures.append(f"{port}: {error}")

    thread = threading.Thread(target=shake_hands, daemon=True)
    thread.start()
    calls = silent = 0
    spec = {"models": ["m"], "targets": [{"backendRef": {"name": "gone"}}]}
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        said = apply(server, "AIRoute", f"r{calls}", spec)
        calls += 1
        silent += not any("does not exist" in line for line in said.warnings)
    stop.set()
    thread.join()
    assert failures == []
    return calls, silent


def test_a_burst_is_answered_or_let_pass_in_time(hooked: Hooked) -> None:
    """More changes at once than one thread can judge: none is refused, none waits for long."""
    slowest: list[float] = []

    def create(number: int) -> None:
        body = {"models": [f"burst-{number}"], "targets": [{"backendRef": {"name": "mock"}}]}
        item = {
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "AIRoute",
            "metadata": {"name": f"burst-{number}"},
            "spec": body,
        }
        began = time.monotonic()
        try:
            hooked.server.admin.create(f"{GROUP}/namespaces/team-a/airoutes?dryRun=All", item)
        except ApiError as error:
            slowest.append(float("inf"))
            raise AssertionError(str(error)) from error
        slowest.append(time.monotonic() - began)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(slowest) == 60
    assert max(slowest) < 5
