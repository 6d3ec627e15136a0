"""Somebody edits or deletes what the operator has written: it is put back, and no data plane ever serves the edit."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterator

import msgspec
import pytest

from cluster.harness.callers import status_of
from cluster.harness.objects import tenant
from cluster.harness.processes import wait_until
from cluster.harness.published import (
    CREDENTIALS,
    INDEX,
    Published,
    credential_files,
    read_published,
    shard_path,
)
from cluster.harness.rest import Rest
from cluster.harness.system import System
from tidegate_dataplane.snapshot.bundle import INDEX_KEY, shard_key
from tidegate_dataplane.snapshot.codec import SnapshotRefused, digest, encode_index

KEY = "key-of-a-caller-who-notices-nothing"
FORGED_REPLY = "Forged."


@pytest.fixture
def served(system: System, namespace: str) -> Iterator[Published]:
    """What is published once a tenant is served everywhere."""
    objects = tenant(namespace, KEY, reply="Genuine.")
    system.apply(*objects)
    system.wait_all_ready(objects)
    system.wait_for_text("Genuine.", key=KEY)
    yield system.published()
    for plane in system.planes:
        assert plane.process.alive


def _forged(data: bytes) -> bytes:
    """The same shard with another answer in it; well-formed in every respect."""
    text = gzip.decompress(data)
    assert b"Genuine." in text
    return gzip.compress(text.replace(b"Genuine.", FORGED_REPLY.encode()), mtime=0)


def _edit_shard(admin: Rest, served: Published) -> None:
    ref = served.index.shards[0]
    forged = base64.b64encode(_forged(served.shards[ref.name])).decode()
    admin.patch(shard_path(ref.name), {"binaryData": {shard_key(ref.name, ref.sha256): forged}})


def _delete_shard(admin: Rest, served: Published) -> None:
    admin.delete(shard_path(served.index.shards[0].name))


def _truncate_index(admin: Rest, served: Published) -> None:
    admin.patch(INDEX, {"data": {INDEX_KEY: served.index_bytes.decode()[:-20]}})


def _delete_index(admin: Rest, served: Published) -> None:
    admin.delete(INDEX)


def _age_index(admin: Rest, served: Published) -> None:
    older = msgspec.structs.replace(served.index, revision=served.revision - 1)
    admin.patch(INDEX, {"data": {INDEX_KEY: encode_index(older).decode()}})


def _point_elsewhere(admin: Rest, served: Published) -> None:
    """A newer index that names bytes which are nowhere."""
    shards = (msgspec.structs.replace(served.index.shards[0], sha256=digest(b"nowhere")),)
    newer = msgspec.structs.replace(served.index, revision=served.revision + 1, shards=shards)
    admin.patch(INDEX, {"data": {INDEX_KEY: encode_index(newer).decode()}})


@pytest.mark.parametrize(
    "harm", [_edit_shard, _delete_shard, _truncate_index, _delete_index, _age_index, _point_elsewhere]
)
def test_what_was_harmed_is_put_back_and_callers_notice_nothing(
    system: System, served: Published, harm: Callable[[Rest, Published], None]
) -> None:
    harm(system.admin, served)
    said: list[str] = []

    def restored() -> bool:
        said.extend(reply.text for reply in system.ask_all(key=KEY))
        found = _published(system.admin)
        return found is not None and found.shards == served.shards and found.revision >= served.revision

    wait_until(restored, what="the published snapshot to be whole again")
    wait_until(lambda: set(system.revisions()) == {system.published().revision}, what="one revision everywhere")
    said += [reply.text for reply in system.ask_all(key=KEY)]
    assert set(said) == {"Genuine."}


def test_a_harmed_credentials_secret_is_put_back(system: System, namespace: str) -> None:
    backend = tenant(namespace, KEY)[1]
    backend["spec"] = {
        "provider": "OpenAICompatible",
        "endpoint": "https://models.example.com/v1",
        "credential": {"secretRef": {"name": "caller", "key": "token"}},
    }
    objects = [*tenant(namespace, KEY)[:1], backend]
    system.apply(*objects)
    system.wait_for(backend, "Ready")
    name = f"{namespace}.mock"
    assert credential_files(system.admin) == {name: KEY.encode()}
    system.admin.patch(CREDENTIALS, {"data": {name: base64.b64encode(b"forged").decode()}})
    wait_until(lambda: credential_files(system.admin) == {name: KEY.encode()}, what="the credential to be put back")
    system.admin.delete(CREDENTIALS)
    wait_until(lambda: credential_files(system.admin) == {name: KEY.encode()}, what="the Secret to be put back")


def test_a_forged_shard_that_was_there_first_is_refused_and_says_why(system: System, served: Published) -> None:
    """With the operator dead nobody repairs it: the data planes themselves must hold."""
    system.operator.kill9()
    try:
        _edit_shard(system.admin, served)
        shard = served.index.shards[0]
        newer = msgspec.structs.replace(served.index, revision=served.revision + 1)
        # Data planes fetch only what they do not hold, so the index must name the forged key as something new.
        forged = _forged(served.shards[shard.name])
        false = msgspec.structs.replace(shard, sha256=digest(b"something else"))
        values = {shard_key(shard.name, false.sha256): base64.b64encode(forged).decode()}
        system.admin.patch(shard_path(shard.name), {"binaryData": values})
        newer = msgspec.structs.replace(newer, shards=(false, *served.index.shards[1:]))
        system.admin.patch(INDEX, {"data": {INDEX_KEY: encode_index(newer).decode()}})
        for plane in system.planes:
            wait_until(
                lambda url=plane.admin_url: _refusal(url) == ("DigestMismatch", served.revision + 1),  # type: ignore[misc]
                what="the forged shard to be refused",
            )
        assert {reply.text for reply in system.ask_all(key=KEY)} == {"Genuine."}
    finally:
        system.start_operator()
    wait_until(lambda: set(system.revisions()) == {served.revision + 2}, what="a revision above the forged one")
    assert {reply.text for reply in system.ask_all(key=KEY)} == {"Genuine."}


def _refusal(admin_url: str) -> tuple[str, int] | None:
    refusal = status_of(admin_url)["lastRefusal"]
    return None if refusal is None else (refusal["reason"], refusal["revision"])


def _published(admin: Rest) -> Published | None:
    """None as well while bytes are missing or forged."""
    try:
        return read_published(admin)
    except (SnapshotRefused, AssertionError):
        return None
