"""SLOs: which burn alerts of one objective fire, and which cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools
from dashboard.scene import Scene
from dashboard.tables import table
from dashboard.text import number_text


def alerts_card(view: View, scene: Scene, options: Mapping[str, str]) -> Slot | Unshown:
    """Every rule with both its windows, both burns and how it stands."""
    title = "Which alerts fire?"
    frame = view.frames.get("alerts", pl.DataFrame())
    if frame.is_empty():
        return Unshown(title, "This objective has no alert rule.")
    cells = {
        "severity": lambda row: html.Strong(row["severity"]),
        "long_window": lambda row: f"{row['long_window']} and {row['short_window']}",
        "threshold": lambda row: burn_text(row["threshold"]),
        "burn_long": lambda row: burn_text(row["burn_long"]),
        "burn_short": lambda row: burn_text(row["burn_short"]),
        "firing": _firing_cell,
    }
    columns = ("severity", "long_window", "threshold", "burn_long", "burn_short", "firing")
    heads = {
        "long_window": "Windows",
        "burn_long": "Long",
        "burn_short": "Short",
        "firing": "State",
    }
    words = "Fires when both windows burn above the threshold and there are enough events."
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "alerts", title, words, scene, **options)
    return card(title, shown, span=6, tools=tools, key="alerts")


def _firing_cell(row: Mapping[str, Any]) -> Any:
    if row["reachable"] is False:
        return html.Span(f"○ cannot fire: {row['why'] or 'out of reach'}", className="ss-dim")
    if row["firing"] is None:
        return html.Span(f"○ unknown: {row['why'] or 'too few events'}", className="ss-dim")
    if row["firing"]:
        return html.Span("▲ firing", className="ss-status is-bad")
    return html.Span("● quiet", className="ss-status is-good")


def burn_text(value: float | None) -> str:
    """How many times too fast the budget goes."""
    return "unknown" if value is None else f"{number_text(value)}\N{MULTIPLICATION SIGN}"
