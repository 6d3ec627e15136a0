"""What the benchmarks read and promise, without any load: output of wrk, pins of the peers, mounted files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench import worlds
from bench.figures import percentile, table
from bench.keepalive import BrokenExchange, answer_length, answer_status
from bench.mounted import MountedDirectory
from bench.peers.install import HIJACKED_LITELLM, LITELLM_LOCK, PORTKEY_FOLDER, UnsafePin, litellm_version
from bench.wrk import WrkFailed, parse
from tidegate_dataplane.snapshot.bundle import INDEX_KEY, Bundle, shard_key
from tidegate_dataplane.snapshot.codec import digest, encode_index, encode_shard
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION, ClusterFacts, Index, Shard, ShardRef

WRK_OUTPUT = """Running 2s test @ http://127.0.0.1:1/
  1 threads and 32 connections
WRK_JSON {"requests":1000,"duration_us":2000000,"connect":1,"read":2,"write":0,"status":3,"timeout":4,\
"p50_us":10,"p90_us":20,"p99_us":30,"max_us":40}
"""


def test_failed_requests_are_errors_and_no_throughput() -> None:
    load = parse(WRK_OUTPUT)
    assert load.errors == 10
    assert load.rate == pytest.approx(495.0)
    assert (load.p50_us, load.p99_us, load.max_us) == (10, 30, 40)


def test_output_without_a_result_is_an_error() -> None:
    with pytest.raises(WrkFailed, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1")


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50.0, 99.0, 100.0)
    assert math.isnan(percentile([], 0.5))


def test_table_columns_line_up() -> None:
    lines = table("t", ("name", "n"), [("a", 1), ("longer", 100)]).splitlines()
    assert len({len(line) for line in lines[2:]}) == 1


@pytest.mark.parametrize("version", sorted(HIJACKED_LITELLM))
def test_a_hijacked_litellm_is_refused(version: str) -> None:
    with pytest.raises(UnsafePin, match="hijacked"):
        litellm_version(f"httpx==1.0\nlitellm=={version} \\\n")


def test_the_committed_litellm_lock_is_safe_and_hashed() -> None:
    lock = LITELLM_LOCK.read_text()
    assert litellm_version(lock) not in {"1.82.7", "1.82.8", "1.107.0"}
    pins = lock.count("==")
    assert lock.count(" \\\n    --hash=sha256:") >= pins
    assert "://" not in lock


def test_the_committed_portkey_lock_has_hashes_and_no_registry() -> None:
    lock = (PORTKEY_FOLDER / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity": "sha512-') > 50


def test_an_answer_is_complete_when_its_body_is() -> None:
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nbody"
    assert answer_length(answer[:30]) is None
    assert answer_length(answer[:-2]) == len(answer)
    assert answer_status(answer) == 403
    with pytest.raises(BrokenExchange):
        answer_length(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")


@pytest.mark.parametrize("size", [400, 600, 5_000])
def test_chat_bodies_have_the_size_they_promise(size: int) -> None:
    assert len(worlds.chat_body("chat-00042", size=size)) == size


def test_a_world_has_as_many_objects_as_its_size_says() -> None:
    size = worlds.Size(150, 30)
    declared = list(worlds.manifests(size))
    assert len(declared) == size.objects == len(worlds.world(declared).resources)
    consumer = worlds.consumer_for(120, size)
    (found,) = [item for item in declared if item["metadata"]["name"] == f"app-{consumer:05d}"]
    assert found["metadata"]["namespace"] == worlds.namespace_of(120)


def test_a_mounted_directory_shows_exactly_the_files_of_the_last_swap(tmp_path: Path) -> None:
    mounted = MountedDirectory(tmp_path / "volume")
    for revision, name in ((1, "00"), (2, "01")):
        data = encode_shard(Shard(SCHEMA_VERSION))
        ref = ShardRef(name, digest(data), len(data))
        index = encode_index(Index(SCHEMA_VERSION, revision, "default", ClusterFacts(), (ref,)))
        mounted.swap(Bundle(index, {name: data}))
        shown = {each.name: each.read_bytes() for each in mounted.path.iterdir() if not each.name.startswith("..")}
        assert shown == {INDEX_KEY: index, shard_key(name, ref.sha256): data}
    assert len([each for each in mounted.path.iterdir() if each.is_dir() and not each.is_symlink()]) == 1
