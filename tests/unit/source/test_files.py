"""Snapshots and credentials from files, changed the way a kubelet and an editor change them."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from dataplane.factory import bundle_of, mock_backend, shard
from dataplane.waiting import until
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.reload import Reloader
from tidegate_dataplane.snapshot.bundle import INDEX_KEY, Bundle, encode_bundle, shard_key
from tidegate_dataplane.snapshot.codec import Refusal, digest
from tidegate_dataplane.source.directory import CredentialsDirectory, DirectorySource
from tidegate_dataplane.source.file import FileSource
from tidegate_dataplane.source.files import PolledSource
from tidegate_dataplane.source.state import Health

POLL = 0.02


def bundle(revision: int) -> Bundle:
    return bundle_of(shard(backends=[mock_backend(reply=f"reply {revision}")]), revision=revision)


def files_of(found: Bundle) -> dict[str, bytes]:
    shards = {shard_key(name, digest(data)): data for name, data in found.shards.items()}
    return {INDEX_KEY: found.index, **shards}


def mount(directory: Path, files: Mapping[str, bytes], *, version: str) -> None:
    """As the kubelet does: a new directory, a new link, renamed over `..data`; file names are links through it."""
    real = directory / f"..{version}"
    real.mkdir()
    for name, data in files.items():
        (real / name).write_bytes(data)
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(Path("..data") / name)
    link = directory / "..data_tmp"
    link.symlink_to(real.name)
    os.rename(link, directory / "..data")
    for name in [each for each in os.listdir(directory) if not each.startswith("..") and each not in files]:
        (directory / name).unlink()


@asynccontextmanager
async def following(source: PolledSource) -> AsyncIterator[None]:
    task = asyncio.create_task(source.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_mounted_directory_is_followed_through_swaps(tmp_path: Path) -> None:
    reloader = Reloader("default")
    mount(tmp_path, files_of(bundle(1)), version="one")
    source = DirectorySource(tmp_path, reloader=reloader, poll=POLL)
    async with following(source):
        await until(lambda: reloader.revision == 1)
        mount(tmp_path, files_of(bundle(2)), version="two")
        await until(lambda: reloader.revision == 2)
        await until(lambda: source.state.health is Health.FOLLOWING)
    assert reloader.refusals == 0


async def test_a_directory_that_does_not_exist_yet_is_waited_for(tmp_path: Path) -> None:
    reloader = Reloader("default")
    source = DirectorySource(tmp_path / "later", reloader=reloader, poll=POLL)
    async with following(source):
        await until(lambda: source.state.health is Health.FAILING)
        assert "later" in source.state.message
        (tmp_path / "later").mkdir()
        mount(tmp_path / "later", files_of(bundle(1)), version="one")
        await until(lambda: reloader.revision == 1)


async def test_an_index_without_its_shards_waits_for_them(tmp_path: Path) -> None:
    reloader = Reloader("default")
    files = files_of(bundle(1))
    (tmp_path / INDEX_KEY).write_bytes(files.pop(INDEX_KEY))
    source = DirectorySource(tmp_path, reloader=reloader, poll=POLL)
    async with following(source):
        await until(lambda: source.state.health is Health.WAITING)
        assert reloader.runtime is None
        for name, data in files.items():
            (tmp_path / ".new").write_bytes(data)
            (tmp_path / ".new").rename(tmp_path / name)
        await until(lambda: reloader.revision == 1)
    assert reloader.refusals == 0


async def test_a_torn_shard_is_refused_and_taken_when_it_is_whole(tmp_path: Path) -> None:
    reloader = Reloader("default")
    files = files_of(bundle(1))
    name = next(each for each in files if each != INDEX_KEY)
    for each, data in files.items():
        (tmp_path / each).write_bytes(data[:-3] if each == name else data)
    async with following(DirectorySource(tmp_path, reloader=reloader, poll=POLL)):
        await until(lambda: reloader.last_refusal is not None)
        assert reloader.last_refusal is not None
        assert reloader.last_refusal.reason is Refusal.DIGEST_MISMATCH
        (tmp_path / name).write_bytes(files[name])
        await until(lambda: reloader.revision == 1)


async def test_a_torn_change_keeps_the_old_revision(tmp_path: Path) -> None:
    reloader = Reloader("default")
    mount(tmp_path, files_of(bundle(1)), version="one")
    async with following(DirectorySource(tmp_path, reloader=reloader, poll=POLL)):
        await until(lambda: reloader.revision == 1)
        broken = {name: data[:-1] if name != INDEX_KEY else data for name, data in files_of(bundle(2)).items()}
        mount(tmp_path, broken, version="two")
        await until(lambda: reloader.refusals == 1)
        assert reloader.revision == 1
        mount(tmp_path, files_of(bundle(2)), version="three")
        await until(lambda: reloader.revision == 2)


async def test_credentials_are_replaced_as_a_whole(tmp_path: Path) -> None:
    credentials = Credentials()
    mount(tmp_path, {"team-a.openai": b"one\n", "team-b.openai": b"two"}, version="one")
    async with following(CredentialsDirectory(tmp_path, credentials=credentials, poll=POLL)):
        await until(lambda: credentials.get("team-a.openai") == b"one")
        mount(tmp_path, {"team-a.openai": b"rotated"}, version="two")
        await until(lambda: credentials.get("team-a.openai") == b"rotated")
        assert credentials.get("team-b.openai") is None


def test_the_api_wins_over_the_mounted_floor_and_what_no_header_can_hold_is_no_credential() -> None:
    credentials = Credentials()
    credentials.replace("directory", {"a": b"old", "b": b"b"})
    credentials.replace("api", {"a": b"new", "broken": b"two\nlines", "empty": b" "})
    assert credentials.get("a") == b"new"
    assert [credentials.get(name) for name in ("b", "broken", "empty")] == [None, None, None]
    credentials.replace("api", None)
    assert credentials.get("a") == b"old"
    assert "old" not in repr(credentials)


async def test_a_file_is_followed_and_a_broken_one_is_refused_in_words(tmp_path: Path) -> None:
    reloader = Reloader("default")
    path = tmp_path / "snapshot.json"
    path.write_bytes(encode_bundle(bundle(1)))
    source = FileSource(path, reloader=reloader, poll=POLL)
    async with following(source):
        await until(lambda: reloader.revision == 1)
        path.write_bytes(b"{")
        await until(lambda: reloader.refusals == 1)
        assert (reloader.revision, source.state.health) == (1, Health.FAILING)
        path.write_bytes(encode_bundle(bundle(2)))
        await until(lambda: reloader.revision == 2)
        path.unlink()
        await until(lambda: source.state.health is Health.FAILING)
        assert reloader.revision == 2
