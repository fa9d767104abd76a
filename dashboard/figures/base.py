"""The parts every figure is made of.

Figures are plain dictionaries: nothing here imports Plotly, so they are cheap to build and to test.
Text and grid carry a neutral grey; the stylesheet gives them the colours of the theme in force.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from dashboard.text import clock_words
from dashboard.theme import BLUE, GREY, SERIES_COLOURS, SERIES_DASHES
from store.queries.scope import Clock

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """How times are to be drawn.

    Attributes:
        zone: display zone.
        clock: of the sources shown; a relative clock is drawn as days of the trace.
    """

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    clock: Clock = "utc"


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure and what it says, for those who do not see it."""

    figure: dict[str, Any]
    summary: str


def numbers(frame: pl.DataFrame, column: str) -> list[float | None]:
    """A column as JSON numbers: what is null, NaN or infinite becomes None, a gap in a line."""
    values = frame.get_column(column).cast(pl.Float64).to_list()
    return [None if v is None or not math.isfinite(v) else float(f"{v:.6g}") for v in values]


def times(frame: pl.DataFrame, column: str, look: Look) -> list[str | None]:
    """A naive UTC column as naive strings in the display zone: Plotly ignores offsets."""
    at = pl.col(column).dt.replace_time_zone("UTC")
    if look.clock == "utc":
        at = at.dt.convert_time_zone(look.zone.key)
    told = frame.select(at.dt.strftime("%Y-%m-%dT%H:%M:%S"))
    found: list[str | None] = told.to_series().to_list()
    return found


def utc_text(drawn: str, look: Look) -> str:
    """A time as Plotly gives it back (naive, in the display zone) as UTC for an address.

    Raises:
        ValueError: it is no time.
    """
    at = datetime.fromisoformat(drawn)
    zone = look.zone if look.clock == "utc" else UTC
    return f"{at.replace(tzinfo=zone).astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def from_first_known(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The frame without its first rows, as long as they know none of these columns."""
    known = pl.any_horizontal(pl.col(name).is_not_null() for name in columns)
    return frame.filter(known.cum_sum() > 0)


def groups(frame: pl.DataFrame, column: str) -> list[tuple[str, pl.DataFrame]]:
    """The frame's parts by a name column, in the order of first appearance; one part without it."""
    if column not in frame.columns:
        return [("", frame)]
    parts = frame.partition_by(column, maintain_order=True)
    return [(str(part.get_column(column)[0]), part) for part in parts]


def axis(
    title: str, kind: str = "linear", *, from_zero: bool = False, **more: Any
) -> dict[str, Any]:
    """One axis: linear, log, date or category; rates and ratios start at zero."""
    made: dict[str, Any] = {
        "title": {"text": title, "standoff": 6, "font": {"size": 11}},
        "type": kind,
        "gridcolor": "rgba(128,136,148,0.22)",
        "zeroline": False,
        "showline": False,
        "automargin": True,
        "tickfont": {"size": 11},
        # Unseen ticks keep the labels of both axes apart in the corner.
        "ticks": "outside",
        "ticklen": 5,
        "tickcolor": "rgba(0,0,0,0)",
    }
    if from_zero:
        made["rangemode"] = "tozero"
    if kind == "log":
        made |= {"dtick": 1, "exponentformat": "none"}
    return made | more


def log_axis(title: str, values: Sequence[float | None], **more: Any) -> dict[str, Any]:
    """A logarithmic axis with labels, however little `values` span."""
    return axis(title, "log", **{**more, **_log_ticks(values)})


def _log_ticks(values: Sequence[float | None]) -> dict[str, Any]:
    """Powers of ten may all lie outside: then 1-2-5 steps, then round even steps are labelled."""
    known = [v for v in values if v is not None and v > 0]
    if not known or max(known) / min(known) > 300:
        return {}
    low, high = min(known), max(known)
    tens = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1,), (1, 2, 5)):
        ticks = [m * 10.0**ten for ten in tens for m in mantissas]
        within = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(within) >= 3:
            break
    else:
        within = _even_ticks(low, high)
    digits = 6 if len(within) > 1 else 3
    words = [_tick_text(tick, digits) for tick in within]
    return {"dtick": None, "tickvals": within, "ticktext": words}


def _even_ticks(low: float, high: float) -> list[float]:
    if high <= low * (1 + 1e-6):
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / 2))
    step *= next(m for m in (5, 2, 1) if (high - low) / (step * m) >= 2)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _tick_text(value: float, digits: int) -> str:
    return f"{value:,.0f}" if value >= 1000 and value == round(value) else f"{value:.{digits}g}"


