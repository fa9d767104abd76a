"""Counts of good and bad requests from `rollup_slo` where it is true, and from raw rows elsewhere.

The last hours are always raw, so that short windows are exact to the bin. Further back a bucket of
ten minutes counts whole, in the bin of its middle: the totals stay exact, a window that begins
there is exact to five minutes, unless it is named (`edges`): its bucket is then read raw.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from store.errors import QueryTimeout
from store.queries import slo as raw_queries
from store.queries.rollup_sql import ids_sql
from store.queries.scope import Scope
from store.queries.slo import COUNTS_SCHEMA, GoodRule, naive_utc, scope_labels
from store.queries.slo_cells import LATE_SECONDS, read_cells, spans_sql
from store.queries.slo_plan import Plan, Stretch, keys_sql, plans_for
from store.reader import Reader, Snapshot
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
    asked = Stretch(start, tuple(edges), raw_since)
    found = read_cells(reader, scope, rules, [asked], end, width_seconds, anchor=anchor)
    if found.uncounted:
        raise QueryTimeout(
            "the requests of an objective that is not counted yet took too long",
            hint="look again in a few minutes, or choose a shorter range",
        )
    return found.counts(0)


def spent(
    reader: Reader,
    scope: Scope,
    rules: Sequence[GoodRule],
    start: datetime,
    end: datetime,
    dimensions: Sequence[str] = ALL_DIMENSIONS,
    *,
    leaves_late: bool = False,
) -> pl.DataFrame:
    """Good and bad requests by each dimension that may explain them.

    Args:
        reader: the store.
        scope: sources and labels; with labels everything is raw.
        rules: the objectives.
        start: aware, inclusive.
        end: aware, exclusive.
        dimensions: which of `ALL_DIMENSIONS`; labels alone are cheaper.
        leaves_late: leave out objectives that the job has not counted yet and whose rows cannot be
            read in time; else that is a `QueryTimeout`.

    Returns:
        Columns of `SPENT_SCHEMA`; dimension is model, route, tenant, instance, input_octave (log2
        of the input tokens, rounded down) or hour (0-23). Rows without the label are left out.
    """
    if not rules:
        return pl.DataFrame(schema=SPENT_SCHEMA)
    with reader.snapshot() as snapshot:
        plan, late = Plan((), ((naive_utc(start), naive_utc(end)),)), frozenset[int]()
        if not scope_labels(scope):
            # No window ends within: all buckets that are true will do, the newest as well.
            whole = Stretch(start, recent=timedelta(0))
            plans = plans_for(snapshot, scope, rules, [whole], end)
            plan, late = plans.read, plans.late
        if not (late and leaves_late):
            return _spent(snapshot, scope, rules, plan, dimensions)
    return _spent_apart(reader, scope, rules, late, start, end, dimensions)


def _spent(
    snapshot: Snapshot,
    scope: Scope,
    rules: Sequence[GoodRule],
    plan: Plan,
    dimensions: Sequence[str],
) -> pl.DataFrame:
    rolled = _rolled_spent(snapshot, scope, rules, plan.rolled, dimensions)
    raw = _raw_spent(snapshot, scope, rules, plan.raw, dimensions)
    keys = ("rule", "dimension", "value")
    return pl.concat([rolled, raw]).group_by(*keys).agg(pl.all().sum()).sort(*keys).collect()


def _spent_apart(
    reader: Reader,
    scope: Scope,
    rules: Sequence[GoodRule],
    late: frozenset[int],
    start: datetime,
    end: datetime,
    dimensions: Sequence[str],
) -> pl.DataFrame:
    """The rules that are counted, and those that are not if their rows are read in time."""
    counted = [place for place in range(len(rules)) if place not in late]
    kept = [rules[place] for place in counted]
    found = [_numbered(spent(reader, scope, kept, start, end, dimensions), counted)]
    others = [rules[place] for place in sorted(late)]
    try:
        with reader.snapshot(LATE_SECONDS) as snapshot:
            plan = Plan((), ((naive_utc(start), naive_utc(end)),))
            rows = _spent(snapshot, scope, others, plan, dimensions)
        found.append(_numbered(rows, sorted(late)))
    except QueryTimeout:
        pass
    return pl.concat(found).sort("rule", "dimension", "value")


def _numbered(found: pl.DataFrame, places: Sequence[int]) -> pl.DataFrame:
    """Rules numbered among all that were asked for."""
    numbers = pl.Series(places, dtype=pl.Int64)
    return found.with_columns(numbers.gather(found["rule"]).alias("rule"))


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
          AND dimension IN ({stored}) AND {spans_sql(spans, values)}
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
