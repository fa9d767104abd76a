"""Counts of good and bad requests from `rollup_slo` where it is true, and from raw rows elsewhere.

The last hours are always raw, so that short windows are exact to the bin. Further back a bucket of
ten minutes counts whole, in the bin of its middle: the totals stay exact, a window that begins
there is exact to five minutes, unless it is named (`edges`): its bucket is then read raw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl

from store.queries import slo as raw_queries
from store.queries.rollup import MOST_RAW_PIECES
from store.queries.scope import Scope
from store.queries.slo import COUNTS_SCHEMA, GoodRule, naive_utc, scope_labels
from store.reader import Reader, Snapshot
from store.rollup import ARRIVAL, BUCKET_SECONDS
from store.slo_rollup import rule_key

RAW_RECENT = timedelta(hours=6)
ROLLED_FROM = timedelta(days=1)
ALL_DIMENSIONS = ("model", "route", "tenant", "instance", "input_octave", "hour")
SPENT_SCHEMA = {
    "rule": pl.Int64,
    "dimension": pl.String,
    "value": pl.String,
    "good": pl.Int64,
    "bad": pl.Int64,
    "measured": pl.Int64,
    "undetermined": pl.Int64,
}
_BUCKET = timedelta(seconds=BUCKET_SECONDS)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as the store keeps it
_SUMS = ", ".join(
    f"CAST(sum({name}) AS BIGINT) AS {name}" for name in ("good", "bad", "undetermined", "measured")
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which stretches are read from where; naive UTC, half open.

    Attributes:
        rolled: from the roll-up.
        raw: from the request rows.
    """

    rolled: tuple[tuple[datetime, datetime], ...]
    raw: tuple[tuple[datetime, datetime], ...]


def counts(
    reader: Reader,
    scope: Scope,
    rules: Sequence[GoodRule],
    start: datetime,
    end: datetime,
    width_seconds: int,
    *,
    anchor: datetime | None = None,
    edges: Sequence[datetime] = (),
    raw_since: datetime | None = None,
) -> pl.DataFrame:
    """As `store.queries.slo.counts`, from the roll-up where that is possible.

    Args:
        reader: the store.
        scope: sources and labels; with labels of two kinds everything is raw.
        rules: the objectives.
        start: aware, inclusive.
        end: aware, exclusive.
        width_seconds: > 0.
        anchor: bins reach back from it; `end` when None.
        edges: starts of windows (aware) that must be exact wherever they lie.
        raw_since: from here on (aware) everything is exact to the bin.
    """
    if not rules:
        return pl.DataFrame(schema=COUNTS_SCHEMA)
    last = anchor or end
    with reader.snapshot() as snapshot:
        plan = plan_for(snapshot, scope, rules, start, end, edges=edges, raw_since=raw_since)
        raw = raw_queries.counts_of(snapshot, scope, rules, plan.raw, width_seconds, last)
        rolled = _rolled(snapshot, scope, rules, plan.rolled, naive_utc(last), width_seconds)
    found = pl.concat([raw, rolled]).group_by("rule", "bin").agg(pl.all().sum())
    return found.sort("rule", "bin").collect()


def spent(
    reader: Reader,
    scope: Scope,
    rules: Sequence[GoodRule],
    start: datetime,
    end: datetime,
    dimensions: Sequence[str] = ALL_DIMENSIONS,
) -> pl.DataFrame:
    """Good and bad requests by each dimension that may explain them.

    Args:
        reader: the store.
        scope: sources and labels; with labels everything is raw.
        rules: the objectives.
        start: aware, inclusive.
        end: aware, exclusive.
        dimensions: which of `ALL_DIMENSIONS`; labels alone are cheaper.

    Returns:
        Columns of `SPENT_SCHEMA`; dimension is model, route, tenant, instance, input_octave (log2
        of the input tokens, rounded down) or hour (0-23). Rows without the label are left out.
    """
    if not rules:
        return pl.DataFrame(schema=SPENT_SCHEMA)
    with reader.snapshot() as snapshot:
        plan = Plan((), ((naive_utc(start), naive_utc(end)),))
        if not scope_labels(scope):
            # No window ends within: all buckets that are true will do, the newest as well.
            plan = plan_for(snapshot, scope, rules, start, end, recent=timedelta(0))
        rolled = _rolled_spent(snapshot, scope, rules, plan.rolled, dimensions)
        raw = _raw_spent(snapshot, scope, rules, plan.raw, dimensions)
    keys = ("rule", "dimension", "value")
    return pl.concat([rolled, raw]).group_by(*keys).agg(pl.all().sum()).sort(*keys).collect()


