"""Build the store that the page benchmarks read: 30 days, 10 million requests.

Arrivals and lengths are the packaged Azure 2023 traces (CC-BY-4.0, servescope/data), repeated with
shifted clocks: a copy of the conversation hour, then one of the code hour, and so on. Latencies,
tenants, instances and failures are synthetic. Nothing measured on this store says anything about
Azure's service; it is only as large and as mixed as a real fleet's.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

from store.clock import WallClock
from store.database import Database
from store.retention import checkpoint
from store.rollup import refresh_due
from store.settings import StoreSettings

DAYS = 30
END = datetime(2026, 11, 1, tzinfo=UTC)
TRACE_ROWS = 28_185
PORTION_COPIES = 10

_TRACE = """
CREATE OR REPLACE TEMP TABLE trace AS
SELECT part, row_number() OVER (PARTITION BY part ORDER BY stamp) AS number,
  stamp - min(stamp) OVER (PARTITION BY part) AS offset_time, input_tokens, output_tokens
FROM (
  SELECT 0 AS part, TIMESTAMP AS stamp, ContextTokens AS input_tokens,
    GeneratedTokens AS output_tokens
  FROM read_csv('{conv}', types = {{'TIMESTAMP': 'TIMESTAMP'}})
  UNION ALL
  SELECT 1, TIMESTAMP, ContextTokens, GeneratedTokens
  FROM read_csv('{code}', types = {{'TIMESTAMP': 'TIMESTAMP'}}))
"""
_LABELS = """
INSERT INTO request_labels (labels_id, tenant, model, route, instance, slo_class, finish_reason)
SELECT 1 + part * 32 + tenant * 4 + instance, 'tenant-' || tenant,
  ['chat-70b', 'code-34b'][part + 1], ['conv', 'code'][part + 1],
  ['chat', 'code'][part + 1] || '-' || instance, NULL, NULL
FROM range(2) AS a(part), range(8) AS b(tenant), range(4) AS c(instance)
"""
# Eight tenants with a long tail; latencies are lognormal round a prefill and decode speed.
_PORTION = """
INSERT INTO request (request_key, source_id, arrived_at, status, labels_id, input_tokens,
  output_tokens, ttft_seconds, tpot_seconds, e2e_seconds, queue_seconds)
WITH copied AS (
  SELECT copy, t.*, hash(copy, part, number) AS key,
    $start + to_microseconds(((2 * copy + part) * $stride_us)::BIGINT) + offset_time AS arrived_at
  FROM trace AS t, range($first, $last) AS c(copy)
), noisy AS (
  SELECT *, (key % 10007) / 10007.0 AS u, (key // 10007 % 10007) / 10007.0 AS v,
    0.04 * exp(0.8 * (((key // 100140049) % 1000) / 500.0 - 1)) AS queue
  FROM copied
)
SELECT key, 1, arrived_at,
  CASE WHEN u < 0.01 THEN 'failed' WHEN u < 0.015 THEN 'aborted' ELSE 'ok' END::request_status,
  1 + part * 32 + least(7, floor(-log2(1 - v)))::INTEGER * 4 + (key % 4)::INTEGER,
  input_tokens, CASE WHEN u < 0.01 THEN 0 ELSE output_tokens END,
  CASE WHEN u < 0.01 THEN NULL ELSE queue + 0.05 + input_tokens / 9000.0 * (0.7 + 0.9 * v) END,
  CASE WHEN u < 0.01 OR output_tokens < 2 THEN NULL ELSE 0.02 + 0.03 * v END,
  CASE WHEN u < 0.01 THEN NULL ELSE
    queue + 0.05 + input_tokens / 9000.0 * (0.7 + 0.9 * v) + output_tokens * (0.02 + 0.03 * v) END,
  queue
FROM noisy ORDER BY arrived_at
"""


def build(folder: Path, rows: int, days: int = DAYS, end: datetime = END) -> Path:
    """The store in `folder`, made on first use; gives its path.

    Args:
        folder: where it is kept.
        rows: requests, about.
        days: over which they come.
        end: when the last of them came, about.
    """
    over = "" if days == DAYS else f"-{days}d"
    path = folder / f"requests-{rows}{over}.duckdb"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"draft-{rows}{over}.duckdb"
    draft.unlink(missing_ok=True)
    began = time.perf_counter()
    with Database.open(draft, StoreSettings(), WallClock(), allow_files=True) as database:
        _fill(database, rows, end - timedelta(days=days), end)
        print(f"# {rows:,} rows written in {time.perf_counter() - began:.0f} s", flush=True)
        began = time.perf_counter()
        while refresh_due(database.writer, end + timedelta(days=1)).buckets_left:
            pass
        print(f"# rolled up in {time.perf_counter() - began:.0f} s", flush=True)
        checkpoint(database.writer)
    draft.rename(path)
    return path


def _fill(database: Database, rows: int, start: datetime, end: datetime) -> None:
    copies = max(1, round(rows / TRACE_ROWS))
    stride_us = (end - start) / timedelta(microseconds=2 * copies)
    data = resources.files("servescope") / "data"
    files = {name: str(data / f"AzureLLMInferenceTrace_{name}.csv.gz") for name in ("conv", "code")}

    def prepare(connection):
        connection.execute(_TRACE.format(**files))
        connection.execute(_LABELS)

    database.writer.run(prepare).result()
    for first in range(0, copies, PORTION_COPIES):
        values = {
            "first": first,
            "last": min(copies, first + PORTION_COPIES),
            "start": start.replace(tzinfo=None),
            "stride_us": stride_us,
        }
        database.writer.run(lambda con, values=values: con.execute(_PORTION, values)).result()
    database.writer.run(_mark_all).result()


def _mark_all(connection):
    connection.execute(
        """INSERT OR IGNORE INTO rollup_dirty
        SELECT DISTINCT source_id, time_bucket(INTERVAL 10 MINUTES, arrived_at) FROM request"""
    )
