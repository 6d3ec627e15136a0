"""What goes on while the API server, the operator or data planes are away, and what happens when they come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.callers import ask, send, status_of
from cluster.harness.install import apply_crds, apply_rbac
from cluster.harness.objects import Manifest, mock_backend, route, secret, tenant
from cluster.harness.processes import wait_for_http, wait_until
from cluster.harness.provider import RecordingProvider
from cluster.harness.published import credential_files, mounted_files
from cluster.harness.system import System
from cluster.harness.volume import Volume

pytestmark = pytest.mark.kills

ROOT = Path(__file__).resolve().parents[2]
KEY = "key-of-a-caller-during-outages"
TEAM = "team-a"


@pytest.fixture(scope="module")
def fragile_server() -> Iterator[ApiServer]:
    """An API server for this file alone, which kills it and starts it again."""
    with ApiServer() as server:
        apply_crds(server, ROOT / "crds")
        apply_rbac(server, ROOT / "charts" / "tidegate" / "rbac")
        server.ensure_namespace(TEAM)
        yield server


@pytest.fixture(scope="module")
def system(fragile_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(fragile_server, tmp_path_factory.mktemp("system")) as running:
        yield running


@pytest.fixture
def team(system: System) -> Iterator[list[Manifest]]:
    """A tenant that is served; it is removed after the test, and everything runs again."""
    objects = tenant(TEAM, KEY, reply="Before.")
    system.apply(*objects)
    system.wait_for_text("Before.", key=KEY)
    yield objects
    for item in objects:
        system.delete(item)
    system.wait_for_status(401, key=KEY)


@pytest.fixture
def provider() -> Iterator[RecordingProvider]:
    with RecordingProvider() as running:
        yield running


def test_data_planes_serve_while_the_api_server_is_away_and_follow_when_it_is_back(
    system: System, team: list[Manifest]
) -> None:
    system.server.kill_api()
    try:
        for plane in system.planes:
            assert ask(plane.url, key=KEY).text == "Before."
            assert ask(plane.url, key="some-unknown-key-of-a-caller").status == 401
            assert send("GET", f"{plane.admin_url}/-/ready").status == 200
    finally:
        system.server.start_api()
    system.apply(mock_backend(TEAM, reply="After."))
    took = system.wait_for_text("After.", key=KEY, deadline=30)
    assert took < 20
    system.wait_for(mock_backend(TEAM), "Ready")
    assert all(process.alive for process in system.processes)


def test_what_changed_while_the_operator_was_dead_is_published_when_it_starts(
    system: System, team: list[Manifest]
) -> None:
    system.operator.kill9()
    system.apply(mock_backend(TEAM, reply="Written unseen."))
    system.delete(team[2])
    assert {reply.status for reply in system.ask_all(key=KEY)} == {200}
    system.start_operator()
    system.wait_for_status(404, key=KEY, code="model_not_found")
    system.apply(team[2])
    system.wait_for_text("Written unseen.", key=KEY)


def test_an_operator_that_starts_into_an_unchanged_world_writes_nothing(system: System, team: list[Manifest]) -> None:
    system.wait_all_ready(team)
    revision = system.published().revision
    before = {item["metadata"]["name"]: system.get(item)["metadata"]["resourceVersion"] for item in team}
    system.operator.kill9()
    system.start_operator()
    # That this one edit is the very next revision proves that the new operator published nothing before it.
    added = mock_backend(TEAM, "added")
    system.apply(added)
    system.wait_for(added, "Ready")
    assert system.published().revision == revision + 1
    assert {item["metadata"]["name"]: system.get(item)["metadata"]["resourceVersion"] for item in team} == before
    system.delete(added)


def test_a_data_plane_starts_from_the_mounted_volume_while_the_api_server_is_away(
    system: System, team: list[Manifest], provider: RecordingProvider, tmp_path: Path
) -> None:
    remote = _remote(provider)
    system.apply(secret(TEAM, "provider", {"api-key": "credential-for-the-volume"}), remote, _to_remote())
    system.wait_for_status(200, key=KEY, model="remote")
    snapshot, credentials = Volume(tmp_path / "snapshot"), Volume(tmp_path / "credentials")
    snapshot.swap(mounted_files(system.admin))
    credentials.swap(credential_files(system.admin))
    revision = system.published().revision
    mounted = ["--snapshot-dir", str(snapshot.path), "--credentials-dir", str(credentials.path)]
    system.planes[1].process.kill9()
    system.server.kill_api()
    try:
        plane = system.start_plane(1, more=mounted)
        plane.wait_ready()
        status = status_of(plane.admin_url)
        assert (status["revision"], status["source"]) == (revision, "directory")
        assert ask(plane.url, key=KEY).text == "Before."
        assert ask(plane.url, key="some-unknown-key-of-a-caller").status == 401
        assert ask(plane.url, key=KEY, model="remote").status == 200
        assert provider.authorizations[-1] == "Bearer credential-for-the-volume"
        assert _health(plane.admin_url, "api:index") == "Failing"
    finally:
        system.server.start_api()

    system.apply(mock_backend(TEAM, reply="From the API again."))
    system.wait_for_text("From the API again.", key=KEY, deadline=30)
    # The kubelet lags behind: what it shows now is older than what is served.
    status = status_of(plane.admin_url)
    assert (status["source"], status["lastRefusal"]) == ("api", None)
    system.delete(remote)
    system.delete(_to_remote())
    system.planes[1].process.stop()
    system.start_plane(1).wait_ready()


def test_a_data_plane_follows_the_volume_while_the_api_server_is_away(
    system: System, team: list[Manifest], tmp_path: Path
) -> None:
    older = mounted_files(system.admin)
    system.apply(mock_backend(TEAM, reply="After."))
    system.wait_for_text("After.", key=KEY)
    newer = mounted_files(system.admin)
    snapshot = Volume(tmp_path / "snapshot")
    snapshot.swap(older)
    system.planes[1].process.kill9()
    system.server.kill_api()
    try:
        plane = system.start_plane(1, more=["--snapshot-dir", str(snapshot.path)])
        plane.wait_ready()
        assert ask(plane.url, key=KEY).text == "Before."
        snapshot.swap(newer)
        wait_until(lambda: ask(plane.url, key=KEY).text == "After.", what="the data plane to see the swap")
    finally:
        system.server.start_api()
    plane.process.stop()
    system.start_plane(1).wait_ready()


def test_without_volume_and_api_server_a_data_plane_says_why_it_is_not_ready(
    system: System, team: list[Manifest]
) -> None:
    system.planes[1].process.kill9()
    system.server.kill_api()
    try:
        plane = system.start_plane(1)
        wait_for_http(f"{plane.admin_url}/-/live", process=plane.process)
        wait_until(lambda: _health(plane.admin_url, "api:index") == "Failing", what="the source to say that it fails")
        assert send("GET", f"{plane.admin_url}/-/ready").status == 503
        status = status_of(plane.admin_url)
        assert (status["ready"], status["revision"]) == (False, 0)
        said = next(source["message"] for source in status["sources"] if source["name"] == "api:index")
        assert "tidegate-default" in said
        refused = ask(plane.url, key=KEY)
        assert (refused.status, refused.code) == (503, "not_ready")
    finally:
        system.server.start_api()
    plane.wait_ready()
    assert ask(plane.url, key=KEY).status == 200


def _health(admin_url: str, source: str) -> str:
    return next(str(each["state"]) for each in status_of(admin_url)["sources"] if each["name"] == source)


def _remote(provider: RecordingProvider) -> Manifest:
    remote = mock_backend(TEAM, "remote")
    remote["spec"] = {
        "provider": "OpenAICompatible",
        "endpoint": provider.url,
        "credential": {"secretRef": {"name": "provider", "key": "api-key"}},
    }
    return remote


def _to_remote() -> Manifest:
    return route(TEAM, "remote", models=["remote"], backend="remote")
