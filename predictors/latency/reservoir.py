"""Which rows to learn from when there are more than needed: as many busy ones as idle ones.

Idle engines are the rule and teach little; the newest rows of every kind of load are kept.

Source: the stratified window of llm-d's latency predictor (queue, cache and prefix buckets).
"""

from __future__ import annotations

import polars as pl

from predictors.latency.features import PHYSICS_KEYS

_WAITING_EDGES = (0.5, 3.0, 10.0, 50.0)
_RUNNING_EDGES = (0.5, 4.0, 16.0, 64.0, 256.0)
_PROMPT_EDGES = (128.0, 1024.0, 8192.0)


def balanced(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most about `most` rows, the newest of each kind of load, in their order.

    Args:
        rows: oldest first, with the columns of a spec's frame.
        most: to keep.
    """
    if rows.height <= most:
        return rows
    kinds = [
        _bin(pl.coalesce("requests_waiting", "scraped_waiting"), _WAITING_EDGES),
        _bin(pl.coalesce("requests_running", "scraped_running"), _RUNNING_EDGES),
        _bin(pl.col("input_tokens"), _PROMPT_EDGES),
        *[pl.col(name).fill_null("") for name in PHYSICS_KEYS],
    ]
    newest = pl.int_range(pl.len(), 0, -1).over(kinds)
    ages = rows.with_columns(newest.alias("_newest"))
    # The newest of each kind first, until there are enough.
    cut = ages["_newest"].sort()[most - 1]
    return ages.filter(pl.col("_newest") <= cut).drop("_newest")


def _bin(column: pl.Expr, edges: tuple[float, ...]) -> pl.Expr:
    return pl.sum_horizontal((column.fill_null(0) > edge).cast(pl.Int8) for edge in edges)
