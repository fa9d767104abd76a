"""A panel over a fleet's gauges while the fleet is being scraped, and what a sample takes on disk.

The store holds one day of 5,000 series (125 targets with 40 signals) at a sample every 15 seconds:
28.8 million samples, a third small whole numbers, a third counters, a third ratios. The panel asks
for one signal of all targets over the whole day in 288 bins (`store.queries.telemetry.gauge_bins`,
which the dashboard's pages ask through), and for comparison every sample of every series in
five-minute bins, which no page does. Meanwhile 40 scrapes a second arrive, durable.

    python benchmarks/sample_panel.py [--rounds 40] [--cache DIR]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from store.clock import WallClock
from store.database import Database
from store.queries.telemetry import gauge_bins
from store.retention import checkpoint
from store.settings import StoreSettings
from store.signals import SIGNALS

TARGETS, PER_TARGET, STEP_SECONDS = 125, 40, 15
SERIES = TARGETS * PER_TARGET
DAY = datetime(2026, 11, 19, tzinfo=UTC)
BYTES_LIMIT, PANEL_LIMIT_SECONDS = 10.0, 0.2
SIGNAL = "requests_running"
_HOUR = f"""
INSERT INTO sample
SELECT s + 1, $start + to_seconds(q * {STEP_SECONDS}) + to_microseconds(s // {PER_TARGET} * 618034 % 15000000),
  CASE s % 3 WHEN 0 THEN floor(random() * 40)
    WHEN 1 THEN epoch($start) - 1763500000 + q * 37 + floor(random() * 37)
    ELSE round(random(), 6) END
FROM range({3600 // STEP_SECONDS}) AS a(q), range({SERIES}) AS b(s) ORDER BY q, s
"""  # noqa: E501 - one expression


def build(database: Database) -> None:
    def describe(con) -> None:
        con.execute(
            f"""INSERT INTO target (target_id, url, engine, added_at)
            SELECT t, 'http://gpu-' || t || ':8000/metrics', 'vllm', TIMESTAMP '2026-11-01'
            FROM range(1, {TARGETS + 1}) AS a(t)"""
        )
        rows = pl.DataFrame(
            [
                (target * PER_TARGET + number + 1, target + 1, *_signal(number))
                for target in range(TARGETS)
                for number in range(PER_TARGET)
            ],
            schema=["series_id", "target_id", "signal", "kind", "unit", "labels"],
            orient="row",
        )
        con.register("incoming", rows.to_arrow())
        con.execute("INSERT INTO series SELECT * FROM incoming")

    database.writer.run(describe).result()
    for hour in range(24):
        start = (DAY + timedelta(hours=hour)).replace(tzinfo=None)
        database.writer.run(lambda con, at=start: con.execute(_HOUR, {"start": at})).result()
    checkpoint(database.writer)


def _signal(number: int) -> tuple[str, str, str, str]:
    if number == 0:
        return SIGNAL, "gauge", SIGNALS[SIGNAL].unit, '{"model":"m"}'
    return f"signal_{number}", "gauge", "", '{"model":"m"}'


class Ingest(threading.Thread):
    """Forty scrapes a second of 40 samples, two commits a second, as a fleet of 200 brings them."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self.database = database
        self.stop = threading.Event()
        self.rows = 0

    def run(self) -> None:
        """Append until told to stop."""
        at = self.database.reader.scalar("SELECT max(sampled_at) FROM sample")
        while not self.stop.wait(0.5):
            at += timedelta(seconds=0.5)
            targets = [1 + n % TARGETS for n in range(20)]
            frame = pl.DataFrame(
                {
                    "target_id": [t for t in targets for _ in range(PER_TARGET)],
                    "signal": [_signal(n)[0] for _ in targets for n in range(PER_TARGET)],
                    "kind": "gauge",
                    "unit": [_signal(n)[2] for _ in targets for n in range(PER_TARGET)],
                    "labels": '{"model":"m"}',
                    "sampled_at": at,
                    "value": 1.0,
                }
            )
            self.rows += self.database.writer.append("sample", frame).result()


def p95(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median and 95th percentile, in seconds, once the pages of the store are in memory."""
    took = []
    work()
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    took.sort()
    return took[len(took) // 2], took[min(len(took) - 1, round(0.95 * len(took)))]


def measure(database: Database, rounds: int) -> float:
    end, hour = DAY + timedelta(days=1), timedelta(hours=1)
    reader, span = database.reader, {"low": DAY.replace(tzinfo=None)}
    span["high"] = end.replace(tzinfo=None)
    everything = """SELECT epoch_us(sampled_at) // 300000000 AS bin, avg(value), max(value)
        FROM sample WHERE sampled_at >= $low AND sampled_at < $high GROUP BY 1"""
    ingest = Ingest(database)
    ingest.start()
    questions: dict[str, Callable[[], object]] = {
        "panel: one signal of 125 targets, one day": lambda: gauge_bins(
            reader, [SIGNAL], DAY, end, 300
        ),
        "panel: the same, last hour": lambda: gauge_bins(reader, [SIGNAL], end - hour, end, 12),
        "every sample of 5,000 series, one day": lambda: reader.frame(everything, **span),
    }
    worst = 0.0
    for number, (name, work) in enumerate(questions.items()):
        median, slow = p95(work, rounds if number < 2 else 5)
        worst = max(worst, slow if number < 2 else 0.0)
        print(f"{name:44} median {median * 1000:5.0f} ms, p95 {slow * 1000:5.0f} ms")
    ingest.stop.set()
    ingest.join()
    print(f"meanwhile {ingest.rows} samples were stored")
    return worst


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=40)
    options.add_argument("--cache", type=Path)
    told = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = (told.cache or Path(folder)) / "samples.duckdb"
        with Database.open(file, StoreSettings(), WallClock()) as database:
            if not database.reader.scalar("SELECT count(*) FROM target"):
                build(database)
        rows = 86_400 // STEP_SECONDS * SERIES
        size = file.stat().st_size / rows
        print(f"{rows:,} samples, {size:.2f} bytes a sample with all tables, limit {BYTES_LIMIT}")
        with Database.open(file, StoreSettings(), WallClock()) as database:
            worst = measure(database, told.rounds)
    print(f"panel p95 {worst * 1000:.0f} ms, limit {PANEL_LIMIT_SECONDS * 1000:.0f} ms")
    return 0 if size <= BYTES_LIMIT and worst <= PANEL_LIMIT_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
