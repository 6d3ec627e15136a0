"""Two versions at work at once: operators N-1 and N, old data planes under a new operator, new CRDs and old objects."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.callers import Reply, ask, status_of
from cluster.harness.conditions import wait_for_condition
from cluster.harness.gateway import DataPlane, start_data_plane, start_operator
from cluster.harness.install import apply_crds, apply_folder, apply_rbac
from cluster.harness.objects import key_policy, mock_backend, path_of, tenant
from cluster.harness.processes import ChildProcess, DeadlineExceeded, wait_until
from cluster.harness.published import read_published
from cluster.harness.rest import Rest
from e2e.faults.changes import KEY, TEAM
from e2e.faults.conftest import ROOT, install
from e2e.faults.versions import OldVersion
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION

NOT_CEL = {"authorization": {"rules": [{"name": "bad", "effect": "Deny", "when": "request.model =="}]}}


class Mixed:
    """Operators and data planes, each of either version."""

    def __init__(self, server: ApiServer, directory: Path, old: OldVersion) -> None:
        self.server = server
        self.admin: Rest = server.admin
        self.directory = directory
        self.old = old
        self.planes: list[DataPlane] = []
        self.running = contextlib.ExitStack()

    def plane(self, name: str, *, old: bool = False) -> DataPlane:
        """Start a data plane."""
        environment = self.old.environment if old else None
        plane = start_data_plane(
            self.server, directory=self.directory, name=name, env=environment, more=["--drain-delay", "0s"]
        )
        self.running.enter_context(plane.process)
        self.planes.append(plane)
        return plane

    def operator(self, name: str, *, old: bool = False) -> ChildProcess:
        """Start an operator, which knows the data planes of this moment."""
        process = start_operator(
            self.server,
            data_plane_urls=[plane.admin_url for plane in self.planes],
            directory=self.directory,
            name=name,
            env=self.old.environment if old else None,
            more=["--identity", name],
        )
        return self.running.enter_context(process)

    def apply(self, *manifests: Any) -> None:
        for item in manifests:
            self.admin.apply(path_of(item), item, field_manager="kubectl")

    def schema(self) -> int:
        """The schema of what is published; 0 when nothing is.

        An operator that cannot read the index takes the shards that it names away a moment before it writes its own:
        a data plane that starts just then waits for the next one.
        """
        try:
            found = read_published(self.admin)
        except AssertionError:
            return 0
        return found.index.schema_version if found is not None else 0

    def says(self, text: str, *, planes: list[DataPlane] | None = None) -> None:
        """Wait until those data planes answer so."""
        asked, last = self.planes if planes is None else planes, list[Reply]()

        def holds() -> bool:
            nonlocal last
            try:
                last = [ask(plane.url, key=KEY) for plane in asked]
            except OSError:
                return False  # it has only just been started
            return all(reply.status == 200 and reply.text == text for reply in last)

        try:
            wait_until(holds, what=f"{text!r} from each data plane", deadline=60)
        except DeadlineExceeded as error:
            raise DeadlineExceeded(f"{error}: {[(reply.status, reply.body[:300]) for reply in last]}") from None

    def wait_for(self, item: Any, kind: str, status: str = "True", *, reason: str | None = None) -> Any:
        return wait_for_condition(self.admin, path_of(item), kind, status, reason=reason, deadline=60)


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> OldVersion:
    return OldVersion(tmp_path_factory.mktemp("old"))


@pytest.fixture
def mixed(tmp_path: Path, old: OldVersion) -> Iterator[Mixed]:
    """Nothing runs yet; the former version's CRDs are installed."""
    with ApiServer() as server:
        apply_crds(server, old.crds)
        apply_rbac(server, ROOT / "charts" / "tidegate" / "rbac")
        server.ensure_namespace(TEAM)
        found = Mixed(server, tmp_path, old)
        with found.running:
            yield found


