"""Pod utility ratio: how long a replica was useful for each second it took to start.

A replica that starts for 20 s and then serves for 10 s was not worth its start. The time it was
merely kept alive at the end does not count as useful.

Source: Joosen et al. (2025), Serverless Cold Starts and Where to Find Them, EuroSys.
"""

from __future__ import annotations

import polars as pl

from store.errors import InputError

STARTED, STOPPED, START, KEPT = (
    "started_at", "stopped_at", "start_seconds", "kept_alive_seconds",
)  # fmt: skip


def utility(replicas: pl.DataFrame, by: tuple[str, ...] = ()) -> pl.DataFrame:
    """How worthwhile starts were.

    Args:
        replicas: `started_at` (began to start), `stopped_at` (null: still there, left out),
            `start_seconds` (> 0, else left out), optionally `kept_alive_seconds`, and `by`.
        by: groups, like ("model",); () is everything.

    Returns:
        `by`, replicas, utility_p10/p50/p90 (useful seconds / start seconds), below_one_ratio
        (replicas that were useful for less time than they took to start), start_ratio (of all
        time, what went into starts), still_running (left out).

    Raises:
        InputError: a column is missing.
    """
    absent = [name for name in (STARTED, STOPPED, START, *by) if name not in replicas.columns]
    if absent:
        raise InputError(f"replicas need the column {absent[0]!r} for their utility")
    if KEPT not in replicas.columns:
        replicas = replicas.with_columns(pl.lit(0.0).alias(KEPT))
    life = (pl.col(STOPPED) - pl.col(STARTED)).dt.total_microseconds() / 1e6
    useful = (life - pl.col(START) - pl.col(KEPT).fill_null(0.0)).clip(0.0)
    ratio = useful / pl.col(START)
    ended = pl.col(STOPPED).is_not_null() & (pl.col(START) > 0)
    asked = (
        ended.sum().alias("replicas"),
        *(
            ratio.filter(ended).quantile(level, "linear").alias(f"utility_p{level * 100:.0f}")
            for level in (0.1, 0.5, 0.9)
        ),
        (ratio.filter(ended) < 1).mean().alias("below_one_ratio"),
        (pl.col(START).filter(ended).sum() / life.filter(ended).sum()).alias("start_ratio"),
        pl.col(STOPPED).is_null().sum().alias("still_running"),
    )
    if not by:
        return replicas.select(asked)
    return replicas.group_by(by, maintain_order=True).agg(asked).sort(by)
