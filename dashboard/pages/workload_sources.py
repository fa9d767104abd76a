"""The tables of the workload page that tell sources apart: what holds of all may hold of none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools
from dashboard.scene import Scene
from dashboard.tables import Cell, cell_text, table
from dashboard.text import number_text

_FIELDS = {"input_tokens": "input", "output_tokens": "output"}


def arrivals_of(view: View, scene: Scene) -> Slot | Unshown:
    """Rate, variation, longest hole and clock of each source."""
    columns = (
        "source",
        "requests",
        "requests_per_second",
        "interarrival_cv",
        "largest_gap_seconds",
        "largest_gap_at",
        "clock_resolution_seconds",
        "why",
    )
    heads = {
        "interarrival_cv": "Inter-arrival CV",
        "largest_gap_seconds": "Longest hole",
        "largest_gap_at": "Since",
        "clock_resolution_seconds": "Clock",
        "why": "Note",
    }
    words = (
        "One row a source. CV: standard deviation over mean of the gaps, 1 for Poisson. Clock: the "
        "finest step of its stamps, found in the data. Note: why a number cannot be told."
    )
    return _table(view, scene, "sources", "How does each source arrive?", columns, heads, words)


def lengths_of(view: View, scene: Scene) -> Slot | Unshown:
    """Quantiles of the lengths of each source, and output over input."""
    columns = ("source", "field", "requests", "mean", "p50", "p90", "p99", "largest",
               "output_to_input_ratio")  # fmt: skip
    heads = {"field": "Tokens", "output_to_input_ratio": "Output \N{DIVISION SIGN} input"}
    words = (
        "One row a source and side, of the requests that tell this length. Output over input is "
        "that of successful requests: what is small is heavy on prefill."
    )
    cells: dict[str, Cell] = {
        "field": lambda row: _FIELDS.get(row["field"], row["field"]),
        "output_to_input_ratio": lambda row: _plain(row["output_to_input_ratio"]),
        **{name: _count(name) for name in ("mean", "p50", "p90", "p99")},
    }
    title = "How long are they, source by source?"
    return _table(view, scene, "summary", title, columns, heads, words, cells)


def _plain(value: float | None) -> str:
    """A quotient of means is no share of anything, so it is no percentage."""
    return "\N{EN DASH}" if value is None else f"{value:.3g}"


def _count(name: str) -> Cell:
    return lambda row: "\N{EN DASH}" if row[name] is None else number_text(row[name])


def _table(
    view: View, scene: Scene, name: str, title: str, columns: Sequence[str],
    heads: Mapping[str, str], words: str, cells: Mapping[str, Cell] | None = None,
) -> Slot | Unshown:  # fmt: skip
    frame = view.frames.get(name, pl.DataFrame())
    if frame.is_empty():
        return Unshown(title, "Nothing is known of any source in this range.")
    known = [one for one in columns if frame[one].null_count() < frame.height]
    named: dict[str, Cell] = {"source": lambda row: _source(row, scene), **(cells or {})}
    shown = table(frame, scene, columns=known, cells=named, heads=heads, caption=title)
    return card(title, shown, tools=frame_tools(view, name, title, words, scene), key=name)


def _source(row: Mapping[str, Any], scene: Scene) -> Any:
    return html.Strong(cell_text("source", row["source"], scene))
