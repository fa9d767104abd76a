"""The table cards of the workload page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools
from dashboard.pages.workload_sources import arrivals_of, lengths_of
from dashboard.row_counts import QUERY
from dashboard.scene import Scene
from dashboard.tables import table
from dashboard.text import FEW_EVENTS
from store.units import percent_text

MakeTable = Callable[[View, Scene], Slot | Unshown]


def _verdict_cell(row: Mapping[str, Any]) -> Any:
    """Whether a fit may be used, with the reason when not."""
    if row["accepted"]:
        return html.Span("● fits", className="ss-status is-good")
    return html.Span(f"✕ refused: {row['why'] or 'too far off'}", className="ss-refused")


def _telling(frame: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    """The columns that tell rows apart: no lone source, nothing that is unknown in every row."""
    lone = "source" in frame.columns and frame.get_column("source").n_unique() == 1
    kept = [c for c in columns if not (c == "source" and lone)]
    return [c for c in kept if frame.get_column(c).null_count() < frame.height]


def arrival_fits(view: View, scene: Scene) -> Slot | Unshown:
    """Families fitted to the gaps, with their distance, refused ones included."""
    title = "Which process describes it?"
    words = (
        "Families fitted to the gaps by maximum likelihood. KS is the largest distance between the "
        "fitted and the observed distribution. A quantised clock or a large distance refuses a fit."
    )
    frame = view.frames.get("fits", pl.DataFrame())
    if frame.is_empty():
        return Unshown(title, "Nothing could be fitted: too few gaps in this range.")
    columns = _telling(
        frame, ("source", "family", "shape", "scale_seconds", "ks_distance", "accepted")
    )
    shown = table(
        frame,
        scene,
        columns=columns,
        cells={"accepted": _verdict_cell},
        heads={"accepted": "Verdict"},
        caption=title,
    )
    return card(
        title, shown, span=6, tools=frame_tools(view, "fits", title, words, scene), key="fits"
    )


def peaks(view: View, scene: Scene) -> Slot | Unshown:
    """The fullest window of each length beside the mean one."""
    title = "How high are the peaks?"
    frame = view.frames.get("dispersion", pl.DataFrame())
    if frame.is_empty():
        return Unshown(title, "No full window in this range.")
    times = {name: _times_cell(name) for name in ("peak_to_mean_ratio", "index_of_dispersion")}
    wanted = ("source", "window_seconds", "windows", "peak_requests", "peak_to_mean_ratio",
              "index_of_dispersion")  # fmt: skip
    heads = {"window_seconds": "Window", "peak_requests": "Requests in the fullest",
             "peak_to_mean_ratio": "Peak \N{DIVISION SIGN} mean",
             "index_of_dispersion": "Dispersion"}  # fmt: skip
    shown = table(
        frame, scene, columns=_telling(frame, wanted), cells=times, heads=heads, caption=title
    )
    words = "Requests in the fullest window of each length, beside the mean window of that length."
    tools = frame_tools(view, "dispersion", title, words, scene)
    return card(title, shown, tools=tools, key="peaks")


def _times_cell(name: str) -> Callable[[Mapping[str, Any]], str]:
    """How many times as much; a dash is unknown."""
    sign = "\N{MULTIPLICATION SIGN}" if name == "peak_to_mean_ratio" else ""

    def cell(row: Mapping[str, Any]) -> str:
        value = row[name]
        return "\N{EN DASH}" if value is None else f"{value:.3g}{sign}"

    return cell


def length_fits(view: View, scene: Scene) -> Slot | Unshown:
    """Families fitted to the lengths, always with their distance."""
    title = "Which law do the lengths follow?"
    frame = view.frames.get("fits", pl.DataFrame())
    if frame.is_empty():
        return Unshown(title, "Nothing could be fitted: too few lengths in this range.")
    columns = _telling(
        frame, ("source", "field", "family", "parameters", "ks_distance", "accepted")
    )
    shown = table(
        frame,
        scene,
        columns=columns,
        cells={"accepted": _verdict_cell},
        heads={"accepted": "Verdict"},
        caption=title,
    )
    words = "Families fitted to token counts; KS is the largest distance to what was observed."
    return card(title, shown, tools=frame_tools(view, "fits", title, words, scene), key="fits")


def clients(view: View, scene: Scene) -> Slot | Unshown:
    """One row for each client, the largest first."""
    title = "Who are they?"
    frame = view.frames.get("clients", pl.DataFrame())
    if frame.is_empty():
        return Unshown(title, "No client can be told apart here.")
    cells = {
        "client": lambda row: html.Strong(row["client"]),
        "failure_ratio": lambda row: _ratio_of(row["failure_ratio"], row["requests"]),
    }
    total = view.total("clients")
    shown = table(frame, scene, cells=cells, caption=title, total=total, others=QUERY)
    words = "Skew between clients is what makes averages over all of them misleading."
    return card(
        title, shown, tools=frame_tools(view, "clients", title, words, scene), key="clients"
    )


def failure_labels(view: View, scene: Scene) -> Slot | Unshown:
    """Failures by label."""
    title = "Where does it fail?"
    frame = view.frames.get("by_label", pl.DataFrame())
    if frame.is_empty():
        return Unshown(title, "No label to split by.")
    cells = {
        "value": lambda row: html.Strong("not labelled" if row["value"] is None else row["value"]),
        "failure_ratio": lambda row: _ratio_of(row["failure_ratio"], row["attempted"]),
    }
    shown = table(frame, scene, cells=cells, caption=title)
    words = "Failed over attempted requests by each label's value."
    return card(
        title, shown, tools=frame_tools(view, "by_label", title, words, scene), key="by-label"
    )


def _ratio_of(value: float | None, n: int | None) -> str:
    """A percentage; of few events only with their number."""
    if value is None:
        return "\u2013"
    few = f" (n = {n})" if n is not None and n < FEW_EVENTS else ""
    return f"{percent_text(value)}{few}"


TABLES: Mapping[str, MakeTable] = {
    "arrivals_of": arrivals_of,
    "lengths_of": lengths_of,
    "arrival_fits": arrival_fits,
    "peaks": peaks,
    "length_fits": length_fits,
    "clients": clients,
    "failure_labels": failure_labels,
}
