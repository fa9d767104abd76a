"""How long one page callback computes, over 30 days and 10 million requests, while rows arrive.

Every view of the dashboard is computed afresh (no cache) for 24 h and for 30 d, in one process that
also appends 200 rows a second. Beside it stand bare DuckDB scans of the same rows: a plain count,
and quantiles over time by t-digest (`approx_quantile`), as a page without our log-bin counts would
ask for them.

With `--predicted` every request of the store was predicted, and demand and states of instances were
forecast (`predicted_store.py`; 7 GB).

With `--panels` the dashboard's own callbacks are timed too: the view, its figures and their JSON.
Processor time stands beside the clock's: on a busy machine it alone tells what the work costs.

Limits to reach, p95: 150 ms for 24 h, 500 ms for 30 d.

    python benchmarks/page_callback.py --cache DIR [--rows 10000000] [--rounds 20] [--views a,b]
        [--panels [--match TEXT]] [--predicted]
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import big_store
import polars as pl
import predicted_store
from dash_panels import Panels

from analysis import views
from analysis.slo_counting import good_rule
from analysis.slo_file import load_slo_file
from servescope.garbage import look_seldom, never_look_again
from store import retention, rollup, slo_rollup
from store.clock import WallClock
from store.database import Database
from store.errors import ServescopeError
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.queries.slo import source_ids
from store.settings import StoreSettings

ROWS_PER_SECOND = 200
WIDTH = 44
LIMITS_SECONDS = {"24 h": 0.150, "30 d": 0.500}
SPANS = {"24 h": timedelta(days=1), "30 d": timedelta(days=30)}
PAGES = (
    "fleet", "fleet_models", "slo_list", "slo_detail", "workload_arrivals", "workload_burstiness",
    "workload_lengths", "workload_clients", "workload_failures", "latency", "latency_phases",
    "latency_tail", "latency_drivers", "latency_stragglers", "latency_requests", "admin",
)  # fmt: skip
WHOLE_STORE = {"admin"}
"""Pages without a time range: they are about everything, as the longest range is."""
SLO = "chat-ttft"
SLOS = """
[[slo]]
name = "answers"
kind = "availability"
target_ratio = 0.99
window = "30d"

[[slo]]
name = "chat-ttft"
kind = "ttft"
threshold_seconds = 1.0
target_ratio = 0.95
window = "7d"
[slo.match]
model = "chat-70b"

[[slo]]
name = "goodput"
kind = "goodput"
ttft_seconds = 2.0
tpot_seconds = 0.05
target_ratio = 0.9
window = "30d"
"""


class Arrivals(threading.Thread):
    """Appends rows at a steady rate, in five batches a second, at the end of the data."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self._database = database
        self._over = threading.Event()
        self.rows = 0
        self.slowest_seconds = 0.0

    def run(self) -> None:
        """Append until told to stop."""
        began = time.perf_counter()
        batch = ROWS_PER_SECOND // 5
        while not self._over.wait(
            max(0.0, began + self.rows / ROWS_PER_SECOND - time.perf_counter())
        ):
            sent = time.perf_counter()
            self._database.writer.append("request", self._frame(batch)).result()
            self.slowest_seconds = max(self.slowest_seconds, time.perf_counter() - sent)
            self.rows += batch

    def stop(self) -> None:
        """Stop and wait."""
        self._over.set()
        self.join()

    def _frame(self, n: int) -> pl.DataFrame:
        numbers = range(self.rows, self.rows + n)
        at = big_store.END.replace(tzinfo=None)
        return pl.DataFrame(
            {
                "request_id": [f"{id(self)}-{time.time_ns()}-{i}" for i in numbers],
                "arrived_at": [at + timedelta(milliseconds=5 * i) for i in numbers],
                "status": ["ok"] * n,
                "model": ["chat-70b"] * n,
                "tenant": ["tenant-0"] * n,
                "route": ["conv"] * n,
                "instance": ["chat-0"] * n,
                "input_tokens": [1000] * n,
                "output_tokens": [200] * n,
                "ttft_seconds": [0.3] * n,
                "tpot_seconds": [0.03] * n,
                "e2e_seconds": [6.3] * n,
            }
        )


def scope(span: timedelta) -> Scope:
    """The last `span` of the data, the rows that arrive meanwhile included."""
    end = big_store.END + timedelta(minutes=30)
    return Scope((LIVE_SOURCE_ID,), end - span, end)


def slos() -> tuple:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "slo.toml"
        file.write_text(SLOS)
        return load_slo_file(file)


def prepare(cache: Path, rows: int, *, is_predicted: bool = False) -> Path:
    """The store, with the objectives counted as the server's job does every half minute."""
    path = (predicted_store if is_predicted else big_store).build(cache, rows)
    began = time.perf_counter()
    with Database.open(path, StoreSettings(), WallClock()) as database:
        # Rows that an earlier run added.
        database.writer.run(
            lambda con: con.execute("DELETE FROM request WHERE arrived_at >= $1", [_end()])
        ).result()
        ids = source_ids(database.reader)
        rules = [good_rule(slo, ids) for slo in slos()]
        rollup.refresh_due(database.writer, big_store.END + timedelta(days=1), most_portions=10_000)
        counted = slo_rollup.refresh_due(database.writer, rules, most_portions=10_000)
        retention.checkpoint(database.writer)
    if counted.buckets:
        seconds = time.perf_counter() - began
        print(f"# {counted.buckets:,} buckets of objectives counted in {seconds:.0f} s", flush=True)
    return path


