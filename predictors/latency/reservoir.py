"""Which rows to learn from when there are more than needed: as many busy ones as idle ones.

Idle engines are the rule and teach little; the newest rows of every kind of load are kept.

Source: the stratified window of llm-d's latency predictor (queue, cache and prefix buckets).
"""

from __future__ import annotations

import polars as pl

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
        pl.coalesce("requests_waiting", "scraped_waiting").fill_null(0).cut(list(_WAITING_EDGES)),
        pl.coalesce("requests_running", "scraped_running").fill_null(0).cut(list(_RUNNING_EDGES)),
        pl.col("input_tokens").fill_null(0).cut(list(_PROMPT_EDGES)),
        *[pl.col(name).fill_null("") for name in ("gpu_type", "engine", "model")],
    ]
    ages = rows.with_columns(
        pl.int_range(pl.len(), 0, -1)
        .over([kind.to_physical() if number < 3 else kind for number, kind in enumerate(kinds)])
        .alias("_newest")
    )
    # The newest of each kind first, until there are enough.
    cut = ages["_newest"].sort()[most - 1]
    return ages.filter(pl.col("_newest") <= cut).drop("_newest")
