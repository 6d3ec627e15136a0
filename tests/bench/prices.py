"""What prices cost: tables in the snapshot, a lookup and a charge for each call, and adding up a log.

Run: make bench-prices. Microseconds and lines a second are of processor time on one core.
"""

import argparse
import gzip
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from bench.audit import record
from tidegate_dataplane.audit.sink import FileSink
from tidegate_dataplane.audit.writer import AuditWriter
from tidegate_dataplane.metrics import Metrics
from tidegate_dataplane.pricing.lookup import NO_PRICES, Table, gathered
from tidegate_dataplane.pricing.price import bound, cost
from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.proxy.charging import charge_of
from tidegate_dataplane.proxy.exchange import Exchange
from tidegate_dataplane.runtime import Target
from tidegate_dataplane.runtime.objects import Backend
from tidegate_dataplane.snapshot.entries import BackendEntry, PriceTable, Provider, Source
from tidegate_operator.compile.prices import price_tables
from tidegate_operator.usage.lines import read_lines
from tidegate_operator.usage.period import Period
from tidegate_operator.usage.tally import Tally

ROUNDS, CALLS = 7, 50_000


async def _nowhere(message: object) -> None:
    """Where the answers of a benchmark go."""


def micros(once: Callable[[], object], calls: int = CALLS) -> float:
    """The least of several rounds."""

    def measured() -> float:
        began = time.process_time()
        for _ in range(calls):
            once()
        return (time.process_time() - began) / calls * 1e6

    return min(measured() for _ in range(ROUNDS))


def tables() -> tuple[PriceTable, ...]:
    began = time.process_time()
    found = price_tables(Provider)
    print(f"operator, once in a process: {time.process_time() - began:.2f} s for {len(found)} tables")
    for table in found:
        text = msgspec.json.encode(table, order="deterministic")
        packed = len(gzip.compress(text, compresslevel=6, mtime=0))
        ready = micros(lambda table=table: Table(table), 5) / 1000  # type: ignore[misc]
        print(
            f"{table.provider}: {len(table.models)} names, {len(text):,} bytes of JSON, {packed:,} in the snapshot, "
            f"made ready in {ready:.1f} ms at a reload"
        )
    return found


def calls(found: tuple[PriceTable, ...]) -> None:
    entry = BackendEntry(source=Source("team-a", "openai", 1), provider=Provider.OPEN_AI)
    backend = Backend(entry.source.key, entry)
    prices, metrics = gathered(NO_PRICES, found), Metrics()
    plain, tiered = prices.of(backend, "gpt-4o-mini"), prices.of(backend, "gpt-5.5")
    if plain is None or tiered is None:
        raise SystemExit("the table lacks the models of this benchmark: choose others")
    simple, parts = Usage(523, 121), Usage(523, 121, cached=400, reasoning=60)
    exchange = Exchange({"headers": [], "path": "/v1/chat/completions"}, _nowhere)
    exchange.prices, exchange.target, exchange.tokens = prices, Target(backend, "gpt-4o-mini", 1, 0), parts

    def close() -> None:
        charge = charge_of(exchange)
        if charge is not None and charge.cost is not None:
            metrics.cost.add(("team-a/chat", backend.key, charge.source), charge.cost)

    print(f"lookup {micros(lambda: prices.of(backend, 'gpt-4o-mini')):.2f} µs")
    print(f"cost {micros(lambda: cost(plain, simple)):.2f} µs, of parts {micros(lambda: cost(tiered, parts)):.2f} µs")
    of_steps = micros(lambda: bound(tiered, 523, 1024))
    print(f"bound {micros(lambda: bound(plain, 523, 1024)):.2f} µs, of steps {of_steps:.2f} µs")
    print(f"a call, after its answer: charge and metric {micros(close):.2f} µs")
    line = record()
    priced = replace(
        line, team="search", tier="premium", cost=124, price_source="Table", price_table="0123456789abcdef"
    )
    encode = msgspec.json.Encoder().encode
    more = micros(lambda: encode(priced)) - micros(lambda: encode(line))
    print(f"a call, in the thread of the audit log: {more:.2f} µs and {len(encode(priced)) - len(encode(line))} bytes")


def usage(lines: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        writer = AuditWriter(FileSink(path))
        began, written = 1_800_000_000, 0
        while written < lines:
            writer.write(
                [
                    replace(
                        record(),
                        time=datetime.fromtimestamp(began + number, UTC),
                        consumer=f"team-{number % 20}/app-{number % 1_000}",
                        cost=124,
                        price_source="Table",
                    )
                    for number in range(written, min(written + 1_000, lines))
                ]
            )
            written += 1_000
        writer.close()
        tally = Tally(["consumer", "day"], {}, Period(UTC, None, None))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        read_lines([path], tally.add, print)
        took = time.process_time() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(
            f"usage: {tally.total.requests:,} lines, {path.stat().st_size / 1e6:.0f} MB, {len(tally.groups):,} groups: "
            f"{took:.1f} s, {lines / took:,.0f} lines a second, {grown:.1f} MB more memory"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=300_000, help="how many lines of an audit log are added up")
    options = parser.parse_args()
    calls(tables())
    usage(options.lines)


if __name__ == "__main__":
    main()
