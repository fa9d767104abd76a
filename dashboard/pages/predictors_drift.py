"""Predictors: did the world change since the models learnt?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools, grid
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.text import number_text

_LOOKS = {
    "as before": ("good", "●"),
    "moved": ("watch", "▲"),
    "another": ("bad", "▲"),
    "too few requests": ("none", "…"),
}
_DRIFT_ABOUT = (
    "A test on how outcomes fall inside the predicted distributions notices when they no longer do "
    "as before. Intervals are widened at once; the model is trained again later."
)
_INPUTS_ABOUT = (
    "Distance of the requests of this range from those of the week that ends where the newest "
    "champion's data ends (without a champion: where the range begins): the population stability "
    "index over octaves of lengths, or over labels. From 0.1 on it counts as moved, from 0.25 on "
    "as another distribution, but never below twice what two samples of one distribution differ "
    "by. Below 100 requests on either side nothing is said."
)


def drift_card(view: View, scene: Scene) -> Slot | Unshown:
    """Drift that was noticed, event by event."""
    title = "Did the world change?"
    frame = view.frames["drift"]
    if frame.is_empty():
        return Unshown(title, "No drift was noticed in this range.")
    heads = {"started_at": "Noticed", "text": "What"}
    columns = ("started_at", "subject", "text")
    shown = table(frame, scene, columns=columns, heads=heads, caption=title)
    tools = frame_tools(view, "drift", title, _DRIFT_ABOUT, scene)
    return card(title, shown, span=6, tools=tools, key="drift")


def _inputs_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """How far the requests are from those that were learnt from."""
    if view is None or view.empty is not None:
        return []
    return [grid(_inputs(view, scene), key="inputs")]


def _inputs(view: View, scene: Scene) -> Slot | Unshown:
    title = "Do requests look as they did when it learnt?"
    frame = view.frames["inputs"]
    if frame.is_empty():
        return Unshown(title, "No request of this range or of the week learnt from is known.")
    cells = {
        "distance": lambda row: _number(row["distance"]),
        "by_chance": lambda row: _number(row["by_chance"]),
        "verdict": _verdict,
        "requests_now": lambda row: f"{row['requests_now']:,}",
        "requests_then": lambda row: f"{row['requests_then']:,}",
    }
    heads = {"requests_now": "Requests now", "requests_then": "Then", "verdict": ""}
    columns = ("feature", "verdict", "distance", "by_chance", "requests_now", "requests_then")
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "inputs", title, _INPUTS_ABOUT, scene)
    return card(title, shown, tools=tools, key="inputs")


def _number(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else number_text(value)


def _verdict(row: Mapping[str, Any]) -> html.Span:
    look, glyph = _LOOKS[row["verdict"]]
    return html.Span(f"{glyph} {row['verdict']}", className=f"ss-status is-{look} ss-nowrap")


INPUTS = Panel("predictors-inputs", "predictors_inputs", _inputs_body, is_aside=True)
