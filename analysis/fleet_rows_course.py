"""The fleet over time, as request rows tell it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from analysis import latency, series
from analysis.coverage import Span
from analysis.fleet_part import FAILURES, SPARKLINES_SCHEMA, conform
from store.queries import rollup
from store.queries.scope import Scope
from store.reader import Reader

P95 = 0.95
# A bin at the edge of the range of which less was recorded says too little about a rate.
SHORTEST_COVER_RATIO = 0.2
# From half a day on the roll-ups are cheaper than the rows.
ROLLED_FROM_SECONDS = 43_200
QUANTITIES = ("arrival", "ttft", "tpot")
SUMS = ("input_tokens", "output_tokens")
LATENCIES = ("ttft", "tpot")
_STATUSES = ("failed", "refused", "aborted")
SHARES: Mapping[str, tuple[str, ...]] = {
    "error_ratio": _STATUSES,
    **{name: (status,) for name, status in zip(FAILURES, _STATUSES, strict=True)},
}
"""Shares of requests that came to nothing, each with the statuses that count."""


def counts(
    reader: Reader, scope: Scope, width_seconds: int, by: rollup.Label | None = None
) -> pl.DataFrame:
    """Requests, latencies and tokens over time, as `rollup.counts` gives them.

    A failed request has no latency here: one that was turned away at once was not fast.
    """
    use: rollup.Use = "rollup" if scope.seconds >= ROLLED_FROM_SECONDS else "auto"
    found = rollup.counts(reader, scope, QUANTITIES, width_seconds, by=by, sums=SUMS, use=use)
    return found.filter(~pl.col("quantity").is_in(LATENCIES) | (pl.col("status") == "ok"))


def covered(scope: Scope, width_seconds: int, span: Span) -> pl.DataFrame:
    """at, covered (seconds of the bin that were recorded; null where too few were)."""
    axis = series.round_bins(scope.start, scope.end, width_seconds)
    width = timedelta(seconds=width_seconds)
    first, last = (edge.replace(tzinfo=None) for edge in span)
    recorded = (
        pl.min_horizontal(pl.col("at") + width, pl.lit(last, pl.Datetime("us")))
        - pl.max_horizontal(pl.col("at"), pl.lit(first, pl.Datetime("us")))
    ).dt.total_microseconds() / 1e6
    known = pl.when(recorded >= SHORTEST_COVER_RATIO * width_seconds).then(recorded)
    return axis.with_columns(covered=known)


def p95(bins: pl.DataFrame, key: str) -> pl.LazyFrame:
    """`key`, and of TTFT and TPOT the 95th percentile in seconds; null where none is known."""
    latencies = bins.filter(pl.col("quantity").is_in(LATENCIES))
    times = latency.quantiles(latencies, P95, "quantity", key)
    return (
        times.lazy()
        .group_by(key)
        .agg(
            pl.col("seconds")
            .filter(pl.col("quantity") == name)
            .first()
            .alias(f"{name}_p95_seconds")
            for name in LATENCIES
        )
    )


def sparklines(bins: pl.DataFrame, axis: pl.DataFrame) -> pl.DataFrame:
    """Columns of `SPARKLINES_SCHEMA`, a row a bin of `covered`."""
    quantity, requests = pl.col("quantity"), pl.col("requests")
    came = requests.filter(quantity == "arrival")
    shares = {
        name: requests.filter((quantity == "arrival") & pl.col("status").is_in(statuses)).sum()
        / came.sum()
        for name, statuses in SHARES.items()
    }
    known = set(bins["quantity"].unique())
    sides = [side for side in ("input", "output") if f"{side}_tokens" in known]
    tokens = {
        side: pl.col("value_sum").filter(quantity == f"{side}_tokens").sum() for side in sides
    }
    counted = bins.lazy().group_by("at").agg(came.sum(), **shares, **tokens)
    ends = {
        f"{name}_p95_seconds_{end}": pl.col(f"{name}_p95_seconds")
        for name in LATENCIES
        for end in ("low", "high")
    }
    # While a source records, a bin without requests is a true zero; outside nothing is known.
    rates = {
        f"{name}_per_second": pl.col(column).fill_null(0) / pl.col("covered")
        for name, column in [
            ("requests", "requests"),
            *((f"{side}_tokens", side) for side in sides),
        ]
    }
    whole = _onto(_onto(axis.lazy(), counted), p95(bins, "at")).with_columns(**rates, **ends)
    return conform(whole.collect(), SPARKLINES_SCHEMA)


def _onto(axis: pl.LazyFrame, values: pl.LazyFrame) -> pl.LazyFrame:
    return axis.join(values, on="at", how="left", maintain_order="left")
