"""Counts of good and bad requests from `rollup_slo` where it is true, and from raw rows elsewhere.

The last hours are always raw, so that short windows are exact to the bin. Further back a bucket of
ten minutes counts whole, in the bin of its middle: the totals stay exact, a window that begins
there is exact to five minutes, unless it is named (`edges`): its bucket is then read raw.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from store.queries import slo as raw_queries
from store.queries.rollup_sql import ids_sql
from store.queries.scope import Scope
from store.queries.slo import COUNTS_SCHEMA, GoodRule, naive_utc, scope_labels
from store.queries.slo_plan import Plan, keys_sql, plan_for
from store.reader import Reader, Snapshot
from store.rollup import BUCKET_SECONDS
from store.slo_rollup import rule_key

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
_SUMS = ", ".join(
    f"CAST(sum({name}) AS BIGINT) AS {name}" for name in ("good", "bad", "undetermined", "measured")
)


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
    return _added([raw.collect(), *rolled])


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


def _rolled(
    snapshot: Snapshot,
    scope: Scope,
    rules: Sequence[GoodRule],
    spans: Sequence[tuple[datetime, datetime]],
    end: datetime,
    width_seconds: int,
) -> list[pl.DataFrame]:
    """Columns of `COUNTS_SCHEMA`, a frame a rule; a bin may have several rows."""
    if not spans:
        return []
    values: dict[str, object] = {"end": end}
    keys = sorted({rule_key(rule) for rule in rules})
    numbered = " ".join(f"WHEN '{key}' THEN {number}" for number, key in enumerate(keys))
    found = snapshot.frame(
        f"""SELECT CASE rule_key {numbered} END AS number, source_id,
          (epoch_us($end) - epoch_us(bucket_at) - {BUCKET_SECONDS * 500_000 + 1})
            // {int(width_seconds * 1_000_000)} AS bin,
          good, bad, undetermined, measured
        FROM rollup_slo WHERE rule_key IN ({keys_sql(rules)}) AND {_scope_sql(scope, values)}
          AND {_spans_sql(spans, values)} AND good + bad + undetermined > 0""",
        **values,
    )
    number, source = found["number"].to_numpy(), found["source_id"].to_numpy()
    parts = []
    for index, rule in enumerate(rules):
        meant = number == keys.index(rule_key(rule))
        if rule.source_ids:
            meant &= np.isin(source, rule.source_ids)
        mine = found.filter(pl.Series(meant)).drop("number", "source_id")
        parts.append(mine.insert_column(0, pl.repeat(index, mine.height, eager=True).alias("rule")))
    return parts


def _added(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Rows of `COUNTS_SCHEMA` added up by rule and bin, and sorted.

    A few thousand small rows: arrays take a quarter of the time of a plan.
    """
    rows = {
        name: np.concatenate([part[name].to_numpy() for part in parts]) for name in COUNTS_SCHEMA
    }
    if not len(rows["bin"]):
        return pl.DataFrame(schema=COUNTS_SCHEMA)
    first = rows["bin"].min()
    bins = rows["bin"].max() - first + 1
    groups, places = np.unique(rows["rule"] * bins + rows["bin"] - first, return_inverse=True)
    sums = {
        name: np.bincount(places, weights=rows[name]).astype(np.int64)
        for name in COUNTS_SCHEMA
        if name not in ("rule", "bin")
    }
    found = {"rule": groups // bins, "bin": groups % bins + first, **sums}
    return pl.DataFrame(found, schema=COUNTS_SCHEMA)


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
        return f"dimension = '' AND source_id IN ({ids_sql(scope)})"
    ((column, accepted),) = labels.items()
    values |= {"dimension": column, "accepted": list(accepted)}
    meant = "dimension = $dimension AND list_contains($accepted, value)"
    return f"{meant} AND source_id IN ({ids_sql(scope)})"


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
        WHERE rule_key IN ({keys_sql(rules)}) AND source_id IN ({ids_sql(scope)})
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
