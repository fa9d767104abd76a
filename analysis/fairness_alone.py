"""How many times as long the requests of each tenant took as they would have next to nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from analysis.fairness_courses import Courses
from store.queries import fairness_durations as queries
from store.queries.scope import Scope
from store.queries.workload import FrameReader

FEWEST_ALONE = 10
"""Requests of one input length that must have been served at low load to tell how long it takes."""
LEAST_COVERED_RATIO = 0.5
ALONE_SCHEMA: dict[str, Any] = {"tenant": pl.String, "finish_time_factor": pl.Float64}


@dataclass(frozen=True, slots=True)
class Taken:
    """What is known of a range before its courses are.

    Attributes:
        instances: how many served.
        durations: as `store.queries.fairness_durations.durations` gives.
    """

    instances: int
    durations: pl.DataFrame


def taken(reader: FrameReader, scope: Scope) -> Taken:
    """How long requests took, and how many instances served them."""
    return Taken(queries.instances(reader, scope), queries.durations(reader, scope))


def over_alone(reader: FrameReader, scope: Scope, courses: Courses, known: Taken) -> pl.DataFrame:
    """How many times as long requests took as they would have alone, by tenant.

    rho = sum of durations over the sum of what requests of that length took when next to nobody
    was there: the median first token of that input length, and the median pace. Source: finish-time
    fairness of Themis (NSDI 2020).

    Returns:
        columns of `ALONE_SCHEMA`, the largest factor first; only tenants of which most requests
        can be compared.
    """
    quiet = courses.running <= known.instances
    bins = np.flatnonzero(quiet[:-1] & quiet[1:]).tolist()
    if not bins:
        return pl.DataFrame(schema=ALONE_SCHEMA)
    alone = queries.alone(reader, scope, bins, courses.width_seconds)
    paces = [(row["tpot_seconds"], row["paced"]) for row in alone.iter_rows(named=True)
             if min(row["requests"], row["paced"]) >= FEWEST_ALONE]  # fmt: skip
    if not paces:
        return pl.DataFrame(schema=ALONE_SCHEMA)
    pace = sum(seconds * requests for seconds, requests in paces) / sum(n for _, n in paces)
    quick = alone.lazy().filter(pl.col("requests") >= FEWEST_ALONE)
    has = pl.col("ttft_seconds").is_not_null()
    expected = pl.col("requests") * pl.col("ttft_seconds") + pace * pl.col("later_tokens")
    return (
        known.durations.lazy()
        .join(quick.select("octave", "ttft_seconds"), on="octave", how="left")
        .group_by("tenant")
        .agg(
            (pl.col("e2e_seconds").filter(has).sum() / expected.filter(has).sum()).alias(
                "finish_time_factor"
            ),
            (pl.col("requests").filter(has).sum() / pl.col("requests").sum()).alias("covered"),
        )
        .filter(
            (pl.col("covered") >= LEAST_COVERED_RATIO) & pl.col("finish_time_factor").is_finite()
        )
        .select(pl.col(name).cast(kind) for name, kind in ALONE_SCHEMA.items())
        .sort("finish_time_factor", "tenant", descending=[True, False])
        .collect()
    )
