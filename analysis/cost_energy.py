"""Energy of cards, as far as they tell: from their counters, else from their power."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from analysis import series
from analysis.cost_lanes import inside, width_seconds
from store.queries import cost as queries
from store.queries import counters, telemetry
from store.queries.scope import Scope
from store.reader import Reader

JOULES_PER_KWH = 3.6e6
ENERGY_SCHEMA: dict[str, Any] = {
    "node": pl.String,
    "gpu": pl.String,
    "gpu_model": pl.String,
    "energy_kwh": pl.Float64,
    "power_mean_watts": pl.Float64,
    "covered_seconds": pl.Float64,
    "told_by": pl.String,
}
_TOLD_BY = {"gpu_energy_joules_total": "energy counter", "gpu_power_watts": "power readings"}


def cards(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Energy of each card that tells it in a range: columns of `ENERGY_SCHEMA`.

    What a counter of energy counted; of a card without one its mean power in each bin (of five
    minutes or a multiple) times the bin. A bin without a reading counts for nothing.
    """
    known = queries.card_series(reader)
    if known.is_empty():
        return pl.DataFrame(schema=ENERGY_SCHEMA)
    found = pl.concat([how(reader, scope) for how in _ways(known)])
    return (
        found.filter((pl.col("seconds") > 0) & pl.col("joules").is_not_null())
        .join(known, on="series_id")
        .sort("node", "gpu", "signal")
        .unique(["node", "gpu"], keep="first", maintain_order=True)
        .select(
            "node",
            "gpu",
            "gpu_model",
            energy_kwh=pl.col("joules") / JOULES_PER_KWH,
            power_mean_watts=pl.col("joules") / pl.col("seconds"),
            covered_seconds=pl.col("seconds"),
            told_by=pl.col("signal").replace_strict(_TOLD_BY),
        )
        .cast(ENERGY_SCHEMA)  # type: ignore[arg-type]
    )


def _ways(known: pl.DataFrame) -> list[Callable[[Reader, Scope], pl.DataFrame]]:
    """How cards tell: a store that has no counter is not asked for any."""
    told = set(known["signal"])
    ways = {"gpu_energy_joules_total": _counted, "gpu_power_watts": _powered}
    return [way for signal, way in ways.items() if signal in told]


def _counted(reader: Reader, scope: Scope) -> pl.DataFrame:
    """series_id, joules, seconds of counters of energy."""
    signals = ("gpu_energy_joules_total",)
    width, anchor = _bins(scope)
    stepped = counters.counter_steps(reader, signals, scope.start, scope.end, width, anchor)
    return stepped.group_by("series_id").agg(
        joules=pl.col("increase").sum(), seconds=pl.col("seconds").sum()
    )


def _powered(reader: Reader, scope: Scope) -> pl.DataFrame:
    """series_id, joules, seconds of power."""
    width, anchor = _bins(scope)
    signals = ("gpu_power_watts",)
    found = telemetry.gauge_bins(reader, signals, scope.start, scope.end, width, anchor)
    last = pl.lit(anchor.replace(tzinfo=None), pl.Datetime("us"))
    back = pl.duration(seconds=(pl.col("bin") + 1) * width)
    return (
        found.with_columns(at=last - back)
        .with_columns(seconds=inside(scope, width))
        .group_by("series_id")
        .agg(joules=(pl.col("mean") * pl.col("seconds")).sum(), seconds=pl.col("seconds").sum())
    )


def _bins(scope: Scope) -> tuple[int, datetime]:
    """Width, and where the newest bin ends: whole buckets, which roll-ups answer."""
    width = width_seconds(scope)
    last: datetime = series.round_bins(scope.start, scope.end, width)["at"][-1]
    return width, last.replace(tzinfo=scope.end.tzinfo) + timedelta(seconds=width)
