"""The arrivals view of sources that are known as rates per client only."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.measure import Measure, View
from analysis.workload.clients import weighted_variation
from analysis.workload.loading import Member, NotingReader, empty_view
from analysis.workload.schemas import VIEW_UNITS, empty_frames
from store.queries import workload as queries
from store.queries.scope import Scope

_VIEW = "workload_arrivals"
_WHY = "known as rates per client and window, not as single requests"


def rate_series_view(reader: NotingReader, scope: Scope, sources: Sequence[Member]) -> View:
    """The fleet's rate over time, summed over clients; or why there is nothing at all.

    Requests are rate x window; the variation is that of the clients' windows, weighted by rate.
    """
    rates = queries.client_rates(reader, scope)
    if rates.is_empty():
        return empty_view(_VIEW, reader, scope, sources)
    sql = reader.last_text
    fleet = _fleet(rates, sources)
    requests = float(fleet.select(pl.col("rate_per_second").dot("window_seconds")).item())
    windows = fleet.group_by("at").agg(pl.col("window_seconds").max())
    per_second = requests / float(windows["window_seconds"].sum())
    measures = {name: Measure(None, unit, why=_WHY) for name, unit in VIEW_UNITS[_VIEW].items()}
    measures["requests"] = Measure(requests, "requests", n=rates.height, why="rate x window")
    measures["requests_per_second"] = Measure(per_second, "requests/s", n=windows.height)
    measures["interarrival_cv"] = Measure(
        weighted_variation(rates), "", n=rates.height, why="clients' windows, weighted by rate"
    )
    null = pl.lit(None, pl.Float64)
    rate = fleet.select(
        "at",
        "source",
        pl.col("rate_per_second").alias("requests_per_second"),
        null.alias("low_per_second"),
        null.alias("high_per_second"),
    )
    sentence = (
        f"{', '.join(fleet['source'].unique(maintain_order=True))}: "
        f"{rates['client'].n_unique():,} clients as rate series, {per_second:.3g} requests/s in "
        "all; single arrivals are not known."
    )
    frames = empty_frames(_VIEW) | {"rate": rate}
    return View(_VIEW, scope, measures, frames, (sentence,), sql={"rate": sql})


def _fleet(rates: pl.DataFrame, sources: Sequence[Member]) -> pl.DataFrame:
    """source, at, rate_per_second (all clients), window_seconds; by source and time."""
    names = pl.DataFrame(
        {"source_id": [m.source_id for m in sources], "source": [m.name for m in sources]},
        schema={"source_id": rates.schema["source_id"], "source": pl.String},
    )
    return (
        rates.join(names, on="source_id")
        .group_by("source", "at")
        .agg(pl.col("rate_per_second").sum(), pl.col("window_seconds").max())
        .sort("source", "at")
    )
