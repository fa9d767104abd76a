"""The arrivals view of sources that are known as rates per client only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.measure import Measure, View
from analysis.workload import seasons
from analysis.workload.clients import weighted_variation
from analysis.workload.loading import Member, NotingReader, empty_view
from analysis.workload.schemas import SOURCES_SCHEMA, VIEW_UNITS, empty_frames
from analysis.workload.words import number_text
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
    hours = _hourly(fleet)
    rated = [member for member in sources if member.name in set(fleet["source"])]
    frames = empty_frames(_VIEW) | {
        "rate": _rate_frame(fleet),
        "weekly": seasons.weekly_frame(hours, calendar=all(m.has_calendar for m in rated)),
        "diurnal": seasons.diurnal_frame(hours),
        "sources": pl.DataFrame(
            [_source_row(member, rates, fleet) for member in rated], schema=dict(SOURCES_SCHEMA)
        ),
    }
    measures = _measures(rates, fleet)
    sentence = (
        f"{', '.join(member.name for member in rated)}: {rates['client'].n_unique():,} clients as "
        f"rate series, {number_text(measures['requests_per_second'].value or 0)} requests/s in "
        "all; single arrivals are not known."
    )
    shown = dict.fromkeys(("rate", "weekly", "diurnal", "sources"), sql)
    return View(_VIEW, scope, measures, frames, (sentence,), sql=shown)


def _fleet(rates: pl.DataFrame, sources: Sequence[Member]) -> pl.DataFrame:
    """source, at, requests (all clients), window_seconds; by source and time."""
    names = pl.DataFrame(
        {"source_id": [m.source_id for m in sources], "source": [m.name for m in sources]},
        schema={"source_id": rates.schema["source_id"], "source": pl.String},
    )
    return (
        rates.join(names, on="source_id")
        .group_by("source", "at")
        .agg(
            (pl.col("rate_per_second") * pl.col("window_seconds")).sum().alias("requests"),
            pl.col("window_seconds").max(),
        )
        .sort("source", "at")
    )


def _rate_frame(fleet: pl.DataFrame) -> pl.DataFrame:
    unknown = pl.lit(None, pl.Float64)
    return fleet.select(
        "at",
        "source",
        (pl.col("requests") / pl.col("window_seconds")).alias("requests_per_second"),
        unknown.alias("low_per_second"),
        unknown.alias("high_per_second"),
    )


def _hourly(fleet: pl.DataFrame) -> seasons.HourlyRates:
    """Requests by hour, windows counted whole in the hour they start in; only hours with one."""
    by_hour = (
        fleet.group_by("at")
        .agg(pl.col("requests").sum(), pl.col("window_seconds").max())
        .group_by((pl.col("at").dt.epoch("s") // 3600).alias("hour"))
        .agg(pl.col("requests").sum(), pl.col("window_seconds").sum())
        .sort("hour")
    )
    return seasons.HourlyRates(
        by_hour["hour"].to_numpy(),
        np.rint(by_hour["requests"].to_numpy()).astype(np.int64),
        by_hour["window_seconds"].to_numpy(),
    )


def _measures(rates: pl.DataFrame, fleet: pl.DataFrame) -> dict[str, Measure]:
    requests = float(fleet["requests"].sum())
    windows = fleet.group_by("at").agg(pl.col("window_seconds").max())
    per_second = requests / float(windows["window_seconds"].sum())
    variation = weighted_variation(rates)
    how = "clients' windows, weighted by rate"
    measures = {name: Measure(None, unit, why=_WHY) for name, unit in VIEW_UNITS[_VIEW].items()}
    measures["requests"] = Measure(requests, "requests", n=rates.height, why="rate x window")
    measures["requests_per_second"] = Measure(per_second, "requests/s", n=windows.height)
    measures["interarrival_cv"] = Measure(variation, "", n=rates.height, why=how)
    return measures


def _source_row(member: Member, rates: pl.DataFrame, fleet: pl.DataFrame) -> dict[str, object]:
    mine = fleet.filter(pl.col("source") == member.name)
    hours = _hourly(mine)
    days = float(mine["window_seconds"].sum()) / 86_400
    rhythm = None
    if days >= seasons.FEWEST_DAYS:
        rhythm = seasons.fit_day(hours.hours, hours.requests / hours.seconds, days)
    requests = float(mine["requests"].sum())
    return {
        "source": member.name,
        "requests": round(requests),
        "requests_per_second": requests / (days * 86_400),
        "interarrival_cv": weighted_variation(
            rates.filter(pl.col("source_id") == member.source_id)
        ),
        "peak_to_mean_day_ratio": rhythm.peak_to_mean_ratio if rhythm else None,
        "peak_hour": rhythm.peak_hour if rhythm else None,
        "day_explained_ratio": rhythm.explained_ratio if rhythm else None,
        "why": _WHY,
    }
