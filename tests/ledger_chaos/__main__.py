"""Runs of the shared ledger under faults, Exact and Leased in turn: `make chaos-ledger` (TIDEGATE_RUNS of each)."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import uvloop

from bench.figures import Goal, report, table
from ledger_chaos.callers import End
from ledger_chaos.run import Plan, Result, run

_HEADER = (
    *("run", "calls", "done", "left", "refused", "broken", "faults", "s", "most granted", "used tokens", "delivered"),
    *("used $", "charged by rule $", "doubtful", "usable", "settled s", "problems"),
)


def main() -> int:
    """Run it; the exit code is 1 when a run had a problem."""
    arguments = argparse.ArgumentParser(prog="ledger_chaos", description=__doc__)
    arguments.add_argument("--runs", type=int, default=int(os.environ.get("TIDEGATE_RUNS", "20")))
    arguments.add_argument("--seed", type=int, default=int(os.environ.get("TIDEGATE_SEED", "1")))
    arguments.add_argument("--accuracy", choices=("Exact", "Leased"), action="append")
    arguments.add_argument("--tell", action="store_true", help="print every problem and fault as runs end")
    options = arguments.parse_args()
    results = [
        _one(Plan(accuracy, options.seed + number), tell=options.tell)
        for number in range(options.runs)
        for accuracy in options.accuracy or ("Exact", "Leased")
    ]
    report(
        "ledger-chaos",
        tables=[table(f"{len(results)} runs", _HEADER, [row(result) for result in results])],
        goals=judge(results),
        data={"runs": [_data(result) for result in results]},
    )
    for result in results:
        for problem in result.problems[:10]:
            print(f"{_name(result)}: {problem}")
    return int(any(result.problems for result in results))


def _one(plan: Plan, *, tell: bool) -> Result:
    result = uvloop.run(run(plan))
    said = f"{_name(result)}: {result.seconds:.0f} s, {result.used[0]:,} tokens, {len(result.problems)} problems"
    print(f"  {said}", file=sys.stderr, flush=True)
    if tell:
        for second, fault in result.faults:
            print(f"    {second:5.1f} {fault}", file=sys.stderr)
        for text in (*result.problems, str(dict(result.refusals))):
            print(f"    {text}", file=sys.stderr, flush=True)
    return result


def judge(results: list[Result]) -> list[Goal]:
    """The promises."""
    problems = sum(len(result.problems) for result in results)
    goals = [
        Goal(
            f"most granted of the {unit} limit",
            f"{(most := max(result.granted[at] / result.limits[at] for result in results)):.4f}",
            "<= 1",
            most <= 1,
        )
        for at, unit in enumerate(("token", "money"))
    ]
    goals.append(Goal("contradictions in all runs", str(problems), "0", not problems))
    leased = [result.usable for result in results if result.plan.accuracy == "Leased"]
    if leased:
        goals.append(Goal("least used of the limit, Leased", f"{min(leased):.4f}", ">= 0.97", min(leased) >= 0.97))
    return goals


def row(result: Result) -> tuple[str, ...]:
    """A line of the table."""
    ends, (least, most) = result.ends, result.expected[0]
    money = result.expected[1]
    return (
        _name(result),
        f"{sum(ends.values()):,}",
        str(ends[End.FINISHED]),
        str(ends[End.LEFT]),
        str(ends[End.REFUSED]),
        str(ends[End.BROKEN]),
        str(len(result.faults)),
        f"{result.seconds:.0f}",
        f"{max(result.granted[at] / result.limits[at] for at in (0, 1)):.4f}",
        f"{result.used[0]:,}",
        _span(least, most),
        f"{result.used[1] / 1e6:.6f}",
        _span(money[0], money[1]),
        str(result.doubtful),
        f"{result.usable:.4f}",
        f"{result.settle_seconds:.1f}",
        str(len(result.problems)),
    )


def _span(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,}..+{most - least:,}"


def _name(result: Result) -> str:
    return f"{result.plan.accuracy} {result.plan.seed}"


def _data(result: Result) -> dict[str, Any]:
    return {
        "accuracy": result.plan.accuracy,
        "seed": result.plan.seed,
        "seconds": result.seconds,
        "ends": dict(result.ends),
        "refusals": dict(result.refusals),
        "faults": result.faults,
        "granted": result.granted,
        "used": result.used,
        "expected": result.expected,
        "doubtful": result.doubtful,
        "usable": result.usable,
        "settleSeconds": result.settle_seconds,
        "problems": result.problems,
    }


if __name__ == "__main__":
    sys.exit(main())
