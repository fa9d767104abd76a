"""What ran and what it was used for: instances over time, pools as they were seen, tokens served.

Bins count from 1970-01-01. Times are naive UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from store.queries.control_marks import LONGEST_STEPS
from store.queries.scope import IS_COUNTED, Scope
from store.queries.slo import naive_utc
from store.queries.token_cost import Cost
from store.queries.workload import FrameReader, where
from store.reader import Reader
from store.rolled_buckets import BUCKET_SECONDS

LOAD = ("requests_running", "requests_waiting")
EXACT_SECONDS = 86_400.0
"""Up to a range of so long every scrape is looked at; in longer ones whole roll-up buckets."""

SCRAPED = """
WITH counted AS (
  SELECT target_id, epoch_us(scraped_at) // $width AS bin, count(*) AS scrapes,
    (epoch_us(max(scraped_at)) - epoch_us(min(scraped_at))) / 1e6 AS between_seconds
  FROM scrape WHERE outcome = 'ok' AND scraped_at >= $start AND scraped_at < $end GROUP BY ALL)
SELECT t.target_id, t.url, t.engine, t.model, t.labels::VARCHAR AS labels,
  make_timestamp(c.bin * $width) AS "at", c.scrapes, c.between_seconds
FROM counted AS c JOIN target AS t USING (target_id) ORDER BY t.target_id, "at"
"""
_CHOSEN = """chosen AS (
  SELECT series_id, target_id FROM series
  WHERE list_contains($signals, signal) AND kind = 'gauge')"""
_BUSY_RAW = f"""
WITH {_CHOSEN},
loaded AS (
  SELECT c.target_id, p.sampled_at, sum(p.value) > 0 AS busy
  FROM sample AS p JOIN chosen AS c USING (series_id)
  WHERE p.sampled_at >= $start AND p.sampled_at < $end GROUP BY ALL)