def timed(work: Callable[[], object], rounds: int) -> tuple[list[float], float]:
    """Seconds of each round, shortest first, and the least processor seconds of one.

    The processor time holds what the whole process did meanwhile, arriving rows included.
    """
    found, busy = [], []
    for _ in range(rounds):
        began, spent = time.perf_counter(), time.process_time()
        work()
        found.append(time.perf_counter() - began)
        busy.append(time.process_time() - spent)
    return sorted(found), min(busy)


def line(name: str, span: str, measured: tuple[list[float], float], limit: float | None) -> bool:
    seconds, busy = measured
    p95 = seconds[math.ceil(len(seconds) * 0.95) - 1]  # the nearest rank
    good = limit is None or p95 <= limit
    verdict = "" if limit is None else f"limit {limit * 1e3:4.0f}  {'ok' if good else 'MISSED'}"
    print(
        f"{name:{WIDTH}} {span:5} processor {busy * 1e3:5.0f} ms"
        f"  p50 {statistics.median(seconds) * 1e3:7.0f} ms"
        f"  p95 {p95 * 1e3:7.0f} ms  {verdict}",
        flush=True,
    )
    return good


def peers(database: Database, rounds: int) -> None:
    for span, length in SPANS.items():
        asked = scope(length)
        values = {"start": asked.start.replace(tzinfo=None), "end": asked.end.replace(tzinfo=None)}
        where = "FROM request WHERE source_id = 1 AND arrived_at >= $start AND arrived_at < $end"
        width = f"time_bucket(INTERVAL {asked.bin_seconds()} SECONDS, arrived_at)"
        digest = ", ".join(f"approx_quantile(ttft_seconds, {q})" for q in (0.5, 0.95, 0.99))
        for name, sql in (
            ("bare count", f"SELECT count(*) {where}"),
            ("bare t-digest x 3", f"SELECT {width} AS b, {digest} {where} GROUP BY 1"),
        ):
            line(
                name,
                span,
                timed(partial(database.reader.frame, sql, **values), rounds),
                None,
            )


def pages(database: Database, names: list[str], rounds: int) -> bool:
    clock, definitions, good = WallClock(), slos(), True
    for name in names:
        options = {"slo": SLO} if name == "slo_detail" else {}
        for span, length in SPANS.items():
            if name in WHOLE_STORE and span != "30 d":
                continue

            def work(name=name, length=length, options=options):
                views.compute(
                    name, database.reader, scope(length), slos=definitions, clock=clock,
                    options=options,
                )  # fmt: skip

            try:
                work()
                seconds = timed(work, rounds)
            except ServescopeError as error:
                print(f"{name:{WIDTH}} {span:5} {error}", flush=True)
                good = False
                continue
            good &= line(name, span, seconds, LIMITS_SECONDS[span])
    return good


def panels(database: Database, rounds: int, match: str) -> bool:
    """The dashboard's own callbacks whose name holds `match`, each with an empty cache."""
    good = True
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "slo.toml"
        file.write_text(SLOS)
        dashboard = Panels(database, file, WallClock(), SLO)
        for span, length in SPANS.items():
            for name, ask in dashboard.requests(scope(length)):
                if match not in name:
                    continue
                ask()
                good &= line(name, span, timed(ask, rounds), LIMITS_SECONDS[span])
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the store")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--views", default=",".join(PAGES))
    parser.add_argument("--panels", action="store_true", help="time the dashboard's callbacks too")
    parser.add_argument("--match", default="", help="only panels whose name holds this")
    parser.add_argument("--quiet", action="store_true", help="no rows arrive meanwhile")
    parser.add_argument("--predicted", action="store_true", help="a store with predictions")
    given = parser.parse_args()
    path = prepare(given.cache, given.rows, is_predicted=given.predicted)
    with Database.open(path, StoreSettings(), WallClock()) as database:
        rows = database.reader.scalar("SELECT count(*) FROM request")
        print(
            f"# {rows:,} requests over {big_store.DAYS} d: Azure 2023 arrivals and lengths repeated"
        )
        print("# with shifted clocks, latencies and labels synthetic")
        peers(database, given.rounds)
        look_seldom()
        never_look_again()  # as the server has it: else all imports are looked at now and then
        arrivals = Arrivals(database)
        if not given.quiet:
            arrivals.start()
        good = pages(database, [name for name in given.views.split(",") if name], given.rounds)
        if given.panels:
            good &= panels(database, given.rounds, given.match)
        if not given.quiet:
            arrivals.stop()
            print(
                f"# {arrivals.rows:,} rows arrived, slowest batch {arrivals.slowest_seconds:.2f} s"
            )
    sys.exit(0 if good else 1)


def _end() -> datetime:
    return big_store.END.replace(tzinfo=None)


if __name__ == "__main__":
    main()
