"""Finished requests of the store as rows to learn lengths from. Prompts are not kept there."""

from __future__ import annotations

import polars as pl

from predictors.base import CENSORED, OUTCOME
from predictors.length.spec import BLOCKS, INPUT
from store.queries.scope import Scope
from store.reader import Reader

_SQL = """
SELECT r.arrived_at AS at, r.request_key, r.input_tokens, r.output_tokens, l.model, l.route,
       l.tenant, l.instance,
       l.finish_reason = 'length' AS is_cut, p.block_hashes
FROM request r
LEFT JOIN request_labels l USING (labels_id)
LEFT JOIN request_prefix p
  ON p.source_id = r.source_id AND p.request_key = r.request_key AND p.arrived_at = r.arrived_at
WHERE r.source_id IN (SELECT unnest($sources)) AND r.arrived_at >= $start AND r.arrived_at < $end
  AND r.status = 'ok' AND r.output_tokens > 0
ORDER BY r.arrived_at
"""


def finished_rows(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Rows of `METADATA_SPEC` with outcomes and `request_key`, oldest first.

    An answer that was cut at its limit is right-censored: it would have been at least so long.

    Args:
        reader: of the store.
        scope: sources, time range, labels.
    """
    start, end = (time.replace(tzinfo=None) for time in (scope.start, scope.end))
    found = reader.frame(_SQL, sources=list(scope.source_ids), start=start, end=end)
    chosen = {
        "model": scope.models,
        "tenant": scope.tenants,
        "route": scope.routes,
        "instance": scope.instances,
    }
    for name, wanted in chosen.items():
        if wanted:
            found = found.filter(pl.col(name).is_in(list(wanted)))
    return found.select(
        pl.col("at").cast(pl.Datetime("us")),
        pl.col("request_key"),
        pl.col("model").cast(pl.String),
        pl.col("route").cast(pl.String),
        pl.col("input_tokens").cast(pl.Float64).alias(INPUT),
        pl.col("block_hashes").alias(BLOCKS),
        pl.col("output_tokens").cast(pl.Float64).alias(OUTCOME),
        pl.col("is_cut").fill_null(value=False).alias(CENSORED),
    )
