"""The burstiness view."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.measure import Measure, View
from analysis.workload.dispersion import Dispersion
from analysis.workload.loading import Member, NotingReader, empty_view, known_or_why, members
from analysis.workload.schemas import DISPERSION_SCHEMA
from analysis.workload.streams import Stream, combined, load_streams
from analysis.workload.words import number_text
from store.queries import workload as queries
from store.queries.scope import Scope
from store.units import seconds_text

_VIEW = "workload_burstiness"


def workload_burstiness(reader: queries.FrameReader, scope: Scope) -> View:
    """How bursty: the index of dispersion of counts over four window lengths.

    1 is Poisson. Full windows only: of the clock for the live fleet, else from the first arrival
    on; `index_with_last_window` also counts the part-filled last one, as some published tables do.
    """
    noting = NotingReader(reader)
    sources = members(noting, scope)
    return burstiness_view(
        noting, scope, sources, load_streams(noting, scope, sources, with_charts=False)
    )


def burstiness_view(
    noting: NotingReader, scope: Scope, sources: Sequence[Member], streams: Sequence[Stream]
) -> View:
    """The view of streams that are already loaded, by `noting`."""
    if not streams:
        return empty_view(_VIEW, noting, scope, sources)
    curves = {stream.name: _curve(stream) for stream in streams}
    measured = _curve(combined(streams))
    return View(
        _VIEW,
        scope,
        measures={f"idc_{one.window_seconds}s": _measure(one) for one in measured},
        frames={"dispersion": _frame(curves)},
        sentences=_sentences(streams, curves),
        sql={"dispersion": noting.last_text},
    )


def _curve(stream: Stream) -> list[Dispersion]:
    return list(stream.arrived.dispersions.values())


def _frame(curves: dict[str, list[Dispersion]]) -> pl.DataFrame:
    rows = [
        {
            "source": name,
            "window_seconds": one.window_seconds,
            "index_of_dispersion": one.index,
            "windows": one.windows,
            "peak_requests": one.peak_requests,
            "peak_to_mean_ratio": one.peak_to_mean_ratio,
            "index_with_last_window": one.index_with_last_window,
        }
        for name, curve in curves.items()
        for one in curve
    ]
    return pl.DataFrame(rows, schema=dict(DISPERSION_SCHEMA))


def _measure(one: Dispersion) -> Measure:
    why = f"fewer than two full windows of {seconds_text(one.window_seconds)}"
    return known_or_why(one.index, "", one.windows, why)


def _sentences(streams: Sequence[Stream], curves: dict[str, list[Dispersion]]) -> tuple[str, ...]:
    lines = []
    for stream in streams:
        lump = stream.clock.lump_seconds if stream.clock is not None else None
        if stream.lumped_why is not None and lump is not None:
            lines.append(
                f"{stream.name}: stamps come in lumps, one each {seconds_text(lump)}; counts in "
                "shorter windows show the clock, not the traffic."
            )
        known = [
            f"{number_text(one.index)} at {one.window_seconds} s"
            for one in curves[stream.name]
            if one.index is not None
        ]
        if known:
            lines.append(f"{stream.name}: dispersion {', '.join(known)} (Poisson: 1).")
    return tuple(lines)