def time_axis(look: Look) -> dict[str, Any]:
    """The time axis; a trace without dates counts its days."""
    made = axis(clock_words(look.clock, look.zone), "date", showgrid=False)
    if look.clock == "relative":
        # Relative clocks are stored from 1970-01-01, so the day of the year is
        # the day of the trace.
        made |= {"tickformat": "day %-j<br>%H:%M", "hoverformat": "day %-j %H:%M:%S"}
    return made


def whole(frame: pl.DataFrame, columns: list[str]) -> dict[str, Any]:
    """Ticks at whole replicas, seven at the most: "1, 1, 2, 2" is what small fleets get else."""
    most = frame.select(pl.max_horizontal(pl.col(columns).max())).item() or 0
    return {"tickformat": "d", "dtick": max(1, -(-int(most) // 6))}


def layout(
    x: Mapping[str, Any], y: Mapping[str, Any], *, legend: bool = False, **more: Any
) -> dict[str, Any]:
    """The layout of a card's figure; `uirevision` keeps a viewer's zoom across refreshes."""
    made: dict[str, Any] = {
        "xaxis": dict(x),
        "yaxis": dict(y),
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12, "color": GREY},
        "margin": {"l": 48, "r": 12, "t": 26 if legend else 8, "b": 36},
        "showlegend": legend,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "traceorder": "normal",
            "font": {"size": 11},
        },
        "hovermode": "x unified" if x.get("type") == "date" else "closest",
        "hoverlabel": {"font": {"family": FONT, "size": 12}},
        "dragmode": "zoom",
        "uirevision": "kept",
        "colorway": list(SERIES_COLOURS),
        "bargap": 0.06,
    }
    return made | more


def line(x: Sequence[Any], y: Sequence[Any], name: str = "", index: int = 0, **more: Any) -> Trace:
    """A line; the colour is never the only difference, so later series are dashed as well."""
    style = {
        "color": SERIES_COLOURS[index % len(SERIES_COLOURS)],
        "dash": SERIES_DASHES[index % len(SERIES_DASHES)],
        "width": 2,
    }
    made: Trace = {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "name": name,
        "line": style,
        "connectgaps": False,
    }
    alone = _lone_points(y)
    if any(alone):  # a line needs two: alone, a point would not be seen
        sizes = [6 if lone else 0 for lone in alone]
        made |= {"mode": "lines+markers", "marker": {"size": sizes, "opacity": 1}}
    return made | more


def _lone_points(y: Sequence[Any]) -> list[bool]:
    padded = [None, *y, None]
    triples = zip(padded, padded[1:], padded[2:], strict=False)
    return [a is None and b is not None and c is None for a, b, c in triples]


def band(
    x: Sequence[Any], low: Sequence[Any], high: Sequence[Any], name: str, colour: str = BLUE
) -> list[Trace]:
    """The area between two lines: an interval, or a minimum and a maximum."""
    edge = {
        "type": "scatter",
        "mode": "lines",
        "line": {"width": 0, "color": colour},
        "hoverinfo": "skip",
    }
    lower = edge | {"x": x, "y": low, "showlegend": False}
    upper = edge | {"x": x, "y": high, "name": name, "fill": "tonexty", "fillcolor": soft(colour)}
    return [lower, upper]


def soft(colour: str, alpha: float = 0.18) -> str:
    """A colour made translucent: areas behind lines."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def level(y: float, text: str, colour: str = GREY) -> tuple[dict[str, Any], dict[str, Any]]:
    """A horizontal reference line across the plot, and its label (for `shapes`, `annotations`)."""
    shape = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": y,
        "y1": y,
        "line": {"color": colour, "width": 1, "dash": "dot"},
    }
    return shape, label(y, text)


def label(y: float, text: str) -> dict[str, Any]:
    """A small text at the right end of a reference line, standing on it."""
    place = {"xref": "paper", "x": 1, "xanchor": "right", "y": y, "yanchor": "bottom"}
    return place | {"text": text, "showarrow": False, "font": {"size": 10, "color": GREY}}


def span_words(values: Sequence[float | None], unit: str) -> str:
    """The range of a series in words, for summaries."""
    known = [v for v in values if v is not None]
    if not known:
        return "no known value"
    return f"between {min(known):.3g} and {max(known):.3g} {unit}, last {known[-1]:.3g}".replace(
        " ,", ","
    )
