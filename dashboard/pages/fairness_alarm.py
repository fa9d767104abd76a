"""The alarm above fairness: a gateway lets tenants come farther apart than its line promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.cards import part_id
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Services

MOST = 4


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """A banner for each gateway that breaks its bound or did lately; nothing where none does."""
    if view is None or not view.sentences or not scene.is_live:
        return []
    return [banner(view, "alarm-fairness", scene.link("admin"))]


def banner(view: View, key: str, link: str = "") -> html.Div:
    """Alarms as notes, those that last first; `link` leads to the gateways."""
    broken = int(view.measures["broken_now"].value or 0)
    notes: list[Any] = [_note(text, link, is_now=place < broken)
             for place, text in enumerate(view.sentences[:MOST])]  # fmt: skip
    more = len(view.sentences) - MOST
    if more > 0:
        notes.append(html.P(f"{more} more gateways did, too.", className="ss-dim"))
    return html.Div(notes, className="ss-alarms", id=part_id(key))


def _note(text: str, link: str, *, is_now: bool) -> html.Div:
    head = "Fairness alarm" if is_now else "Fairness was broken"
    words = html.Span([html.Strong(f"{head}: "), text])
    more: list[Any] = [" The gateway's log names the tenants. "]
    more += [html.A("Gateways", href=link)] if link else []
    links = html.Span(more, className="ss-alarm-more")
    look = "is-error" if is_now else "is-stale"
    return html.Div([words, links], className=f"ss-note {look}", role="alert")


PANEL = Panel("fairness-alarm", "gateways", body, is_aside=True)