SELECT target_id, make_timestamp(epoch_us(sampled_at) // $width * $width) AS "at",
  avg(busy::DOUBLE) AS busy_ratio
FROM loaded GROUP BY ALL
"""
_BUSY_ROLLED = f"""
WITH {_CHOSEN},
state AS (SELECT coalesce(max(rolled_until), TIMESTAMP '1970-01-01') AS rolled_until
  FROM rollup_sample_state),
loaded AS (
  SELECT c.target_id, p.bucket_at, max(p.value_max) > 0 AS busy
  FROM rollup_gauge AS p JOIN chosen AS c USING (series_id), state
  WHERE p.bucket_at >= $start AND p.bucket_at < least($end, rolled_until) GROUP BY ALL
  UNION ALL
  SELECT c.target_id, time_bucket(INTERVAL {BUCKET_SECONDS} SECONDS, p.sampled_at), max(p.value) > 0
  FROM sample AS p JOIN chosen AS c USING (series_id), state
  WHERE p.sampled_at >= greatest($start, rolled_until) AND p.sampled_at < $end GROUP BY ALL)
SELECT target_id, make_timestamp(epoch_us(bucket_at) // $width * $width) AS "at",
  avg(busy::DOUBLE) AS busy_ratio
FROM loaded GROUP BY ALL
"""
# As in `control_marks`: a step counts until the next one, but not longer than five usual steps.
_STEPS = f"""
WITH steps AS (
  SELECT pool, decided_at, ready, starting, draining,
    epoch(lead(decided_at) OVER (PARTITION BY pool ORDER BY decision_id) - decided_at) AS seconds
  FROM decision WHERE decided_at >= $start AND decided_at < $end AND observation_id IS NOT NULL),
usual AS (SELECT pool, median(seconds) AS seconds FROM steps GROUP BY pool),
timed AS (
  SELECT s.*, least(coalesce(s.seconds, u.seconds, 0), {LONGEST_STEPS} * coalesce(u.seconds, 0))
    AS counted
  FROM steps AS s JOIN usual AS u USING (pool))
SELECT pool, make_timestamp(epoch_us(decided_at) // $width * $width) AS "at",
  sum(counted * starting)::DOUBLE AS starting_seconds,
  sum(counted * draining)::DOUBLE AS draining_seconds
FROM timed GROUP BY ALL ORDER BY pool, "at"
"""


def scraped(reader: Reader, start: datetime, end: datetime, width_seconds: int) -> pl.DataFrame:
    """Scrapes that worked, by target and bin; targets that are no longer watched, too.

    Columns: target_id, url, engine, model, labels (JSON text), at, scrapes, between_seconds (from
    the first to the last of the bin).
    """
    return reader.frame(SCRAPED, **_range(start, end, width_seconds))


def busy(reader: Reader, start: datetime, end: datetime, width_seconds: int) -> pl.DataFrame:
    """Share of the scrapes at which a target had a request running or waiting, by bin.

    In ranges of more than `EXACT_SECONDS` it is the share of five-minute buckets in which it ever
    had one, which is more.

    Columns: target_id, at, busy_ratio.
    """
    is_short = (end - start).total_seconds() <= EXACT_SECONDS
    sql = _BUSY_RAW if is_short else _BUSY_ROLLED
    return reader.frame(sql, signals=list(LOAD), **_range(start, end, width_seconds))


def steps(reader: Reader, start: datetime, end: datetime, width_seconds: int) -> pl.DataFrame:
    """Replica-seconds that controlled pools were seen starting and draining, by bin.

    Columns: pool, at, starting_seconds, draining_seconds.
    """
    return reader.frame(_STEPS, **_range(start, end, width_seconds))


def _range(start: datetime, end: datetime, width_seconds: int) -> dict[str, Any]:
    width = int(width_seconds) * 1_000_000
    return {"start": naive_utc(start), "end": naive_utc(end), "width": width}


def service(reader: FrameReader, scope: Scope, cost: Cost) -> pl.DataFrame:
    """What requests of a range were served, by who asked and where; arrivals in the range count.

    Columns: instance, model, tenant (null = not told), service (cost of all attempts), requests,
    input_tokens, output_tokens.
    """
    condition, params = where(scope, every_attempt=True)
    return reader.frame(
        f"""WITH counted AS (
  SELECT r.labels_id, sum({cost.sql()}) AS service, count(*) FILTER ({IS_COUNTED}) AS requests,
    sum(r.input_tokens) FILTER ({IS_COUNTED}) AS input_tokens,
    sum(r.output_tokens) FILTER ({IS_COUNTED}) AS output_tokens
  FROM request AS r WHERE {condition} GROUP BY r.labels_id)
SELECT l.instance, l.model, l.tenant, coalesce(sum(c.service), 0)::DOUBLE AS service,
  sum(c.requests)::BIGINT AS requests, sum(c.input_tokens)::DOUBLE AS input_tokens,
  sum(c.output_tokens)::DOUBLE AS output_tokens
FROM counted AS c JOIN request_labels AS l USING (labels_id) GROUP BY ALL ORDER BY ALL""",
        **params,
    )


def card_series(reader: Reader) -> pl.DataFrame:
    """Series of power and energy of cards: series_id, signal, node, gpu, gpu_model."""
    return reader.frame(
        """SELECT s.series_id, s.signal, coalesce(s.labels->>'node', t.url) AS node,
          coalesce(s.labels->>'gpu_uuid', s.labels->>'gpu', '') AS gpu,
          s.labels->>'gpu_model' AS gpu_model
        FROM series AS s JOIN target AS t USING (target_id)
        WHERE s.signal IN ('gpu_power_watts', 'gpu_energy_joules_total')"""
    )


def card_models(reader: Reader, start: datetime, end: datetime) -> pl.DataFrame:
    """Types of the cards that were read in a range: columns node, gpu_model."""
    return reader.frame(
        """SELECT DISTINCT coalesce(s.labels->>'node', t.url) AS node,
          s.labels->>'gpu_model' AS gpu_model
        FROM series AS s JOIN target AS t USING (target_id)
        WHERE s.signal = 'gpu_present' AND (s.labels->>'gpu_model') IS NOT NULL
          AND s.series_id IN (SELECT p.series_id FROM sample AS p
            JOIN series AS own USING (series_id)
            WHERE own.signal = 'gpu_present' AND p.sampled_at >= $start AND p.sampled_at < $end)""",
        start=naive_utc(start), end=naive_utc(end),
    )  # fmt: skip


def ever_scraped(reader: Reader) -> datetime | None:
    """The newest scrape that worked; None without one."""
    found = reader.frame("SELECT max(scraped_at) AS last_at FROM scrape WHERE outcome = 'ok'")
    last_at: datetime | None = found.item()
    return last_at
