"""The burstiness view."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.measure import Measure, View
from analysis.workload import arrivals
from analysis.workload.arrivals import Stamps
from analysis.workload.loading import NotingReader, empty_view, known_or_why, members, merged
from analysis.workload.schemas import DISPERSION_SCHEMA
from analysis.workload.streams import Stream, by_source, load_streams
from analysis.workload.words import number_text
from store.queries import workload as queries
from store.queries.scope import Scope
from store.units import seconds_text


def workload_burstiness(reader: queries.FrameReader, scope: Scope) -> View:
    """How bursty: the index of dispersion of counts over four window lengths.

    1 is Poisson. Full windows only, from the first arrival on; `index_with_last_window` also counts
    the part-filled last one, as some published tables do.
    """
    noting = NotingReader(reader)
    sources = members(noting, scope)
    streams = load_streams(noting, scope, sources)
    if not streams:
        return empty_view("workload_burstiness", noting, scope, sources)
    together = merged([stream.stamps for stream in streams])
    frame = by_source(streams, DISPERSION_SCHEMA, lambda s: _dispersion_frame(s.stamps))
    return View(
        "workload_burstiness",
        scope,
        measures={
            f"idc_{window}s": _dispersion_measure(arrivals.dispersion(together, window))
            for window in arrivals.DISPERSION_WINDOWS_SECONDS
        },
        frames={"dispersion": frame},
        sentences=_burst_sentences(streams),
        sql={"dispersion": noting.last_text},
    )


def _dispersion_frame(stamps: Stamps) -> pl.DataFrame:
    rows = [
        {
            "window_seconds": counted.window_seconds,
            "index_of_dispersion": counted.index,
            "windows": counted.windows,
            "peak_requests": counted.peak_requests,
            "peak_to_mean_ratio": counted.peak_to_mean_ratio,
            "index_with_last_window": arrivals.dispersion_with_last_window(
                stamps, counted.window_seconds
            ),
        }
        for counted in arrivals.dispersion_curve(stamps)
    ]
    schema = {name: kind for name, kind in DISPERSION_SCHEMA.items() if name != "source"}
    return pl.DataFrame(rows, schema=schema)


def _dispersion_measure(counted: arrivals.Dispersion) -> Measure:
    why = f"fewer than two full windows of {seconds_text(counted.window_seconds)}"
    return known_or_why(counted.index, "", counted.windows, why)


def _burst_sentences(streams: Sequence[Stream]) -> tuple[str, ...]:
    lines = []
    for stream in streams:
        curve = arrivals.dispersion_curve(stream.stamps)
        known = [
            f"{number_text(c.index)} at {c.window_seconds:g} s"
            for c in curve
            if c.index is not None
        ]
        lump = stream.clock.lump_seconds
        if stream.clock.quantised and lump is not None:
            lines.append(
                f"{stream.name}: stamps come every {seconds_text(lump)}; counts in shorter windows "
                "show the clock, not the traffic."
            )
        if known:
            lines.append(f"{stream.name}: dispersion {', '.join(known)} (Poisson: 1).")
    return tuple(lines)
