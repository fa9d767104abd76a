"""What scraped samples tell about starts: processes, first answers, first tokens, pods."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from store.reader import Reader

_PROCESSES = """
WITH life AS (
  SELECT DISTINCT s.target_id, p.value AS began
  FROM sample AS p JOIN series AS s USING (series_id)
  WHERE s.signal = 'engine_start_unix_seconds' AND p.sampled_at >= $since
    AND p.value >= epoch($oldest)
), answered AS (
  SELECT l.target_id, l.began, min(c.scraped_at) FILTER (c.outcome = 'ok') AS first_answer_at,
    min(c.scraped_at) FILTER (c.outcome <> 'ok') AS first_refusal_at
  FROM life AS l JOIN scrape AS c ON c.target_id = l.target_id
    AND c.scraped_at >= $oldest AND c.scraped_at >= make_timestamp((l.began * 1e6)::BIGINT)
  GROUP BY l.target_id, l.began
)
SELECT a.target_id, t.url, t.model, t.labels->>'node' AS node, t.added_at,
  make_timestamp((a.began * 1e6)::BIGINT) AS process_started_at, a.first_answer_at,
  coalesce(a.first_refusal_at < a.first_answer_at, FALSE) AS refused_before,
  -- Seen only while the window holds the first answer: later it would be another moment.
  CASE WHEN a.first_answer_at >= $since THEN (
    SELECT min(g.sampled_at) FROM sample AS g JOIN series AS n USING (series_id)
    WHERE n.target_id = a.target_id AND n.signal = 'generation_tokens_total' AND g.value > 0
      AND g.sampled_at >= a.first_answer_at) END AS first_token_at
FROM answered AS a JOIN target AS t USING (target_id)
WHERE a.first_answer_at IS NOT NULL
ORDER BY a.target_id, a.began
"""
_ENGINE_PHASES = """
SELECT s.target_id, s.labels->>'phase' AS phase, max_by(p.value, p.sampled_at) AS seconds,
  min(p.sampled_at) AS first_at
FROM sample AS p JOIN series AS s USING (series_id)
WHERE s.signal = 'startup_phase_seconds' AND p.sampled_at >= $since
GROUP BY 1, 2 ORDER BY 1, 2
"""
_PODS = """
SELECT s.labels->>'namespace' AS namespace, s.labels->>'pod' AS pod, s.signal,
  max_by(p.value, p.sampled_at) AS value
FROM sample AS p JOIN series AS s USING (series_id)
WHERE list_contains($signals, s.signal) AND p.sampled_at >= $since AND p.value > 0
  AND (s.labels->>'pod') IS NOT NULL
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_PLACES = """
SELECT DISTINCT s.labels->>'namespace' AS namespace, s.labels->>'pod' AS pod,
  s.labels->>'node' AS node
FROM series AS s WHERE s.signal = 'pod_placed'
"""
_FAULTS = """
SELECT node, gpu, started_at, ended_at, kind, details::VARCHAR AS details
FROM gpu_fault WHERE started_at >= $since ORDER BY started_at
"""
_TARGETS = """
SELECT url, model, labels->>'namespace' AS namespace, labels->>'pod' AS pod FROM target
"""


def processes(reader: Reader, since: datetime, oldest: datetime) -> pl.DataFrame:
    """Engine processes that are alive and began not long ago, as their targets show them.

    Args:
        reader: the store.
        since: naive UTC; samples are looked at from here on.
        oldest: naive UTC; processes that began before it are left out.

    Returns:
        target_id, url, model, node, added_at, process_started_at, first_answer_at, refused_before,
        first_token_at (null so far); times naive UTC.
    """
    return reader.frame(_PROCESSES, since=since, oldest=oldest)


def engine_phases(reader: Reader, since: datetime) -> pl.DataFrame:
    """Lengths of start phases that engines expose: target_id, phase, seconds, first_at."""
    return reader.frame(_ENGINE_PHASES, since=since)


def pod_moments(reader: Reader, signals: list[str], since: datetime) -> pl.DataFrame:
    """Moments of pods, seconds since 1970: namespace, pod, signal, value."""
    return reader.frame(_PODS, signals=signals, since=since)


def pod_places(reader: Reader) -> pl.DataFrame:
    """Where pods were placed: namespace, pod, node."""
    return reader.frame(_PLACES)


def faults(reader: Reader, since: datetime) -> pl.DataFrame:
    """Faults of cards: node, gpu, started_at, ended_at (naive UTC), kind, details (JSON text)."""
    return reader.frame(_FAULTS, since=since)


def target_pods(reader: Reader) -> pl.DataFrame:
    """Targets with the pod behind them, where discovery told: url, model, namespace, pod."""
    return reader.frame(_TARGETS)
