"""Sums by source, labels and outcome: one question, and what several views make of it.

All but the scan is arithmetic on a few hundred rows: a caller that remembers answers, as the
findings do, asks the store once for all of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from store.queries.rollup import Split
from store.queries.scope import Scope
from store.queries.tenant_rows import rolled_sql, rows_sql
from store.queries.workload import FrameReader, labels_condition
from store.queries.workload_split import Use, hours
from store.workload_rollup import OUTCOME_SUMS

_SUMMED = ("requests", "failed", "inputs", "input_tokens", "outputs", "output_tokens", "tokens")
_KEYS = ("source", "model", "tenant", "route", "instance")
_DIMENSIONS = ("source", "model", "tenant", "route", "instance", "slo_class")


def by_outcome(reader: FrameReader, scope: Scope, use: Use = "auto") -> pl.DataFrame:
    """One row for each combination of source, labels and status that occurs.

    Args:
        reader: the store.
        scope: what is asked for.
        use: see `store.queries.workload_split.hours`.

    Returns:
        source_id, source, model, tenant, route, instance, slo_class (null = not known), status,
        requests, inputs and input_tokens (requests of known input length, and their sum), outputs
        and output_tokens (the same), first_at, last_at (naive).
    """
    counted, params = _counted_sql(scope, hours(reader, scope, use))
    return reader.frame(
        f"""SELECT c.source_id, s.name AS source, l.model, l.tenant, l.route, l.instance,
               l.slo_class, c.status::VARCHAR AS status, c.requests, c.inputs,
               coalesce(c.input_tokens, 0)::DOUBLE AS input_tokens, c.outputs,
               coalesce(c.output_tokens, 0)::DOUBLE AS output_tokens, c.first_at, c.last_at
        FROM ({counted}) AS c JOIN source AS s USING (source_id)
        JOIN request_labels AS l USING (labels_id)""",
        **params,
    )


def _counted_sql(scope: Scope, plan: Split) -> tuple[str, dict[str, Any]]:
    """Sums by source_id, labels_id and status, of rows and whole hours, and their parameters."""
    rows, params = rows_sql(scope, plan.raw, every_attempt=False)
    # Without a filter or an expression in it, this GROUP BY needs no hash table.
    counted = f"""SELECT r.source_id, r.labels_id, r.status, {OUTCOME_SUMS}
          FROM {rows} GROUP BY r.source_id, r.labels_id, r.status"""
    if not plan.rolled:
        return counted, params
    labels, values = labels_condition(scope, "u")
    of_hours, edges = rolled_sql(replace(scope, tenants=()), "hour_at", plan.rolled)
    return (
        f"""SELECT source_id, labels_id, status, sum(requests)::BIGINT AS requests,
          sum(inputs)::BIGINT AS inputs, sum(input_tokens)::BIGINT AS input_tokens,
          sum(outputs)::BIGINT AS outputs, sum(output_tokens)::BIGINT AS output_tokens,
          min(first_at) AS first_at, max(last_at) AS last_at
        FROM ({counted} UNION ALL BY NAME
          SELECT * EXCLUDE (hour_at) FROM rollup_outcome AS u
          WHERE {" AND ".join([of_hours, *labels])})
        GROUP BY source_id, labels_id, status""",
        params | values | edges,
    )


def attempted(reader: FrameReader, scope: Scope) -> int:
    """How many requests the scope holds, whatever became of them."""
    return int(by_outcome(reader, scope)["requests"].sum())


def status_counts(reader: FrameReader, scope: Scope) -> pl.DataFrame:
    """source_id, status, requests, first_at, last_at: attempted requests by how they ended."""
    return (
        by_outcome(reader, scope)
        .group_by("source_id", "status")
        .agg(pl.col("requests").sum(), pl.col("first_at").min(), pl.col("last_at").max())
        .sort("source_id", "status")
    )


def label_totals(reader: FrameReader, scope: Scope) -> pl.DataFrame:
    """What each combination of source and labels asked for.

    Returns:
        source, model, tenant, route, instance (null = not known), requests (attempted), failed
        (any status but ok), inputs and input_tokens (requests with known input, and their sum),
        outputs and output_tokens (of successful ones), tokens (all known ones), first_at, last_at.
    """
    ok = pl.col("status") == "ok"
    return (
        by_outcome(reader, scope)
        .lazy()
        .with_columns(
            failed=pl.when(ok).then(0).otherwise("requests"),
            tokens=pl.col("input_tokens") + pl.col("output_tokens"),
            outputs=pl.when(ok).then("outputs").otherwise(0),
            output_tokens=pl.when(ok).then("output_tokens").otherwise(0.0),
        )
        .group_by(*_KEYS)
        .agg(pl.col(*_SUMMED).sum(), pl.col("first_at").min(), pl.col("last_at").max())
        .sort(*_KEYS)
        .collect()
    )


def failures_by_label(reader: FrameReader, scope: Scope) -> pl.DataFrame:
    """dimension, value, failed, attempted; for the source and every known label."""
    rows = by_outcome(reader, scope)
    failed = pl.col("requests").filter(pl.col("status") != "ok").sum().alias("failed")
    order = ("failed", "attempted", "dimension", "value")
    return (
        rows.unpivot(_DIMENSIONS, index=("status", "requests"), variable_name="dimension")
        .lazy()
        .drop_nulls("value")
        .group_by("dimension", "value")
        .agg(failed, pl.col("requests").sum().alias("attempted"))
        .sort(*order, descending=[True, True, False, False])
        .collect()
    )
