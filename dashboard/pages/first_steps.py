"""The checklist of whoever has just begun: three steps that tick themselves, then it is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.theme import attrs

# Step -> its words, and the page that leads on.
_STEPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "source": ("Choose a source", ()),
    "records": ("See its first records", ("admin",)),
    "objective": ("Say what is good enough", ("slo",)),
}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The steps with their ticks; nothing once all are done."""
    if view is None or view.empty is not None or not view.measures["left"].value:
        return []
    rows = view.frames["steps"].to_dicts()
    first = next(row["step"] for row in rows if not row["is_done"])
    items = [_item(row, scene, is_next=row["step"] == first) for row in rows]
    return [
        html.Nav(
            html.Ol(items, className="ss-steps"),
            className="ss-card",
            **attrs({"aria-label": "First steps"}),
        )
    ]


def _item(row: Mapping[str, Any], scene: Scene, *, is_next: bool) -> html.Li:
    """A tick or a circle, never colour alone; only what comes next has a link."""
    words, path = _STEPS[row["step"]]
    done = bool(row["is_done"])
    title: Any = html.Strong(words)
    if is_next and path:
        title = html.A(title, href=scene.link(*path))
    state = "done" if done else "to do"
    parts = [
        html.Span("\N{CHECK MARK}" if done else "\N{WHITE CIRCLE}", className="ss-glyph",
                  **attrs({"aria-hidden": "true"})),
        html.Div([title, html.Span(f" ({state})", className="ss-visually-hidden"),
                  html.Div(row["text"], className="ss-dim")]),
    ]  # fmt: skip
    current: dict[str, Any] = {"aria-current": "step"} if is_next else {}
    return html.Li(parts, className=f"ss-step{' is-done' if done else ''}", **current)


STEPS = Panel("fleet-steps", "first_steps", body, is_aside=True, is_silent=True, is_compared=False)
