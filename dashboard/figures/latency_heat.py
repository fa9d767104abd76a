"""The heat map of a latency over time, with its quantiles and objectives."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from dashboard.figures.base import (
    Look,
    Picture,
    Trace,
    label,
    layout,
    level,
    line,
    log_axis,
    numbers,
    time_axis,
    times,
)
from dashboard.text import interval_text
from dashboard.theme import COUNT_SCALE, GREEN, PURPLE, VERMILION
from store.units import seconds_text

_QUANTILES = (("p50", "solid"), ("p95", "dash"), ("p99", "dot"))
_UNBOUNDED_FACTOR = 2.0


def heatmap(
    frame: pl.DataFrame, quantiles: pl.DataFrame, objectives: pl.DataFrame, title: str, look: Look
) -> Picture | str:
    """Counts by time and latency, with p50, p95 and p99 and the objectives on top.

    Args:
        frame: `at`, `low_seconds`, `high_seconds` (null: no upper edge), `requests`.
        quantiles: `at`, `p50_seconds` … with `_low` and `_high`; a value is a line, an interval a
            pair of thin ones.
        objectives: `name`, `threshold_seconds`.
        title: of the latency axis.
        look: zone and clock.
    """
    cells = frame.with_columns(
        high_seconds=pl.col("high_seconds").fill_null(pl.col("low_seconds") * _UNBOUNDED_FACTOR)
    ).filter(pl.col("high_seconds") > 0)
    if cells.is_empty():
        return "Nothing in this range reports it."
    # A first bucket begins at zero, which a logarithmic axis does not have.
    cells = cells.with_columns(
        low_seconds=pl.when(pl.col("low_seconds") > 0)
        .then("low_seconds")
        .otherwise(pl.col("high_seconds") / 2)
    )
    traces = [_heat(cells, look), *_quantile_lines(quantiles, look)]
    shapes, notes = [], []
    for name, threshold in objectives.iter_rows():
        shapes.append(level(threshold, "", VERMILION)[0])
        words = f"{name} \N{LESS-THAN OR EQUAL TO} {seconds_text(threshold)}"
        notes.append(label(math.log10(threshold), words))
    low, high = cells["low_seconds"].min(), cells["high_seconds"].max()
    edges = numbers(pl.DataFrame({"edge": [low, high]}), "edge")
    y = log_axis(f"{title} (log)", edges, range=[math.log10(edge) for edge in edges if edge])
    made = layout(time_axis(look), y, legend=True) | {"shapes": shapes, "annotations": notes}
    return Picture({"data": traces, "layout": made}, _heat_words(quantiles, title))


def _heat(cells: pl.DataFrame, look: Look) -> Trace:
    """A heat map whose rows and columns reach from edge to edge, empty ones included."""
    edges = _edges(cells)
    at = _every_bin(cells["at"])
    first, last = (np.searchsorted(edges, cells[name]) for name in ("low_seconds", "high_seconds"))
    # A coarser bucket covers several rows where layouts differ.
    spans = last - first
    begins = np.repeat(spans.cumsum() - spans, spans)
    places = (
        np.repeat(first, spans) + np.arange(len(begins)) - begins,
        np.repeat(np.searchsorted(at, cells["at"]), spans),
    )
    requests = np.repeat(cells["requests"].to_numpy(), spans)
    shape = (len(edges) - 1, len(at))
    # Colour by the logarithm: the rare slow requests are what the page is about.
    shades = np.round(np.log10(np.maximum(requests, 1.0)) + 0.15, 2)
    return {
        "type": "heatmap",
        "x": times(pl.DataFrame({"at": at}), "at", look),
        "y": [float(f"{edge:.5g}") for edge in edges],
        "z": _filled(shape, places, shades),
        # Numbers, not words: a day has ten thousand cells, sent again at every refresh.
        "customdata": _filled(shape, places, np.rint(requests).astype(np.int64)),
        "hovertemplate": "about %{y:.3g} s: %{customdata:,} requests<extra></extra>",
        "colorscale": [list(stop) for stop in COUNT_SCALE],
        "zmin": 0,
        "showscale": False,
        "hoverongaps": False,
        "name": "requests",
    }


def _edges(cells: pl.DataFrame) -> list[float]:
    """Where cells begin and end, each once, from the lowest."""
    ends = pl.concat([cells["low_seconds"], cells["high_seconds"].alias("low_seconds")])
    return ends.unique().sort().to_list()


def _filled(
    shape: tuple[int, int], places: tuple[Any, Any], values: npt.NDArray[Any]
) -> list[list[Any]]:
    """Rows of a table with `values` at `places` and None elsewhere."""
    table = np.full(shape, None, dtype=object)
    table[places] = values
    made: list[list[Any]] = table.tolist()
    return made


def _every_bin(at: pl.Series) -> pl.Series:
    """All bins from the first to the last: a column for those without a request as well."""
    known = at.unique().sort()
    width = known.diff().drop_nulls().min()
    if not isinstance(width, timedelta):
        return known
    first, last = known[0], known[-1]
    return pl.datetime_range(first, last, width, time_unit="us", eager=True).alias("at")


def _quantile_lines(frame: pl.DataFrame, look: Look) -> list[Trace]:
    at = times(frame, "at", look)
    traces: list[Trace] = []
    for index, (name, dash) in enumerate(_QUANTILES):
        colour = (VERMILION, PURPLE, GREEN)[index]
        known = numbers(frame, f"{name}_seconds")
        style = {"color": colour, "dash": dash, "width": 2}
        if any(v is not None for v in known):
            made = line(at, known, name) | {"line": style}
            made["hovertemplate"] = name + " %{y:.3g} s<extra></extra>"
            traces.append(made)
            continue
        low, high = (numbers(frame, f"{name}_seconds_{side}") for side in ("low", "high"))
        if not any(v is not None for v in (*low, *high)):
            continue
        words = [interval_text(a, b, "s") for a, b in zip(low, high, strict=True)]
        for place, edge in enumerate((low, high)):
            made = line(at, edge, f"{name}, between these edges")
            made |= {"line": {**style, "width": 1.5, "shape": "hv"}, "showlegend": place == 0}
            made |= {"customdata": words, "hovertemplate": f"{name} %{{customdata}}<extra></extra>"}
            if place:
                made["hoverinfo"] = "skip"
                del made["hovertemplate"]
            traces.append(made)
    return traces


def _heat_words(quantiles: pl.DataFrame, title: str) -> str:
    words = []
    last = quantiles.sort("at").row(-1, named=True) if quantiles.height else {}
    for name, _ in _QUANTILES:
        value = last.get(f"{name}_seconds")
        low, high = last.get(f"{name}_seconds_low"), last.get(f"{name}_seconds_high")
        words.append(f"{name} {seconds_text(value) if value else interval_text(low, high, 's')}")
    return f"{title[:1].upper()}{title[1:]} over time; in the last bin {', '.join(words)}."
