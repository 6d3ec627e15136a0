"""What stands in a feed: comments, gzip, other people's mistakes, and bounds."""

import gzip
from pathlib import Path

import pytest

from tidegate_dataplane.snapshot.entries import ListKind
from tidegate_dataplane.snapshot.records import join_networks, network_record
from tidegate_operator.compile import Memo, Served, compile_world, list_content, lower_lists
from tidegate_operator.compile.list_content import read_list
from tidegate_operator.folder import Folder
from tidegate_operator.verdicts import Reason
from tidegate_operator.world import ConfigMapKey, Facts, Kind, ObjectKey, Resource, World

KEY = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def networks(*texts: str) -> bytes:
    return join_networks(record for text in texts if (record := network_record(text)))


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.0/24\n2001:db8::/32",
        "\ufeff192.0.2.0/24\r\n2001:db8::/32\r\n",
        "# a feed\n\n 192.0.2.0/24 ; SBL1\n;2.2.2.2\n\t2001:DB8:0::/32#x\n#",
        "192.0.2.99/24\n2001:db8::7/32",
        "192.0.2.0/25\n192.0.2.128/25\n192.0.2.7\n2001:db8::/33\n2001:db8:8000::/33",
        "::ffff:192.0.2.0/120\n2001:db8::/32",
    ],
)
def test_feeds_of_one_meaning_are_one(text: str) -> None:
    content = read_list({"drop.txt": text.encode()}, ListKind.ADDRESSES)
    assert content.records == networks("192.0.2.0/24", "2001:db8::/32")
    assert not content.faulty


@pytest.mark.parametrize(
    "line",
    [
        *("192.0.2.1-192.0.2.9", "192.0.2", "192.0.2.256", "192.0.2.0/33", "2001:db8::/129", "192.0.2.0/", "010.0.0.1"),
        *("10.0.0.0/-1", "10.0.0.0/ 8", "10.0.0.0/8/9", "example.com", "1.2.3.4\t5", "fe80::1%eth0", "\x00", "é"),
    ],
)
def test_what_is_no_network_is_counted_by_its_line(line: str) -> None:
    text = f"192.0.2.1\n192.0.2.2\n{line}\n192.0.2.3"
    content = read_list({"a.txt": b"192.0.2.4", "b.txt": text.encode()}, ListKind.ADDRESSES)
    assert (content.lines, content.unreadable, content.shown) == (5, 1, ("b.txt line 3",))
    assert content.records == networks("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
    assert not content.hopeless


@pytest.mark.parametrize("line", [KEY[:-1], KEY + "0", "g" * 64, f"{KEY[:-2]} 8", "sk-a-key-itself", "0x" + KEY[2:]])
def test_what_is_no_hash_is_refused(line: str) -> None:
    content = read_list({"k": f"{KEY}\n{KEY.upper()}\n{line}".encode()}, ListKind.KEY_HASHES)
    assert (content.lines, content.unreadable) == (3, 1)
    assert content.records == bytes.fromhex(KEY)[:16]


def test_gzip_is_unpacked_and_damage_is_told() -> None:
    packed = gzip.compress(b"192.0.2.1\n")
    assert read_list({"a.gz": packed}, ListKind.ADDRESSES).records == networks("192.0.2.1")
    for broken in (packed[:-9], packed[:12] + b"\xff" * 8 + packed[20:]):
        content = read_list({"a.gz": broken, "b": b"192.0.2.2"}, ListKind.ADDRESSES)
        assert content.hopeless
        assert content.records == networks("192.0.2.2")
        assert content.broken[0].startswith("the value a.gz is damaged gzip")


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_content, "MAX_TEXT_BYTES", 1 << 20)
    bomb = gzip.compress(b"192.0.2.1\n" * 1_000_000)
    content = read_list({"a.gz": bomb, "b": b"192.0.2.2"}, ListKind.ADDRESSES)
    assert content.broken == ("the value a.gz is damaged gzip, or the list has more than 1 MiB",)
    assert content.records == networks("192.0.2.2")


def test_no_message_repeats_what_a_line_holds() -> None:
    world = _world({"feed": b"sk-a-secret-in-the-wrong-place\n192.0.2.1"})
    assert "sk-a-secret" not in str(compile_world(world, Facts()).verdicts)


def test_a_list_beyond_all_bounds_displaces_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lower_lists, "MAX_ENTRIES", 100)
    small, large = _lines(10), _lines(95)
    memo = Memo()
    first = compile_world(_world({"a": small, "b": small}), Facts(), None, memo)
    second = compile_world(_world({"a": large, "b": small}), Facts(), first.served, memo)
    assert second.shards == first.shards
    (finding,) = next(iter(second.verdicts.values())).unresolved
    assert finding.reason is Reason.LIST_TOO_LARGE
    assert finding.message.startswith(
        "ConfigMap team-a/a has 95 entries, and all lists of the gateway together may have"
    )
    assert finding.message.endswith("what was in force before stays")
    fresh = compile_world(_world({"a": large, "b": small}), Facts())
    assert [key.name for key in fresh.served.lists] == ["b"]
    assert next(iter(fresh.verdicts.values())).unresolved[0].message.endswith("none of its entries is in force")
    assert compile_world(_world({"a": _lines(90), "b": small}), Facts(), second.served, memo).verdicts == first.verdicts


def test_a_folder_serves_its_lists(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(
        """
apiVersion: tidegate.dev/v1alpha1
kind: AIPolicy
metadata: {name: edge, namespace: team-a}
spec:
  targetRefs: [{kind: Namespace}]
  network: {denyLists: [{configMapRef: {name: feed}}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: feed, namespace: team-a, labels: {tidegate.dev/list: "true"}}
data: {drop.txt: "192.0.2.1"}
binaryData: {more.txt: MTkyLjAuMi4y}
"""
    )
    reading = Folder((tmp_path,)).read()
    assert reading.problems == ()
    compiled = compile_world(reading.world, Facts(), Served({}))
    (parts,) = compiled.served.lists.values()
    assert b"".join(part.data for part in parts) == networks("192.0.2.1", "192.0.2.2")


def _lines(count: int) -> bytes:
    return "\n".join(f"192.0.2.{2 * number}" for number in range(count)).encode()


def _world(lists: dict[str, bytes]) -> World:
    key = ObjectKey(Kind.POLICY, "team-a", "edge")
    named = [{"configMapRef": {"name": name}} for name in lists]
    policy = Resource(key, {"targetRefs": [{"kind": "Namespace"}], "network": {"denyLists": named}})
    return World({key: policy}, config_maps={ConfigMapKey("team-a", name): {"x": data} for name, data in lists.items()})