@pytest.mark.timeout(400)
def test_operators_of_two_versions_take_turns(mixed: Mixed) -> None:
    mixed.plane("one")
    mixed.plane("two")
    former = mixed.operator("former", old=True)
    mixed.apply(*tenant(TEAM, KEY, reply="By the former."))
    mixed.says("By the former.")
    assert mixed.schema() == 2
    mixed.apply(key_policy(TEAM, "keys", **NOT_CEL))
    mixed.wait_for(key_policy(TEAM), "Accepted", "False")
    revisions = [_revision(mixed)]

    install(mixed.server)
    newer = mixed.operator("newer")
    former.kill9()
    wait_until(lambda: mixed.schema() == SCHEMA_VERSION, what="the newer operator to publish", deadline=60)
    mixed.apply(mock_backend(TEAM, reply="By the newer."))
    mixed.says("By the newer.")
    # The policy that the former operator refused is still in force in its last good form.
    assert mixed.admin.get(path_of(key_policy(TEAM)))["status"]["servedGeneration"] == 1
    revisions.append(_revision(mixed))

    # Back again, as a rolled back release goes: CRDs first, broken objects mended before (see the runbook).
    mixed.apply(key_policy(TEAM))
    mixed.wait_for(key_policy(TEAM), "Ready")
    apply_crds(mixed.server, mixed.old.crds)
    mixed.operator("former-again", old=True)
    newer.stop()
    wait_until(lambda: mixed.schema() == 2, what="the former operator to publish again", deadline=60)
    mixed.apply(mock_backend(TEAM, reply="By the former again."))
    mixed.says("By the former again.")
    revisions.append(_revision(mixed))
    assert revisions == sorted(set(revisions))


@pytest.mark.timeout(400)
def test_old_data_planes_keep_what_they_have_and_say_why(mixed: Mixed) -> None:
    outdated, current = mixed.plane("outdated", old=True), mixed.plane("current")
    former = mixed.operator("former", old=True)
    objects = tenant(TEAM, KEY, reply="By the former.")
    mixed.apply(*objects)
    mixed.says("By the former.")
    former.stop()
    held = int(status_of(outdated.admin_url)["revision"])

    install(mixed.server)
    mixed.operator("newer")
    mixed.apply(mock_backend(TEAM, reply="By the newer."))
    mixed.says("By the newer.", planes=[current])
    said = mixed.wait_for(mock_backend(TEAM), "Programmed", "False", reason="DataPlaneRefused")
    (message,) = [each["message"] for each in said["status"]["conditions"] if each["type"] == "Programmed"]
    assert f"runs revision {held}" in message
    assert "schema" in message
    assert ask(outdated.url, key=KEY).text == "By the former."
    assert ask(outdated.url, key="some-unknown-key-of-a-caller").status == 401

    # The Deployment replaces it.
    outdated.process.stop()
    mixed.wait_for(mock_backend(TEAM), "Programmed")


@pytest.mark.timeout(400)
def test_an_old_operator_under_new_crds_keeps_what_it_served(mixed: Mixed) -> None:
    """New CRDs may fill in a field that the old operator does not know: then it goes on with the last good forms."""
    mixed.plane("one")
    former = mixed.operator("former", old=True)
    mixed.apply(*tenant(TEAM, KEY, reply="As before."))
    mixed.says("As before.")
    install(mixed.server)
    former.kill9()
    mixed.operator("former", old=True)
    caller = tenant(TEAM, KEY)[3]
    mixed.wait_for(caller, "Accepted", "False", reason="Invalid")
    mixed.says("As before.")
    mixed.apply(mock_backend(TEAM, reply="Still follows."))
    mixed.says("Still follows.")


@pytest.mark.timeout(400)
def test_objects_of_the_old_schema_outlive_new_crds(tmp_path: Path, old: OldVersion) -> None:
    with ApiServer() as server:
        apply_crds(server, old.crds)
        apply_rbac(server, ROOT / "charts" / "tidegate" / "rbac")
        apply_folder(server, old.folder / "examples" / "quickstart")
        before = _objects(server)
        assert len(before) > 3
        install(server)
        # Nothing was written by that: same generations, and applying them again changes nothing.
        apply_folder(server, old.folder / "examples" / "quickstart")
        assert {key: item["metadata"]["generation"] for key, item in _objects(server).items()} == {
            key: item["metadata"]["generation"] for key, item in before.items()
        }
        mixed = Mixed(server, tmp_path, old)
        with mixed.running:
            mixed.plane("one")
            mixed.operator("newer")
            for item in before.values():
                wait_for_condition(server.admin, path_of(item), "Ready", deadline=60)


def _objects(server: ApiServer) -> dict[str, Any]:
    found = {}
    for plural in ("aibackends", "airoutes", "aiconsumers", "aipolicies", "quotas"):
        for item in server.admin.list(f"/apis/tidegate.dev/v1alpha1/{plural}"):
            found[path_of(item)] = item
    return found


def _revision(mixed: Mixed) -> int:
    found = read_published(mixed.admin)
    assert found is not None
    return found.revision
