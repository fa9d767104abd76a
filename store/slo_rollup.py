"""Roll-up of objectives: exact counts of good and bad requests per ten minutes, kept by a job.

A bucket is counted for a rule after the ordinary roll-up has counted it; when rows come late, the
ordinary roll-up drops these counts too (`store.rollup.refresh`) and they are made again. Readers
take what is missing from the raw rows, so an answer is never wrong, only sometimes slower.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import duckdb

from store.queries.scope import IS_COUNTED, LIVE_SOURCE_ID
from store.queries.slo import OCTAVE_SQL, GoodRule, labels_sql, outcome_sql
from store.rollup import ARRIVAL, BUCKET_SECONDS, bucket_sql
from store.writer import Writer

# Twelve hours of buckets at a time, so that appends get in between.
PORTION_BUCKETS = 72


@dataclass(frozen=True, slots=True)
class SloRefreshed:
    """What a refresh did.

    Attributes:
        buckets: buckets counted, once per rule.
        more: whether there is more to count.
    """

    buckets: int
    more: bool


def rule_key(rule: GoodRule) -> str:
    """What stands for a rule in `rollup_slo`; sources are left out, since rows carry theirs."""
    meaning = {
        "limits": dict(sorted(rule.limits_seconds.items())),
        "labels": {name: sorted(values) for name, values in sorted(rule.labels.items())},
        "count_aborted": rule.count_aborted,
    }
    text = json.dumps(meaning, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def refresh(
    connection: duckdb.DuckDBPyConnection,
    rules: Sequence[GoodRule],
    *,
    kept_since: datetime | None = None,
    most_buckets: int = PORTION_BUCKETS,
) -> SloRefreshed:
    """Count one portion of buckets for one rule; for `Writer.run`.

    Counts of rules that are no longer in force are dropped.

    Args:
        connection: the write connection.
        rules: those in force.
        kept_since: aware UTC; live rows before it have been deleted, so nothing is counted there.
        most_buckets: largest portion, >= 1.
    """
    by_key = {rule_key(rule): rule for rule in rules}
    connection.execute(
        "DELETE FROM rollup_slo WHERE NOT list_contains($keys, rule_key)", {"keys": list(by_key)}
    )
    for key, rule in by_key.items():
        values = {
            "key": key,
            "most": most_buckets,
            "kept_since": kept_since.replace(tzinfo=None) if kept_since else datetime.min,  # noqa: DTZ901
        }
        connection.execute(_CHOOSE, values)
        (buckets, source_id, low, high) = connection.execute(_CHOSEN).fetchall()[0]
        if buckets:
            _count(connection, key, rule, source_id, low, high)
            return SloRefreshed(buckets, True)
    return SloRefreshed(0, False)


def refresh_due(
    writer: Writer,
    rules: Sequence[GoodRule],
    *,
    kept_since: datetime | None = None,
    most_portions: int = 200,
) -> SloRefreshed:
    """Count what is missing, a transaction a portion.

    Args:
        writer: the store's writer.
        rules: those in force.
        kept_since: see `refresh`.
        most_portions: leave the rest for the next run after so many.
    """
    buckets = 0
    for _ in range(most_portions):
        done = writer.run(
            lambda con: refresh(con, rules, kept_since=kept_since), changes=False
        ).result()
        buckets += done.buckets
        if not done.more:
            return SloRefreshed(buckets, False)
    return SloRefreshed(buckets, True)


def _count(
    connection: duckdb.DuckDBPyConnection,
    key: str,
    rule: GoodRule,
    source_id: int,
    low: datetime,
    high: datetime,
) -> None:
    values: dict[str, Any] = {
        "key": key,
        "source_id": source_id,
        "low": low,
        "high": high + timedelta(seconds=BUCKET_SECONDS),
    }
    outcome = outcome_sql(rule, values, "rule0")
    meant = labels_sql(rule.labels, values, "match")
    connection.execute(
        f"""INSERT INTO rollup_slo
        WITH picked AS (
          SELECT {bucket_sql("r.arrived_at", BUCKET_SECONDS)} AS bucket_at, r.labels_id,
            {OCTAVE_SQL} AS input_octave,
            count(*) FILTER (WHERE {outcome}) AS good,
            count(*) FILTER (WHERE NOT {outcome}) AS bad,
            count(*) FILTER (WHERE ({outcome}) IS NULL) AS undetermined,
            count(*) FILTER (WHERE r.status = 'ok' AND ({outcome}) IS NOT NULL) AS measured
          FROM request AS r
          WHERE r.source_id = $source_id AND r.arrived_at >= $low AND r.arrived_at < $high
            AND {IS_COUNTED} AND r.labels_id IN (SELECT labels_id FROM request_labels WHERE {meant})
          GROUP BY ALL
        ), counted AS (
          SELECT p.bucket_at, l.model, l.route, l.tenant, l.instance,
            CAST(p.input_octave AS VARCHAR) AS input_octave,
            p.good, p.bad, p.undetermined, p.measured
          FROM picked AS p JOIN request_labels AS l USING (labels_id)
          JOIN chosen_slo_bucket AS c ON c.bucket_at = p.bucket_at
        )
        SELECT $source_id, c.bucket_at, $key, '', NULL, {_sums("coalesce(sum({name}), 0)")}
        FROM chosen_slo_bucket AS c LEFT JOIN counted USING (bucket_at) GROUP BY c.bucket_at
        UNION ALL
        {_DIMENSION_SQL}""",
        values,
    )


DIMENSIONS = ("model", "route", "tenant", "instance", "input_octave")


def _sums(pattern: str) -> str:
    names = ("good", "bad", "undetermined", "measured")
    return ", ".join(pattern.format(name=name) for name in names)


_DIMENSION_SQL = " UNION ALL ".join(
    f"SELECT $source_id, bucket_at, $key, '{name}', {name}, {_sums('sum({name})')}"
    f" FROM counted WHERE {name} IS NOT NULL GROUP BY bucket_at, {name}"
    for name in DIMENSIONS
)
_CHOOSE = f"""
CREATE OR REPLACE TEMP TABLE chosen_slo_bucket AS
WITH missing AS (
  SELECT u.source_id, u.bucket_at FROM rollup_sum AS u
  WHERE u.quantity = '{ARRIVAL}' AND (u.source_id <> {LIVE_SOURCE_ID} OR u.bucket_at >= $kept_since)
  EXCEPT SELECT source_id, bucket_at FROM rollup_slo WHERE rule_key = $key AND dimension = ''
  EXCEPT SELECT source_id, bucket_at FROM rollup_dirty
)
SELECT source_id, bucket_at FROM missing
WHERE source_id = (SELECT min(source_id) FROM missing) ORDER BY bucket_at LIMIT $most
"""
_CHOSEN = """
SELECT count(*), any_value(source_id), min(bucket_at), max(bucket_at) FROM chosen_slo_bucket
"""
