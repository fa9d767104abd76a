"""The arrivals view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.measure import Measure, View
from analysis.workload import arrivals, gap_fits, seasons
from analysis.workload.arrivals import Stamps
from analysis.workload.loading import NotingReader, clipped, known_or_why, members, merged
from analysis.workload.rate_series import rate_series_view
from analysis.workload.schemas import FITS_SCHEMA, INTERARRIVAL_SCHEMA, RATE_SCHEMA, SOURCES_SCHEMA
from analysis.workload.streams import Stream, by_source, load_streams
from analysis.workload.words import number_text
from store.queries import workload as queries
from store.queries.scope import Scope
from store.units import seconds_text

TOO_FEW = "fewer than two arrivals"


def workload_arrivals(reader: queries.FrameReader, scope: Scope) -> View:
    """What arrives and when: rates, gaps and their fits, the day and the week.

    Every attempted request counts, failed ones included. Measures are of all sources merged into
    one stream; the frames keep the sources apart.
    """
    noting = NotingReader(reader)
    sources = members(noting, scope)
    streams = load_streams(noting, scope, sources)
    if not streams:
        return rate_series_view(noting, scope, sources)
    sql = noting.last_text
    together = merged([stream.stamps for stream in streams])
    width = clipped(scope, sources).bin_seconds()
    hours = seasons.hourly(together)
    calendar = all(stream.member.has_calendar for stream in streams)
    frames = {
        "rate": by_source(streams, RATE_SCHEMA, lambda s: arrivals.rate_bins(s.stamps, width)),
        "weekly": seasons.weekly_frame(hours, calendar=calendar),
        "interarrival": by_source(
            streams,
            INTERARRIVAL_SCHEMA,
            lambda s: arrivals.interarrival_ecdf(arrivals.gaps_seconds(s.stamps)),
        ),
        "fits": by_source(
            streams,
            FITS_SCHEMA,
            lambda s: gap_fits.fits_frame(
                gap_fits.fit_gaps(arrivals.gaps_seconds(s.stamps), s.clock)
            ),
        ),
        "diurnal": seasons.diurnal_frame(hours),
        "sources": _sources_frame(streams),
    }
    return View(
        "workload_arrivals",
        scope,
        measures=_arrival_measures(streams, together),
        frames=frames,
        sentences=_arrival_sentences(streams, frames["fits"], calendar=calendar),
        sql=dict.fromkeys(frames, sql),
    )


def _arrival_measures(streams: Sequence[Stream], together: Stamps) -> dict[str, Measure]:
    size = int(together.size)
    rate = arrivals.rate_per_second(together)
    measures = {
        "requests": Measure(size, "requests", n=size),
        "requests_per_second": known_or_why(rate, "requests/s", size, TOO_FEW),
        "interarrival_cv": _variation_measure(streams, together),
        "clock_resolution_seconds": _resolution_measure(streams),
    }
    for window in arrivals.PEAK_WINDOWS_SECONDS:
        counted = arrivals.dispersion(together, window)
        why = f"the record is shorter than {seconds_text(window)}"
        if window == 1:
            measures["peak_1s"] = known_or_why(counted.peak_requests, "requests", size, why)
        measures[f"peak_to_mean_{window}s"] = known_or_why(
            counted.peak_to_mean_ratio, "", size, why
        )
    return measures


def _variation_measure(streams: Sequence[Stream], together: Stamps) -> Measure:
    coarse = next((stream for stream in streams if stream.clock.quantised), None)
    if coarse is not None:
        return Measure(None, "", n=int(together.size), why=f"{coarse.name}: {coarse.clock.why}")
    value = arrivals.variation(arrivals.gaps_seconds(together))
    return known_or_why(value, "", max(0, int(together.size) - 1), "fewer than two gaps")


def _resolution_measure(streams: Sequence[Stream]) -> Measure:
    known = [s.clock.resolution_seconds for s in streams if s.clock.resolution_seconds is not None]
    return known_or_why(
        max(known, default=None), "s", len(streams), "fewer than two distinct stamps"
    )


def _sources_frame(streams: Sequence[Stream]) -> pl.DataFrame:
    rows = [_source_row(stream) for stream in streams]
    return pl.DataFrame(rows, schema=dict(SOURCES_SCHEMA))


def _source_row(stream: Stream) -> dict[str, object]:
    stamps, clock = stream.stamps, stream.clock
    gaps = np.diff(stamps)
    widest = int(gaps.argmax()) if gaps.size else None
    rhythm = seasons.daily_rhythm(stamps, seasons.hourly(stamps))
    at = stamps[widest].astype("datetime64[us]").item() if widest is not None else None
    return {
        "source": stream.name,
        "requests": int(stamps.size),
        "requests_per_second": arrivals.rate_per_second(stamps),
        "interarrival_cv": None if clock.quantised else arrivals.variation(gaps / 1e6),
        "largest_gap_seconds": None if widest is None else int(gaps[widest]) / 1e6,
        "largest_gap_at": at,
        "clock_resolution_seconds": clock.resolution_seconds,
        "distinct_stamps": clock.distinct_stamps,
        "zero_gap_ratio": clock.zero_gap_ratio,
        "quantised": clock.quantised,
        "peak_to_mean_day_ratio": rhythm.peak_to_mean_ratio if rhythm else None,
        "peak_hour": rhythm.peak_hour if rhythm else None,
        "day_explained_ratio": rhythm.explained_ratio if rhythm else None,
        "why": clock.why,
    }


def _arrival_sentences(
    streams: Sequence[Stream], fits: pl.DataFrame, *, calendar: bool
) -> tuple[str, ...]:
    lines = [_source_sentence(stream) for stream in streams]
    lines += [_fit_sentence(stream.name, fits) for stream in streams if not stream.clock.quantised]
    days = max((arrivals.span_seconds(s.stamps) or 0.0) for s in streams) / 86_400
    if days < seasons.FEWEST_DAYS:
        lines.append(
            f"The record covers {seconds_text(days * 86_400)}: a daily rhythm needs "
            f"{seasons.FEWEST_DAYS} days."
        )
    if not calendar:
        lines.append("The clock has no calendar: hours and weekdays count from the trace's start.")
    return tuple(lines)


def _source_sentence(stream: Stream) -> str:
    rate = arrivals.rate_per_second(stream.stamps)
    if rate is None:
        return f"{stream.name}: {stream.stamps.size:,} requests; {TOO_FEW} at different times."
    start = (
        f"{stream.name}: {stream.stamps.size:,} requests (failed ones included), "
        f"{number_text(rate)} per second"
    )
    if stream.clock.quantised:
        return f"{start}; {stream.clock.why}."
    value = arrivals.variation(arrivals.gaps_seconds(stream.stamps))
    return f"{start}; gaps vary by {value:.3g} of their mean (1 = Poisson)." if value else start


def _fit_sentence(source: str, fits: pl.DataFrame) -> str:
    mine = fits.filter(pl.col("source") == source)
    good = mine.filter(pl.col("accepted")).sort("log_likelihood", descending=True)
    if good.height:
        best = good.row(0, named=True)
        shape = "" if best["family"] == "exponential" else f" with shape {best['shape']:.3g}"
        name = best["family"]
        return f"{source}: gaps follow {name}{shape} (KS distance {best['ks_distance']:.3f})."
    tried = mine.filter(pl.col("ks_distance").is_not_null())
    if not tried.height:
        return f"{source}: gaps are not fitted: {mine['why'][0]}."
    distances = ", ".join(f"{f} {d:.2f}" for f, d in tried.select("family", "ks_distance").rows())
    return f"{source}: no family fits the gaps (KS distance {distances}); use the empirical curve."
