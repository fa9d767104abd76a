"""Sums by source, labels and outcome: one scan, and what several views make of it.

All but the scan is arithmetic on a few hundred rows: a caller that remembers answers, as the
findings do, reads the requests once for all of them.
"""

from __future__ import annotations

import polars as pl

from store.queries.scope import Scope
from store.queries.workload import FrameReader, where

_SUMMED = ("requests", "failed", "inputs", "input_tokens", "outputs", "output_tokens", "tokens")
_KEYS = ("source", "model", "tenant", "route", "instance")
_DIMENSIONS = ("source", "model", "tenant", "route", "instance", "slo_class")


def by_outcome(reader: FrameReader, scope: Scope) -> pl.DataFrame:
    """One row for each combination of source, labels and status that occurs.

    Returns:
        source_id, source, model, tenant, route, instance, slo_class (null = not known), status,
        requests, inputs and input_tokens (requests of known input length, and their sum), outputs
        and output_tokens (the same), first_at, last_at (naive).
    """
    condition, params = where(scope)
    # Without a filter or an expression in it, this GROUP BY needs no hash table.
    return reader.frame(
        f"""WITH counted AS (
          SELECT r.source_id, r.labels_id, r.status, count(*) AS requests,
                 count(r.input_tokens) AS inputs, sum(r.input_tokens) AS input_tokens,
                 count(r.output_tokens) AS outputs, sum(r.output_tokens) AS output_tokens,
                 min(r.arrived_at) AS first_at, max(r.arrived_at) AS last_at
          FROM request AS r WHERE {condition} GROUP BY r.source_id, r.labels_id, r.status)
        SELECT c.source_id, s.name AS source, l.model, l.tenant, l.route, l.instance, l.slo_class,
               c.status::VARCHAR AS status, c.requests, c.inputs,
               coalesce(c.input_tokens, 0)::DOUBLE AS input_tokens, c.outputs,
               coalesce(c.output_tokens, 0)::DOUBLE AS output_tokens, c.first_at, c.last_at
        FROM counted AS c JOIN source AS s USING (source_id)
        JOIN request_labels AS l USING (labels_id)""",
        **params,
    )


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