def plan_for(
    snapshot: Snapshot,
    scope: Scope,
    rules: Sequence[GoodRule],
    start: datetime,
    end: datetime,
    *,
    edges: Sequence[datetime] = (),
    raw_since: datetime | None = None,
    recent: timedelta = RAW_RECENT,
) -> Plan:
    """Decide what is read from where, over one state of the store; arguments as of `counts`.

    The last `recent` are raw in any case.
    """
    first, last = naive_utc(start), naive_utc(end)
    everything = Plan((), ((first, last),))
    if last - first < ROLLED_FROM or len(scope_labels(scope)) > 1 or not scope.source_ids:
        return everything
    until = min(last - recent, naive_utc(raw_since)) if raw_since else last - recent
    low, high = _ceil(first), _floor(until)
    unready = _unready(snapshot, scope, rules, low, high)
    cut = {_floor(naive_utc(edge)) for edge in edges if naive_utc(edge) != _floor(naive_utc(edge))}
    unready += [bucket for bucket in cut if low <= bucket < high]
    raw = _merged([(first, low), *((at, at + _BUCKET) for at in unready), (high, last)])
    if len(raw) > MOST_RAW_PIECES:
        return everything
    ends = [first, *(edge for span in raw for edge in span), last]
    rolled = [(a, b) for a, b in zip(ends[::2], ends[1::2], strict=True) if a < b]
    return Plan(tuple(rolled), tuple(raw))


def _unready(
    snapshot: Snapshot, scope: Scope, rules: Sequence[GoodRule], low: datetime, high: datetime
) -> list[datetime]:
    """Buckets that changed, or that are not counted for every rule."""
    span = f"source_id IN ({_ids(scope)}) AND bucket_at >= $low AND bucket_at < $high"
    return snapshot.frame(
        f"""WITH held AS (
          SELECT source_id, bucket_at, count(DISTINCT rule_key) AS counted FROM rollup_slo
          WHERE dimension = '' AND rule_key IN ({_keys_sql(rules)}) AND {span} GROUP BY ALL
        ), seen AS (
          SELECT DISTINCT source_id, bucket_at FROM rollup_10m
          WHERE quantity = '{ARRIVAL}' AND {span}
        )
        SELECT DISTINCT bucket_at FROM (
          SELECT s.bucket_at FROM seen AS s LEFT JOIN held AS h USING (source_id, bucket_at)
          WHERE coalesce(h.counted, 0) < {len({rule_key(rule) for rule in rules})}
          UNION ALL SELECT bucket_at FROM rollup_dirty WHERE {span})
        ORDER BY bucket_at""",
        low=low,
        high=high,
    )["bucket_at"].to_list()


