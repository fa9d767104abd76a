"""Degradation: the suspects of one incident, with their evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools
from dashboard.scene import Scene
from dashboard.tables import table
from dashboard.text import number_text
from store.units import percent_text, seconds_text

STRENGTH_LOOKS = {"strong": ("bad", "●●●"), "likely": ("watch", "●●○"), "weak": ("none", "●○○")}
TRUSTED = frozenset({"fresh", "idle", "reset"})
_TITLE = "What may have slowed {instance}?"
_ABOUT = (
    "Signals of the instance, its machine, its cards and its neighbours that changed for the worse "
    "when it slowed down. The score (0 to 1, no probability) multiplies: how unusual the change is "
    "for this signal, by its own past; how large it is; how it moves with the slowdown, and "
    "whether it moves first; and whether something else at the same place explains it. "
    "Association and order in time, not cause. Trust is the grade of the signal now."
)


def suspects_card(view: View, scene: Scene, chosen: Mapping[str, str]) -> Slot | Unshown:
    """Ranked suspects of the incident shown, or why none can be named."""
    shown = view.frames["shown"]
    if shown.is_empty():
        return Unshown("What may have slowed it?", "There is no incident in this range.")
    incident = shown.row(0, named=True)
    title = _TITLE.format(instance=incident["instance"])
    tools = frame_tools(view, "suspects", title, _ABOUT, scene, **chosen)
    when = f"Incident of {scene.when(incident['started_at'])}."
    if incident["why_unknown"]:
        words = f"{when} Unknown: {incident['why_unknown']}."
        return card(title, html.P(words), tools=tools, key="suspects")
    cells = {
        "resource": lambda row: html.Strong(row["resource"], className="ss-nowrap"),
        "strength": _strength,
        "reason": lambda row: row["reason"],
        "correlation": lambda row: _maybe(row["correlation"]),
        "lead_seconds": _lead,
        "score": lambda row: number_text(row["score"]),
        "trust": _trust,
    }
    heads = {"rank": "#", "resource": "Suspect", "reason": "Evidence", "lead_seconds": "Ahead"}
    columns = (
        "rank", "resource", "place", "strength", "score", "lead_seconds", "correlation", "trust",
        "reason",
    )  # fmt: skip
    frame = view.frames["suspects"]
    made = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    return card(title, [html.P(when, className="ss-dim"), made], tools=tools, key="suspects")


def _strength(row: Mapping[str, Any]) -> html.Span:
    look, glyph = STRENGTH_LOOKS[row["strength"]]
    return html.Span(f"{glyph} {row['strength']}", className=f"ss-status is-{look} ss-nowrap")


def _trust(row: Mapping[str, Any]) -> Any:
    if row["trust"] is None:
        return html.Span("not graded", className="ss-dim")
    look = "none" if row["trust"] in TRUSTED else "watch"
    return html.Span(row["trust"], className=f"ss-status is-{look}")


def _lead(row: Mapping[str, Any]) -> str:
    return seconds_text(row["lead_seconds"]) if row["lead_seconds"] else "at once"


def _maybe(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else percent_text(value, 0)
