"""`tidegate usage` as its user meets it, over logs that real data planes wrote."""

import csv
import gzip
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from msgspec.structs import replace
from typer.testing import CliRunner

from dataplane.audit_logs import record, write_file
from dataplane.factory import KEY, OTHER_KEY, bundle_of, consumer, http_backend, route, shard, target
from dataplane.planes import running
from dataplane.raw_http import chat, exchange, request
from dataplane.upstream import answer, completion, upstream
from tidegate_dataplane.audit.record import AuditRecord, AuditTarget, AuditTokens
from tidegate_dataplane.snapshot.entries import PriceEntry
from tidegate_operator.cli.register import register


def run(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, output, and what was said besides."""
    app = typer.Typer(add_completion=False)
    register(app)
    result = CliRunner().invoke(app, ["usage", *map(str, arguments)], input=stdin)
    return result.exit_code, result.stdout, result.stderr


def rows(*arguments: object) -> list[dict[str, Any]]:
    code, output, _ = run(*arguments, "--output", "json")
    assert code == 0
    found: list[dict[str, Any]] = json.loads(output)["rows"]
    return found


def used(
    time: str,
    *,
    consumer: str = "team-a/search",
    team: str = "search",
    model: str = "gpt-4o",
    tokens: tuple[int, int] = (100, 10),
    source: str = "Reported",
    cost: int | None = 1_000_000,
    outcome: str = "Served",
    overage: int = 0,
) -> AuditRecord:
    return replace(
        record(),
        time=datetime.fromisoformat(time).astimezone(UTC),
        outcome=outcome,
        consumer=consumer,
        team=team,
        route="team-a/chat",
        model="chat-fast",
        target=AuditTarget("team-a/openai", model),
        tokens=AuditTokens(*tokens, source, cached=tokens[0] // 2),
        cost=cost,
        price_source="Unknown" if cost is None else "Table",
        overage=overage,
    )


def log(path: Path, *records: AuditRecord) -> Path:
    write_file(path, records)
    return path


async def test_a_log_of_a_real_data_plane(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    own = {"gpt-4o": PriceEntry(input=2_500_000, output=10_000_000)}
    async with upstream(answer(completion(usage=(1000, 100)))) as provider:
        world = shard(
            backends=[replace(http_backend("one", provider.url), prices=own)],
            routes=[
                route(targets=(target("one", model="gpt-4o"),)),
                route("other", models=("chat-slow",), targets=(target("one", model="llama"),)),
            ],
            consumers=[consumer(), consumer("shop", key=OTHER_KEY)],
        )
        async with running(bundle_of(world), audit=path) as plane:
            for key in (KEY, KEY, OTHER_KEY, "sk-not-a-key-at-all-000000"):
                await exchange(plane, request(chat(), key=key))
            await exchange(plane, request(chat(model="chat-slow"), key=KEY))
    code, output, said = run(path, "--by", "consumer")
    assert code == 0
    assert [line.split() for line in output.splitlines()] == [
        ["CONSUMER", "REQUESTS", "REFUSED", "INPUT", "OUTPUT", "COST", "USD", "UNPRICED", "UNPRICED", "TOKENS"],
        ["-", "1", "1", "0", "0", "0.000000", "0", "0"],
        ["team-a/search", "3", "0", "3,000", "300", "0.007000", "1", "1,100"],
        ["team-a/shop", "1", "0", "1,000", "100", "0.003500", "0", "0"],
        ["total", "5", "1", "4,000", "400", "0.010500", "1", "1,100"],
    ]
    assert "without a price: 1 call;" in said
    by_team = rows(path, "--by", "team,tier,model,backend", "--filter", "outcome=Served")
    assert [(row["team"], row["tier"], row["model"], row["costUsd"]) for row in by_team] == [
        ("search", "premium", "gpt-4o", "0.010500"),
        ("search", "premium", "llama", "0.000000"),
    ]


def test_days_and_months_begin_where_the_time_zone_says(tmp_path: Path) -> None:
    path = log(
        tmp_path / "audit.jsonl",
        used("2026-03-28T22:59:59.999999+00:00"),
        used("2026-03-28T23:00:00+00:00"),  # midnight in Berlin, in winter
        used("2026-03-29T21:59:59+00:00"),
        used("2026-03-29T22:00:00+00:00"),  # midnight in Berlin, in summer
        used("2026-03-31T22:00:00+00:00"),
    )
    found = rows(path, "--by", "day", "--time-zone", "Europe/Berlin")
    assert [(row["day"], row["requests"]) for row in found] == [
        ("2026-03-28", 1),
        ("2026-03-29", 2),
        ("2026-03-30", 1),
        ("2026-04-01", 1),
    ]
    found = rows(path, "--by", "month", "--time-zone", "Europe/Berlin")
    assert [(row["month"], row["requests"]) for row in found] == [("2026-03", 4), ("2026-04", 1)]
    found = rows(path, "--by", "month")
    assert [(row["month"], row["requests"]) for row in found] == [("2026-03", 5)]
    kolkata = rows(path, "--by", "day", "--time-zone", "Asia/Kolkata")  # half an hour beside the hours of UTC
    assert [(row["day"], row["requests"]) for row in kolkata] == [
        ("2026-03-29", 2),
        ("2026-03-30", 2),
        ("2026-04-01", 1),
    ]


@pytest.mark.parametrize(
    ("arguments", "requests"),
    [
        (["--since", "2026-07-01"], 3),
        (["--since", "2026-07-02"], 2),
        (["--until", "2026-07-02"], 1),
        (["--since", "2026-07-02", "--until", "2026-07-03"], 1),
        (["--since", "2026-07-02", "--time-zone", "America/New_York"], 1),
        (["--since", "2026-07", "--until", "2026-08"], 3),
        (["--since", "2026-07-02T00:00:01Z"], 1),
        (["--since", "2026-07-02T02:00:00+02:00"], 2),
        (["--since", "1d"], 0),
    ],
)
def test_since_and_until(tmp_path: Path, arguments: Sequence[str], requests: int) -> None:
    path = log(
        tmp_path / "audit.jsonl",
        used("2026-07-01T12:00:00+00:00"),
        used("2026-07-02T00:00:00.000001+00:00"),
        used("2026-07-03T12:00:00+00:00"),
    )
    assert sum(row["requests"] for row in rows(path, *arguments)) == requests


def test_filters_of_one_group_widen_and_those_of_several_narrow(tmp_path: Path) -> None:
    noon = "2026-07-01T12:00:00+00:00"
    path = log(
        tmp_path / "audit.jsonl",
        used(noon, team="search", model="gpt-4o"),
        used(noon, team="search", model="gpt-4o-mini"),
        used(noon, team="shop", model="llama"),
        used(noon, team="ops", consumer="team-b/ops", model="gpt-4o"),
    )

    def teams(*filters: str) -> list[str]:
        flags = [part for each in filters for part in ("--filter", each)]
        return [row["team"] for row in rows(path, "--by", "team", *flags)]

    assert teams("team=search", "team=shop") == ["search", "shop"]
    assert teams("team=search", "model=llama") == []
    assert teams("model=gpt-*") == ["ops", "search"]
    assert teams("namespace=team-b") == ["ops"]


def test_tokens_that_no_provider_reported_and_calls_without_a_price_are_told_apart(tmp_path: Path) -> None:
    noon = "2026-07-01T12:00:00+00:00"
    path = log(
        tmp_path / "audit.jsonl",
        used(noon),
        used(noon, source="Counted", tokens=(7, 3)),
        used(noon, source="Estimated", tokens=(70, 30)),
        used(noon, cost=None, tokens=(500, 5)),
        used(noon, overage=2_500_000),
    )
    (row,) = rows(path)
    assert row == {
        "requests": 5,
        "refused": 0,
        "input": 777,
        "output": 58,
        "cached": 388,
        "counted": 10,
        "estimated": 100,
        "costUsd": "4.000000",
        "overageUsd": "2.500000",
        "unpriced": 1,
        "unpricedTokens": 505,
    }


def test_nobody_reads_a_price_that_is_not_known_as_nothing(tmp_path: Path) -> None:
    noon = "2026-07-01T12:00:00+00:00"
    path = log(tmp_path / "audit.jsonl", used(noon, model="x", cost=None), used(noon, model="free", cost=0))
    code, output, _ = run(path, "--by", "model")
    assert code == 0
    told = {line.split()[0]: line.split() for line in output.splitlines()}
    assert "unknown" in told["x"]
    assert "unknown" not in told["free"]
    assert "unknown" in told["total"]


def test_dollars_are_exact_where_floats_are_not(tmp_path: Path) -> None:
    noon = "2026-07-01T12:00:00+00:00"
    path = log(tmp_path / "audit.jsonl", *(used(noon, cost=cost) for cost in (9_007_199_254_740_993, 1, 100_000)))
    assert rows(path)[0]["costUsd"] == "9007199254.840994"


def test_csv_is_for_spreadsheets_and_never_a_formula(tmp_path: Path) -> None:
    noon = "2026-07-01T12:00:00+00:00"
    path = log(tmp_path / "audit.jsonl", used(noon, model='=HYPERLINK("http://x","y")'), used(noon, model="a,b"))
    code, output, _ = run(path, "--by", "model", "--output", "csv")
    assert code == 0
    header, *found = list(csv.reader(io.StringIO(output)))
    assert header[:3] == ["model", "requests", "refused"]
    assert [row[0] for row in found] == ['\'=HYPERLINK("http://x","y")', "a,b"]


def test_a_table_lets_nothing_move_the_cursor(tmp_path: Path) -> None:
    path = log(tmp_path / "audit.jsonl", used("2026-07-01T12:00:00+00:00", model="x\x1b[2J\u202ey"))
    code, output, _ = run(path, "--by", "model")
    assert code == 0
    assert "\x1b" not in output
    assert "\u202e" not in output


def test_lines_that_cannot_be_counted_are_told_by_number_and_cost_nothing_but_strictness(tmp_path: Path) -> None:
    path = log(tmp_path / "audit.jsonl", *(used(f"2026-07-0{day}T12:00:00+00:00") for day in (1, 2, 3)))
    whole = path.read_bytes().splitlines(keepends=True)
    whole[2] = whole[2].replace(b'"tokens"', b'"tokens":')
    whole.insert(3, b"INFO a line of some program\n")
    whole.insert(4, b"x" * 3_000_000 + b"\n")
    whole.insert(5, b'{"v":2,"time":"2026-07-01T12:00:00Z"}\n')
    whole.insert(6, b'{"v":1,"time":"yesterday"}\n')
    whole.insert(7, b"\n")
    path.write_bytes(b"".join(whole) + b'{"v":1,"seq":99,"ti')
    code, output, said = run(path, "--output", "json")
    assert code == 0
    assert json.loads(output)["total"]["requests"] == 2
    assert json.loads(output)["notCounted"] == 6
    assert said.splitlines() == [
        f"{path}:3: is broken",
        f"{path}:4: is no line of an audit log",
        f"{path}:5: is longer than 1048576 bytes, so it is no line of an audit log",
        f"{path}:6: has version 2, this program reads version 1: update it",
        f"{path}:7: has no time in UTC",
        f"{path}:11: is not complete",
        "not counted: 6 lines",
    ]
    assert run(path, "--strict")[0] == 1


def test_many_faults_are_counted_and_the_first_told(tmp_path: Path) -> None:
    path = tmp_path / "other.log"
    path.write_text("something else\n" * 1000)
    code, _, said = run(path)
    assert code == 0
    assert said.splitlines()[-1] == "not counted: 1000 lines"
    assert len(said.splitlines()) == 11


def test_rotated_files_compressed_ones_and_standard_input(tmp_path: Path) -> None:
    path = log(tmp_path / "audit.jsonl", used("2026-07-03T12:00:00+00:00"))
    log(tmp_path / "audit.jsonl.1", used("2026-07-02T12:00:00+00:00"))
    oldest = log(tmp_path / "oldest", used("2026-07-01T12:00:00+00:00"))
    (tmp_path / "audit.jsonl.2.gz").write_bytes(gzip.compress(oldest.read_bytes()))
    log(tmp_path / "audit.jsonl.bak", used("2026-06-01T12:00:00+00:00"))
    assert [row["day"] for row in rows(path, "--by", "day")] == ["2026-07-03"]
    days = ["2026-07-01", "2026-07-02", "2026-07-03"]
    assert [row["day"] for row in rows(path, "--by", "day", "--rotated")] == days
    named_twice = rows(path, f"{path}.1", path, "--by", "day", "--rotated")
    assert [(row["day"], row["requests"]) for row in named_twice] == [(day, 1) for day in days]
    code, output, _ = run("-", "--output", "json", stdin=path.read_bytes())
    assert code == 0
    assert json.loads(output)["total"]["requests"] == 1


def test_a_compressed_file_that_is_cut_counts_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = log(tmp_path / "audit.jsonl", *(used("2026-07-01T12:00:00+00:00") for _ in range(2000)))
    cut = tmp_path / "cut.gz"
    data = gzip.compress(whole.read_bytes())
    cut.write_bytes(data[: len(data) // 2])
    code, output, said = run(cut, "--output", "json")
    assert code == 0
    assert 0 < json.loads(output)["total"]["requests"] < 2000
    assert "cannot be decompressed from here on" in said
    assert run(cut, "--strict")[0] == 1


def test_records_that_were_lost_are_told(tmp_path: Path) -> None:
    path = log(tmp_path / "audit.jsonl", used("2026-07-01T12:00:00+00:00"))
    with path.open("a") as file:
        file.write('{"v":1,"seq":9,"event":"Lost","time":"2026-07-01T12:00:01Z","records":17,"chain":""}\n')
    code, _, said = run(path)
    assert code == 0
    assert "not there: 17 records that the data plane could not write" in said
    assert run(path, "--strict")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--by", "teams"], "there is no group 'teams'; there are consumer, team"),
        (["--filter", "team"], "--filter 'team' is not GROUP=VALUE"),
        (["--filter", "teams=x"], "there is no group 'teams'"),
        (["--since", "soon"], "'soon' is no time: write a month (2026-07)"),
        (["--since", "2026-13"], "is no time"),
        (["--since", "2026-02-30"], "is no time"),
        (["--since", "2026-07-02", "--until", "2026-07-01"], "--since must be before --until"),
        (["--time-zone", "Berlin"], "'Berlin' is no IANA time zone"),
        (["--time-zone", "../../etc/passwd"], "is no IANA time zone"),
    ],
)
def test_arguments_that_cannot_be_used(tmp_path: Path, arguments: Sequence[str], message: str) -> None:
    code, _, said = run(log(tmp_path / "audit.jsonl"), *arguments)
    assert code == 2
    assert message in said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    code, _, said = run(tmp_path / "nothing.jsonl")
    assert code == 2
    assert "nothing.jsonl: No such file or directory" in said


def test_groups_that_callers_make_up_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate_operator.usage.tally.MAX_GROUPS", 3)
    monkeypatch.setattr("tidegate_operator.cli.usage.MAX_GROUPS", 3)
    noon = "2026-07-01T12:00:00+00:00"
    path = log(tmp_path / "audit.jsonl", *(used(noon, model=f"m{number}") for number in range(5)))
    found = rows(path, "--by", "model")
    assert [(row["model"], row["requests"]) for row in found] == [("(other)", 2), ("m0", 1), ("m1", 1), ("m2", 1)]
    assert "the rest is added up as (other)" in run(path, "--by", "model")[2]