def _rolled(
    snapshot: Snapshot,
    scope: Scope,
    rules: Sequence[GoodRule],
    spans: Sequence[tuple[datetime, datetime]],
    end: datetime,
    width_seconds: int,
) -> pl.LazyFrame:
    if not spans:
        return pl.LazyFrame(schema=COUNTS_SCHEMA)
    values: dict[str, object] = {}
    found = snapshot.frame(
        f"""SELECT rule_key, source_id, bucket_at, {_SUMS} FROM rollup_slo
        WHERE rule_key IN ({_keys_sql(rules)}) AND {_scope_sql(scope, values)}
          AND {_spans_sql(spans, values)}
        GROUP BY rule_key, source_id, bucket_at""",
        **values,
    )
    middle = pl.col("bucket_at") + _BUCKET / 2
    ago_us = (pl.lit(end, pl.Datetime("us")) - middle).dt.total_microseconds()
    came = pl.col("good") + pl.col("bad") + pl.col("undetermined") > 0
    return (
        _by_rule(found, rules, scope)
        .with_columns(bin=(ago_us - 1) // (width_seconds * 1_000_000))
        .group_by("rule", "bin")
        .agg(pl.col("good", "bad", "undetermined", "measured").sum())
        .filter(came)
    )


def _keys_sql(rules: Sequence[GoodRule]) -> str:
    """Keys are hexadecimal digests of our own: as literals DuckDB skips what it need not read."""
    return ", ".join(f"'{key}'" for key in sorted({rule_key(rule) for rule in rules}))


def _spans_sql(spans: Sequence[tuple[datetime, datetime]], values: dict[str, object]) -> str:
    """One condition for all stretches: their outermost bounds, and the gaps between them."""
    values |= {"low": spans[0][0], "high": spans[-1][1]}
    whole = "bucket_at >= $low AND bucket_at < $high"
    gaps = []
    for number, (before, after) in enumerate(pairwise(spans)):
        values |= {f"low{number}": before[1], f"high{number}": after[0]}
        gaps.append(f"NOT (bucket_at >= $low{number} AND bucket_at < $high{number})")
    return " AND ".join([whole, *gaps])


def _scope_sql(scope: Scope, values: dict[str, object]) -> str:
    """Which rows of the roll-up stand for the sources and labels of a scope."""
    labels = scope_labels(scope)
    if not labels:
        return f"dimension = '' AND source_id IN ({_ids(scope)})"
    ((column, accepted),) = labels.items()
    values |= {"dimension": column, "accepted": list(accepted)}
    meant = "dimension = $dimension AND list_contains($accepted, value)"
    return f"{meant} AND source_id IN ({_ids(scope)})"


def _ids(scope: Scope) -> str:
    return ", ".join(str(int(number)) for number in scope.source_ids)


def _rolled_spent(
    snapshot: Snapshot,
    scope: Scope,
    rules: Sequence[GoodRule],
    spans: Sequence[tuple[datetime, datetime]],
    dimensions: Sequence[str],
) -> pl.LazyFrame:
    if not spans:
        return pl.LazyFrame(schema=SPENT_SCHEMA)
    # The hour of a bucket comes from its total.
    stored = ", ".join("''" if name == "hour" else f"'{name}'" for name in dimensions)
    values: dict[str, object] = {}
    found = snapshot.frame(
        f"""SELECT rule_key, source_id,
          CASE WHEN dimension = '' THEN 'hour' ELSE dimension END AS dimension,
          CASE WHEN dimension = '' THEN CAST(hour(bucket_at) AS VARCHAR) ELSE value END AS value,
          {_SUMS}
        FROM rollup_slo
        WHERE rule_key IN ({_keys_sql(rules)}) AND source_id IN ({_ids(scope)})
          AND dimension IN ({stored}) AND {_spans_sql(spans, values)}
        GROUP BY ALL""",
        **values,
    )
    return _by_rule(found, rules, scope).select(list(SPENT_SCHEMA))


def _by_rule(found: pl.DataFrame, rules: Sequence[GoodRule], scope: Scope) -> pl.LazyFrame:
    """The rows of each rule, numbered; rules with one key share them, each for its own sources."""
    meant = [
        (index, rule_key(rule), source)
        for index, rule in enumerate(rules)
        for source in (rule.source_ids or scope.source_ids)
    ]
    schema: dict[str, Any] = {"rule": pl.Int64, "rule_key": pl.String}
    schema["source_id"] = found.schema["source_id"]
    numbered = pl.LazyFrame(meant, schema=schema, orient="row")
    return found.lazy().join(numbered, on=["rule_key", "source_id"])


def _raw_spent(
    snapshot: Snapshot,
    scope: Scope,
    rules: Sequence[GoodRule],
    spans: Sequence[tuple[datetime, datetime]],
    dimensions: Sequence[str],
) -> pl.LazyFrame:
    if not spans:
        return pl.LazyFrame(schema=SPENT_SCHEMA)
    labels_only = not {"input_octave", "hour"} & set(dimensions)
    found = raw_queries.spenders(snapshot, scope, rules, spans, labels_only=labels_only)
    counted = ("good", "bad", "measured", "undetermined")
    return (
        found.with_columns(pl.col(name).cast(pl.String) for name in dimensions)
        .unpivot(dimensions, index=["rule", *counted], variable_name="dimension")
        .drop_nulls("value")
        .select(list(SPENT_SCHEMA))
    )


def _merged(spans: Sequence[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    merged: list[tuple[datetime, datetime]] = []
    for low, high in sorted(span for span in spans if span[0] < span[1]):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _floor(at: datetime) -> datetime:
    return at - (at - _EPOCH) % _BUCKET


def _ceil(at: datetime) -> datetime:
    floor = _floor(at)
    return floor if floor == at else floor + _BUCKET
