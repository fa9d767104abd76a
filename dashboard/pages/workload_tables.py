"""The table cards of the workload page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools
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
    shown = table(frame, scene, cells=cells, caption=title)
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
    "arrival_fits": arrival_fits,
    "length_fits": length_fits,
    "clients": clients,
    "failure_labels": failure_labels,
}
