"""The view `cost` over 100 replicas scraped every 15 s for 30 days, the period before beside it.

Each replica tells how many requests run and wait, and its card tells its power: 17 million scrapes,
52 million samples. Half of the replicas are idle half of the day. Everything is made up.

    python benchmarks/scraped_fleet.py --cache DIR [--rounds 6]
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from analysis import views
from analysis.cost_rules import CostRules
from store import sample_rollup
from store.clock import WallClock
from store.database import Database
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.retention import checkpoint
from store.settings import StoreSettings

REPLICAS, STEP_SECONDS, DAYS = 100, 15, 30
END = datetime(2026, 11, 1, tzinfo=UTC)
LIMITS_SECONDS = {6: 0.150, 24: 0.150, 168: 0.500, 720: 0.500}
"""Hours of a range to processor seconds."""
_HOUR = f"""
FROM range({3600 // STEP_SECONDS}) AS a(q), range({REPLICAS}) AS b(t)"""
_AT = f"$start + to_seconds(q * {STEP_SECONDS}) + to_microseconds(t * 141421)"
_WORKS = "(t % 2 = 0 OR hour($start) < 12) AND hash(q, t, $start) % 10 < 8"
_SCRAPES = f"""
INSERT INTO scrape (target_id, scraped_at, duration_seconds, outcome, bad_line_count)
SELECT t + 1, {_AT}, 0.01, CASE WHEN hash(t, q, $start) % 1000 = 0 THEN 'timeout' ELSE 'ok' END, 0
{_HOUR} ORDER BY q, t
"""
_SAMPLES = f"""
INSERT INTO sample
SELECT t * 3 + n + 1, {_AT},
  CASE n WHEN 0 THEN CASE WHEN {_WORKS} THEN 4.0 ELSE 0.0 END
    WHEN 1 THEN CASE WHEN {_WORKS} THEN (q % 3)::DOUBLE ELSE 0.0 END
    ELSE 300.0 + hash(q, t) % 200 END
{_HOUR}, range(3) AS c(n) ORDER BY q, t, n
"""
_TARGETS = f"""
INSERT INTO target (target_id, url, engine, model, added_at)
SELECT t + 1, 'http://gpu-' || t || ':8000/metrics', 'vllm', ['chat-70b', 'code-34b'][t % 2 + 1],
  TIMESTAMP '2026-01-01'
FROM range({REPLICAS}) AS b(t)
"""
_SERIES = f"""
INSERT INTO series
SELECT t * 3 + n + 1, t + 1, ['requests_running', 'requests_waiting', 'gpu_power_watts'][n + 1],
  'gauge', ['', '', 'W'][n + 1],
  CASE WHEN n < 2 THEN '{{}}' ELSE '{{"node":"gpu-' || t || '","gpu":"0","gpu_model":"H100"}}' END
FROM range({REPLICAS}) AS b(t), range(3) AS c(n)
"""


def build(folder: Path) -> Path:
    """The store in `folder`, made on first use; gives its path."""
    path = folder / f"scraped-{REPLICAS}-{DAYS}d.duckdb"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / "draft-scraped.duckdb"
    draft.unlink(missing_ok=True)
    began = time.perf_counter()
    with Database.open(draft, StoreSettings(), WallClock()) as database:
        for sql in (_TARGETS, _SERIES):
            database.writer.run(lambda con, sql=sql: con.execute(sql)).result()
        for hour in range(24 * DAYS):
            at = {"start": (END - timedelta(hours=24 * DAYS - hour)).replace(tzinfo=None)}
            for sql in (_SCRAPES, _SAMPLES):
                database.writer.run(lambda con, sql=sql, at=at: con.execute(sql, at)).result()
        sample_rollup.refresh_due(
            database.writer, END + timedelta(hours=1), most_portions=1_000_000
        )
        checkpoint(database.writer)
    print(f"# {24 * DAYS} hours of scrapes written in {time.perf_counter() - began:.0f} s")
    draft.rename(path)
    return path


def measure(path: Path, rounds: int) -> bool:
    """Print the least processor time of each range; whether all keep their limits."""
    good = True
    with Database.open(path, StoreSettings(), WallClock()) as database:
        for hours, limit in LIMITS_SECONDS.items():
            scope = Scope((LIVE_SOURCE_ID,), END - timedelta(hours=hours), END)
            busy = []
            for _ in range(rounds):
                spent = time.process_time()
                views.compute("cost", database.reader, scope, clock=WallClock(), costs=_RULES)
                busy.append(time.process_time() - spent)
            good &= min(busy) <= limit
            print(f"cost {hours:4} h  processor {min(busy) * 1e3:5.0f} ms  limit {limit * 1e3:.0f}")
    return good


_RULES = CostRules("EUR", {"*": 2.0})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the store")
    parser.add_argument("--rounds", type=int, default=6)
    given = parser.parse_args()
    sys.exit(0 if measure(build(given.cache), given.rounds) else 1)


if __name__ == "__main__":
    main()
