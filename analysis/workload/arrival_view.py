"""The arrivals view."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import polars as pl

from analysis.coverage import ONE_MOMENT, covered_seconds, covered_span
from analysis.measure import Measure, View
from analysis.workload import arrivals, gap_fits, seasons
from analysis.workload.dispersion import PEAK_WINDOWS_SECONDS
from analysis.workload.gaps import Gaps
from analysis.workload.loading import Member, NotingReader, bin_seconds, known_or_why, members
from analysis.workload.rate_series import rate_series_view
from analysis.workload.schemas import (
    FITS_SCHEMA,
    INTERARRIVAL_SCHEMA,
    RATE_SCHEMA,
    SOURCES_SCHEMA,
    empty_frames,
)
from analysis.workload.streams import Stream, by_source, combined, load_streams, span_seconds
from analysis.workload.words import number_text
from store.queries import workload as queries
from store.queries.scope import Scope
from store.units import seconds_text


def workload_arrivals(reader: queries.FrameReader, scope: Scope) -> View:
    """What arrives and when: rates, gaps and their fits, the day and the week.

    Every attempted request counts, failed ones included. Measures are of all sources merged into
    one stream; the frames keep the sources apart. Beyond 200,000 gaps, the curve and the
    fits use one in n of them and say so; all else is exact.
    """
    noting = NotingReader(reader)
    sources = members(noting, scope)
    return arrivals_view(noting, scope, sources, load_streams(noting, scope, sources))


def arrivals_view(
    noting: NotingReader,
    scope: Scope,
    sources: Sequence[Member],
    streams: Sequence[Stream],
    *,
    with_charts: bool = True,
    with_fits: bool = True,
) -> View:
    """The view of streams that are already loaded, by `noting`.

    Without `with_charts` the frames that are only drawn stay empty: all but `sources` and `fits`;
    without `with_fits` that one, too, and nothing is said.
    """
    if not streams:
        return rate_series_view(noting, scope, sources)
    sql = noting.last_text
    together = combined(streams)
    by_name = {stream.name: stream for stream in (*streams, together)}
    gaps = {name: stream.arrived.gaps for name, stream in by_name.items()}
    rates = _rates(noting, scope, sources, by_name)
    hourly = {name: stream.arrived.hourly for name, stream in by_name.items()}
    frames = empty_frames("workload_arrivals") | {
        "sources": pl.DataFrame(
            [_source_row(s, gaps[s.name], hourly[s.name], rates[s.name]) for s in streams],
            schema=dict(SOURCES_SCHEMA),
        ),
    }
    with ThreadPoolExecutor(1) as beside:  # either takes a processor for as long
        hours = hourly[together.name]
        drawn = (
            beside.submit(_drawn, scope, streams, together, gaps, hours) if with_charts else None
        )
        if with_fits:
            frames["fits"] = by_source(streams, FITS_SCHEMA, lambda s: _fits(s, gaps[s.name]))
        frames |= drawn.result() if drawn is not None else {}
    return View(
        "workload_arrivals",
        scope,
        measures=_measures(streams, together, gaps[together.name], rates[together.name]),
        frames=frames,
        sentences=_sentences(streams, gaps, frames["fits"], together, rates) if with_fits else (),
        sql=dict.fromkeys(frames, sql),
    )


def _drawn(
    scope: Scope,
    streams: Sequence[Stream],
    together: Stream,
    gaps: dict[str, Gaps],
    hours: seasons.HourlyRates,
) -> dict[str, pl.DataFrame]:
    """The frames that are only drawn."""
    width = bin_seconds(scope, span_seconds(together.arrived))
    return {
        "rate": by_source(
            streams,
            RATE_SCHEMA,
            lambda s: s.arrived.rate(width),
        ),
        "weekly": seasons.weekly_frame(hours, calendar=together.has_calendar),
        "interarrival": by_source(
            streams,
            INTERARRIVAL_SCHEMA,
            lambda s: arrivals.interarrival_ecdf(gaps[s.name].sample),
        ),
        "diurnal": seasons.diurnal_frame(hours),
    }


def _rates(
    reader: NotingReader, scope: Scope, sources: Sequence[Member], by_name: dict[str, Stream]
) -> dict[str, float | None]:
    """Requests ÷ covered seconds by stream; None when all came at one moment."""
    ids = {member.name: (member.source_id,) for member in sources}
    found: dict[str, float | None] = {}
    for name, stream in by_name.items():
        part = replace(scope, source_ids=ids.get(name, scope.source_ids))
        covered = covered_seconds(covered_span(reader, part))
        found[name] = stream.arrived.requests / covered if covered else None
    return found


def _variation(stream: Stream, gaps: Gaps) -> float | None:
    return None if stream.lumped_why else gaps.variation


def _fits(stream: Stream, gaps: Gaps) -> pl.DataFrame:
    frame = gap_fits.fits_frame(gap_fits.fit_gaps(gaps.sample, stream.arrived.clock))
    if gaps.step == 1:
        return frame
    note = pl.lit(f"fitted to one gap in {gaps.step} of {gaps.total:,}")
    return frame.with_columns(pl.concat_str("why", note, separator="; ", ignore_nulls=True))


def _measures(
    streams: Sequence[Stream], together: Stream, gaps: Gaps, rate: float | None
) -> dict[str, Measure]:
    size = together.arrived.requests
    measures = {
        "requests": Measure(size, "requests", n=size),
        "requests_per_second": known_or_why(rate, "requests/s", size, ONE_MOMENT),
        "interarrival_cv": _variation_measure(streams, gaps),
        "clock_resolution_seconds": _resolution_measure(streams),
    }
    for window in PEAK_WINDOWS_SECONDS:
        one = together.arrived.dispersions[window]
        why = f"the record is shorter than {seconds_text(window)}"
        if window == 1:
            measures["peak_1s"] = known_or_why(one.peak_requests, "requests", size, why)
        name = f"peak_to_mean_{window}s"
        measures[name] = known_or_why(one.peak_to_mean_ratio, "", size, why)
    return measures


def _variation_measure(streams: Sequence[Stream], gaps: Gaps) -> Measure:
    coarse = next((stream for stream in streams if stream.lumped_why), None)
    if coarse is not None:
        return Measure(None, "", n=gaps.total, why=f"{coarse.name}: {coarse.lumped_why}")
    return known_or_why(gaps.variation, "", gaps.total, "fewer than two gaps")


def _resolution_measure(streams: Sequence[Stream]) -> Measure:
    grains = [stream.clock.resolution_seconds for stream in streams if stream.clock is not None]
    known = [grain for grain in grains if grain is not None]
    why = "fewer than two distinct stamps"
    return known_or_why(
        max(known, default=None), "s", sum(s.arrived.requests for s in streams), why
    )


def _source_row(
    stream: Stream, gaps: Gaps, hours: seasons.HourlyRates, rate: float | None
) -> dict[str, object]:
    clock = stream.clock
    rhythm = seasons.daily_rhythm(hours)
    after = gaps.largest_after_us
    return {
        "source": stream.name,
        "requests": stream.arrived.requests,
        "requests_per_second": rate,
        "interarrival_cv": _variation(stream, gaps),
        "largest_gap_seconds": gaps.largest_seconds,
        "largest_gap_at": None if after is None else _time(after),
        "clock_resolution_seconds": clock.resolution_seconds if clock else None,
        "distinct_stamps": clock.distinct_stamps if clock else None,
        "zero_gap_ratio": clock.zero_gap_ratio if clock else None,
        "lump_seconds": clock.lump_seconds if clock else None,
        "quantised": stream.quantised_why is not None,
        "peak_to_mean_day_ratio": rhythm.peak_to_mean_ratio if rhythm else None,
        "peak_hour": rhythm.peak_hour if rhythm else None,
        "day_explained_ratio": rhythm.explained_ratio if rhythm else None,
        "why": stream.quantised_why,
    }


def _time(at_us: int) -> object:
    return np.datetime64(at_us, "us").item()


def _sentences(
    streams: Sequence[Stream],
    gaps: dict[str, Gaps],
    fits: pl.DataFrame,
    together: Stream,
    rates: dict[str, float | None],
) -> tuple[str, ...]:
    lines = [_source_sentence(stream, gaps[stream.name], rates[stream.name]) for stream in streams]
    lines += [_fit_sentence(s.name, fits) for s in streams if not s.quantised_why]
    days = max(span_seconds(s.arrived) for s in streams) / 86_400
    if days < seasons.FEWEST_DAYS:
        lines.append(
            f"The record covers {seconds_text(days * 86_400)}: a daily rhythm needs "
            f"{seasons.FEWEST_DAYS} days."
        )
    if not together.has_calendar:
        lines.append("The clock has no date: weekday 0 is the first day of the trace.")
    return tuple(lines)


def _source_sentence(stream: Stream, gaps: Gaps, rate: float | None) -> str:
    if rate is None:
        return f"{stream.name}: {stream.arrived.requests:,} requests, all at one moment."
    start = (
        f"{stream.name}: {stream.arrived.requests:,} requests (failed ones included), "
        f"{number_text(rate)} per second"
    )
    if stream.quantised_why:
        return f"{start}; {stream.quantised_why}."
    variation = _variation(stream, gaps)
    if variation is None:
        return f"{start}."
    return f"{start}; gaps vary by {number_text(variation)} of their mean (1 = Poisson)."


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
