"""Panels over a fleet's series while it is being scraped, and what a sample takes on disk.

The store holds one day of 125 targets at a scrape every 15 seconds: 5,000 series of gauges (half of
them small whole numbers, half ratios), 5,000 of counters and 375 histograms of 20 buckets. The main
panel sums up all 5,000 gauges over the whole day in 288 bins. Each panel is asked from the samples
alone and as pages ask, which takes the five-minute roll-ups (`store.sample_rollup`), in turn, once
with nothing in memory and then warm. Meanwhile 1,000 samples a second arrive, durable.

    python benchmarks/sample_panel.py [--rounds 40] [--cache DIR]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from store import sample_rollup
from store.clock import WallClock
from store.database import Database
from store.queries import counters, telemetry
from store.queries.sample_split import Use
from store.retention import checkpoint
from store.settings import StoreSettings

TARGETS, GAUGES, COUNTERS, HISTOGRAMS, STEP_SECONDS = 125, 40, 40, 3, 15
PER_TARGET = GAUGES + COUNTERS
SCRAPES = 86_400 // STEP_SECONDS
DAY = datetime(2026, 11, 19, tzinfo=UTC)
END = DAY + timedelta(days=1)
BYTES_LIMIT, PANEL_LIMIT_SECONDS = 10.0, 0.2
# A histogram of 20 edges is shown as 21 buckets, a sum and a count.
SHOWN_OF_HISTOGRAM = 23
EDGES = [0.001 * 1.7**n for n in range(20)]
_AT = f"$start + to_seconds(q * {STEP_SECONDS}) + to_microseconds(t * 618034 % 15000000)"
_SAMPLES = f"""
INSERT INTO sample
SELECT t * {PER_TARGET} + n + 1, {_AT},
  CASE WHEN n < {GAUGES // 2} THEN floor(random() * 40) WHEN n < {GAUGES} THEN round(random(), 6)
    ELSE (epoch($start) - $zero + q * {STEP_SECONDS}) * (1 + n % 7) + floor(random() * 10) END
FROM range({3600 // STEP_SECONDS}) AS a(q), range({TARGETS}) AS b(t), range({PER_TARGET}) AS c(n)
ORDER BY q, t, n
"""
_HISTOGRAMS = f"""
INSERT INTO histogram_sample
SELECT {TARGETS * PER_TARGET} + t * {HISTOGRAMS} + n + 1, {_AT}, 20.0 * seen, seen * 1.234, $edges,
  list_transform(range(1, 21), lambda i: (seen * i + t % 7)::DOUBLE)
FROM (SELECT *, floor((epoch($start) - $zero) / {STEP_SECONDS} + q) * (2 + n) AS seen
  FROM range({3600 // STEP_SECONDS}) AS a(q), range({TARGETS}) AS b(t), range({HISTOGRAMS}) AS c(n))
ORDER BY q, t, n
"""


def signals(kind: str, first: int, number: int) -> list[str]:
    """Names of signals of a target, by place."""
    return [f"{kind}_{place}" for place in range(first, first + number)]


ALL_GAUGES = signals("gauge", 0, GAUGES)
ALL_COUNTERS = signals("counter", GAUGES, COUNTERS)


def describe(con) -> None:
    con.execute(
        f"""INSERT INTO target (target_id, url, engine, added_at)
        SELECT t, 'http://gpu-' || t || ':8000/metrics', 'vllm', TIMESTAMP '2026-11-01'
        FROM range(1, {TARGETS + 1}) AS a(t)"""
    )
    con.execute(
        f"""INSERT INTO series
        SELECT t * {PER_TARGET} + n + 1, t + 1, kind || '_' || n, kind, '', '{{"model":"m"}}'
        FROM (SELECT *, CASE WHEN n < {GAUGES} THEN 'gauge' ELSE 'counter' END AS kind
          FROM range({TARGETS}) AS b(t), range({PER_TARGET}) AS c(n))
        UNION ALL
        SELECT {TARGETS * PER_TARGET} + t * {HISTOGRAMS} + n + 1, t + 1, 'histogram_' || n,
          'histogram', 's', '{{"model":"m"}}'
        FROM range({TARGETS}) AS b(t), range({HISTOGRAMS}) AS c(n)"""
    )


def fill(database: Database, sql: str, **more: object) -> None:
    """One day, an hour a transaction."""
    told = {"zero": DAY.timestamp() - 1000.0, **more}
    for hour in range(24):
        start = (DAY + timedelta(hours=hour)).replace(tzinfo=None)
        database.writer.run(lambda con, at=start: con.execute(sql, {"start": at, **told})).result()


def build(file: Path) -> list[int]:
    """Fill the store; sizes of the file with samples, with histograms, with roll-ups."""
    sizes: list[int] = []
    with Database.open(file, StoreSettings(), WallClock()) as database:
        database.writer.run(describe).result()
        fill(database, _SAMPLES)
        checkpoint(database.writer)
        sizes.append(file.stat().st_size)
        fill(database, _HISTOGRAMS, edges=EDGES)
        checkpoint(database.writer)
        sizes.append(file.stat().st_size)
        began, cpu = time.perf_counter(), time.process_time()
        done = sample_rollup.refresh_due(
            database.writer, END + timedelta(hours=1), most_portions=10_000
        )
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(f"rolling up the day: {done.buckets} buckets, {took:.1f} s, processor {cpu:.1f} s")
        checkpoint(database.writer)
    sizes.append(file.stat().st_size)
    return sizes


def bytes_a_sample(sizes: list[int]) -> float:
    """Print what a sample takes; gives the bytes on disk for each that a target showed."""
    plain = SCRAPES * TARGETS * PER_TARGET
    points = SCRAPES * TARGETS * HISTOGRAMS
    own, with_histograms, whole = sizes
    shown = plain + points * SHOWN_OF_HISTOGRAM
    print(
        f"{plain:,} samples at {own / plain:.2f} bytes; {points:,} histograms at"
        f" {(with_histograms - own) / points:.0f} bytes, {SHOWN_OF_HISTOGRAM} samples each;"
        f" roll-ups add {(whole - with_histograms) / with_histograms:.1%}"
    )
    rows = plain + points
    print(
        f"with all tables {whole / shown:.2f} bytes a sample shown, {whole / rows:.2f} a row kept"
    )
    return whole / shown


class Ingest(threading.Thread):
    """A thousand samples a second, two commits a second."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self.database = database
        self.stop = threading.Event()
        self.rows = 0

    def run(self) -> None:
        """Append until told to stop."""
        at = self.database.reader.scalar("SELECT max(sampled_at) FROM sample")
        pairs = [(t, name) for t in range(1, 13) for name in ALL_GAUGES] + [
            (13, name) for name in ALL_GAUGES[:20]
        ]
        while not self.stop.wait(0.5):
            at += timedelta(seconds=0.5)
            frame = pl.DataFrame(
                {
                    "target_id": [target for target, _ in pairs],
                    "signal": [name for _, name in pairs],
                    "kind": "gauge",
                    "unit": "",
                    "labels": '{"model":"m"}',
                    "sampled_at": at,
                    "value": 1.0,
                }
            )
            self.rows += self.database.writer.append("sample", frame).result()


@dataclass(frozen=True)
class Panel:
    """A question, and how often it is asked of samples alone."""

    name: str
    ask: Callable[[Database, Use], object]
    raw_rounds: int = 5


def lines(database: Database, use: Use) -> object:
    return telemetry.gauge_lines(database.reader, ALL_GAUGES, DAY, END, 300, use=use)


def coarse_lines(database: Database, use: Use) -> object:
    return telemetry.gauge_lines(database.reader, ALL_GAUGES, DAY, END, 900, use=use)


def bins(database: Database, use: Use) -> object:
    return telemetry.gauge_bins(database.reader, ALL_GAUGES[:1], DAY, END, 300, use=use)


def last_hour(database: Database, use: Use) -> object:
    start = END - timedelta(hours=1)
    return telemetry.gauge_bins(database.reader, ALL_GAUGES[:1], start, END, 12, use=use)


def rates(names: list[str]) -> Callable[[Database, Use], object]:
    def ask(database: Database, use: Use) -> object:
        return counters.counter_lines(database.reader, names, DAY, END, 900, use=use)

    return ask


def histograms(database: Database, use: Use) -> object:
    return telemetry.histogram_points(database.reader, ["histogram_0"], DAY, END, 900, use=use)


PANELS = (
    Panel("5,000 gauges summed up, one day, 288 bins", lines),
    Panel("5,000 gauges summed up, one day, 96 bins", coarse_lines),
    Panel("one gauge of 125 targets, one day, 288 bins", bins),
    Panel("one gauge of 125 targets, last hour", last_hour),
    Panel("rates of 500 counters, one day, 96 bins", rates(ALL_COUNTERS[:4])),
    Panel("125 histograms, one day, 96 bins", histograms),
    Panel("rates of 5,000 counters, one day, 96 bins", rates(ALL_COUNTERS), raw_rounds=2),
)


def measure(file: Path, rounds: int) -> float:
    """Print what each panel takes; gives the largest 95th percentile."""
    worst = 0.0
    print(f"{'milliseconds (processor)':46} {'samples':>13} {'cold':>6} {'median':>13} {'p95':>6}")
    for panel in PANELS:
        cold, rolled, raw = asked(file, panel, rounds)
        slow = sorted(wall for wall, _ in rolled)[min(rounds - 1, round(0.95 * rounds))]
        worst = max(worst, slow)
        print(f"{panel.name:46} {median(raw):>13} {cold * 1000:6.0f} {median(rolled):>13}"
              f" {slow * 1000:6.0f}")  # fmt: skip
    return worst


Times = list[tuple[float, float]]


def asked(file: Path, panel: Panel, rounds: int) -> tuple[float, Times, Times]:
    """Seconds of the first question, times of the warm ones, times of samples alone."""
    forget(file)
    with Database.open(file, StoreSettings(), WallClock()) as database:
        ingest = Ingest(database)
        ingest.start()
        ((cold, _),) = timed(lambda: panel.ask(database, "auto"), 1)
        rolled = timed(lambda: panel.ask(database, "auto"), rounds)
        raw = timed(lambda: panel.ask(database, "raw"), panel.raw_rounds)
        ingest.stop.set()
        ingest.join()
    return cold, rolled, raw


def forget(file: Path) -> None:
    """Let the system drop the file's pages: the next question reads the disk."""
    with file.open("rb") as handle:
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(work: Callable[[], object], rounds: int) -> Times:
    """Seconds and processor seconds (those of what arrives included) of each round."""
    found = []
    for _ in range(rounds):
        began, cpu = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - began, time.process_time() - cpu))
    return found


def median(found: Times) -> str:
    if not found:
        return "not asked"
    wall, cpu = (sorted(each)[len(found) // 2] * 1000 for each in zip(*found, strict=True))
    return f"{wall:.0f} ({cpu:.0f})"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=40)
    options.add_argument("--cache", type=Path)
    told = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = (told.cache or Path(folder)) / "sample_panels.duckdb"
        size = bytes_a_sample(build(file)) if not file.exists() else None
        print(f"load average {os.getloadavg()[0]:.1f}")
        worst = measure(file, told.rounds)
    print(f"panel p95 {worst * 1000:.0f} ms, limit {PANEL_LIMIT_SECONDS * 1000:.0f} ms")
    if size is not None:
        print(f"{size:.2f} bytes a sample shown, limit {BYTES_LIMIT}")
    return 0 if (size or 0.0) <= BYTES_LIMIT and worst <= PANEL_LIMIT_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
