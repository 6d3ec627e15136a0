"""`tidegate keys`, as somebody in a terminal or a script uses it."""

import asyncio
import json

import pytest
from typer.testing import CliRunner, Result

from dataplane.factory import KEY, bundle_of, shard
from dataplane.planes import running
from dataplane.raw_http import chat, exchange, request
from tidegate_dataplane.apikey import digest_of, issue_key, well_formed
from tidegate_dataplane.snapshot.entries import ConsumerEntry, KeyEntry, Source
from tidegate_operator.cli.keys import Row, keys, merged
from tidegate_operator.metrics import keys_by_end

NOW = 1_782_907_200


def run(*arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(keys, arguments, input=text)


def test_a_new_key_is_well_formed_another_each_time_and_shown_with_its_hash() -> None:
    made = [json.loads(run("new", "--json").output) for _ in range(2)]
    assert made[0]["key"] != made[1]["key"]
    assert all(well_formed(one["key"]) and one["sha256"] == digest_of(one["key"]) for one in made)
    lines = run("new").output.splitlines()
    assert lines[1] == f"sha256: {digest_of(lines[0].removeprefix('key:    '))}"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (issue_key(b"x" * 32) + "\n", 0, digest_of(issue_key(b"x" * 32))),
        (issue_key(b"x" * 32)[:-1] + "\n", 1, "typing error"),
        ("sk-some-other-key\n", 2, digest_of("sk-some-other-key")),
        ("\n", 1, "no key"),
        ("two keys\n", 1, "no key"),
    ],
)
def test_a_key_is_checked_from_standard_input(text: str, code: int, said: str) -> None:
    found = run("check", text=text)
    assert (found.exit_code, said in found.output) == (code, True)
    assert not text.strip() or text.strip() not in found.output


async def test_a_data_planes_keys_are_listed_with_their_last_use() -> None:
    async with running(bundle_of(shard())) as plane:
        url = f"http://{plane.admin_address}"
        before = await asyncio.to_thread(run, "list", "--admin", url)
        assert "never seen" in before.output
        assert "team-a/search" in before.output
        await exchange(plane, request(chat(), key=KEY))
        after = await asyncio.to_thread(run, "list", "--admin", url, "--admin", url)
        assert "never seen" not in after.output
        assert after.output.count("team-a/search") == 1
        quiet = await asyncio.to_thread(run, "list", "--admin", url, "--unused-for", "30d", "--json")
        assert json.loads(quiet.stdout) == []
        assert "has counted only since" in quiet.stderr


@pytest.mark.parametrize("arguments", [("--admin", "http://127.0.0.1:1"), ("--admin", "file:///etc/passwd")])
def test_what_is_no_data_plane_is_told_so(arguments: tuple[str, ...]) -> None:
    found = run("list", *arguments)
    assert found.exit_code == 2
    assert arguments[1] in found.output


def test_the_newest_use_on_any_data_plane_counts_and_the_longest_unused_comes_first() -> None:
    rows = [
        Row("a/b", "k", "Active", NOW),
        Row("a/b", "k", "Active", NOW + 5),
        Row("a/c", "k", "Active", None),
        Row("a/b", "k", "Active", None),
        Row("a/a", "k", "Active", NOW + 1),
    ]
    assert [(row.consumer, row.last_used) for row in merged(rows)] == [
        ("a/c", None),
        ("a/a", NOW + 1),
        ("a/b", NOW + 5),
    ]


def test_keys_are_counted_by_when_they_end() -> None:
    ends = (None, NOW, NOW + 1, NOW + 86_400, NOW + 86_401, NOW + 7 * 86_400, NOW + 7 * 86_400 + 1)
    entries = [KeyEntry(f"k{at}", digest_of(f"k{at}"), not_after=end) for at, end in enumerate(ends)]
    entries += [KeyEntry("revoked", digest_of("r"), not_after=NOW, revoked=True), KeyEntry("unresolved", not_after=NOW)]
    consumer = ConsumerEntry(Source("a", "b", 1), keys=tuple(entries))
    assert keys_by_end([consumer], NOW) == {"expired": 1, "within-1d": 2, "within-7d": 2, "later": 1, "never": 1}
