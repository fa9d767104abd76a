"""Predictors: how disturbed each instance is now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.cards import Chart, Slot, Unshown, card, chart_card, frame_tools, grid, verdict
from dashboard.figures import predictors as figures
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.text import ago
from store.units import percent_text, seconds_text

STATE_LOOKS = {
    "slowed": ("bad", "▼"),
    "undisturbed": ("good", "●"),
    "unclear": ("watch", "?"),
}


def degradation_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Intervals by instance, their course, and the numbers."""
    if view is None or view.empty is not None:
        return []
    rows = view.frames["instances"].height
    height = max(240, 110 + 26 * min(rows, 30))
    charts = (
        Chart(
            "states",
            "Which instance is slowed down by its neighbours?",
            "instances",
            figures.states,
            "The newest estimate of each instance's performance against the same load alone on "
            "the machine, with its 50 and 90 % intervals, the slowest at the top. 60 % means that "
            "what takes 10 ms alone takes 16.7 ms.",
            height=height,
        ),
        Chart(
            "state-course",
            "Since when?",
            "course",
            figures.state_course,
            "Median estimate of each part of the range, for the five instances that were slowest; "
            "the band is the 90 % interval of the slowest.",
            height=height,
        ),
    )
    slowed = view.measures["slowed"].value
    parts = [
        verdict(view.sentences, tone="bad" if slowed else "plain", key="degradation"),
        grid(
            *(chart_card(view, chart, scene) for chart in charts),
            _instances(view, scene),
            key="degradation",
        ),
    ]
    return [part for part in parts if part is not None]


def _instances(view: View, scene: Scene) -> Slot | Unshown:
    title = "Instance by instance"
    cells = {
        "instance": lambda row: html.Strong(row["instance"]),
        "state": _state,
        "performance_ratio": _performance,
        "made_at": lambda row: _age(row, scene),
        "model_id": lambda row: html.Span(row["model_id"], className="ss-nowrap"),
    }
    columns = (
        "instance", "state", "performance_ratio", "ahead_ratio", "rival_ratio", "calibration",
        "was_fallback", "made_at", "features_age_seconds", "model_id",
    )  # fmt: skip
    heads = {
        "performance_ratio": "Performance (90 %)",
        "ahead_ratio": _ahead_head(view),
        "rival_ratio": "Naive rival",
        "was_fallback": "By the rival",
        "made_at": "Estimated",
        "features_age_seconds": "Signals' age",
        "model_id": "Model",
    }
    frame = view.frames["instances"]
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    words = (
        "Slowed: the whole 90 % interval lies below 90 %. Undisturbed: all of it lies above. "
        "Otherwise, and where the naive rival answered, nothing sure can be said."
    )
    tools = frame_tools(view, "instances", title, words, scene)
    return card(title, shown, tools=tools, key="degradation")


def _ahead_head(view: View) -> str:
    known = view.frames["instances"]["ahead_seconds"].drop_nulls()
    return f"Next {seconds_text(known[0])}" if known.len() else "Soon"


def _state(row: Mapping[str, Any]) -> html.Span:
    look, glyph = STATE_LOOKS[row["state"]]
    return html.Span(f"{glyph} {row['state']}", className=f"ss-status is-{look}")


def _performance(row: Mapping[str, Any]) -> html.Span:
    ends = " to ".join(percent_text(row[name], 0) for name in ("q05_ratio", "q95_ratio"))
    middle = html.Strong(percent_text(row["performance_ratio"], 0))
    return html.Span([middle, f" ({ends})"], className="ss-nowrap")


def _age(row: Mapping[str, Any], scene: Scene) -> html.Span:
    seconds = (scene.now.replace(tzinfo=None) - row["made_at"]).total_seconds()
    return html.Span(ago(seconds), title=scene.when(row["made_at"]), className="ss-nowrap")


DEGRADATION = Panel(
    "predictors-degradation",
    "degradation_now",
    degradation_body,
    is_aside=True,
    says_why_empty=True,
)
