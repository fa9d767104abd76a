"""Alerts: what is wrong now, who was told, what is silenced, and what was before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.cards import card, frame_tools, grid, verdict
from dashboard.navigation import Page, Panel
from dashboard.pages import alerts_silences, alerts_told
from dashboard.pages.alerts_rows import look_link, severity, state
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import FEW_ROWS, Cell, table
from dashboard.tiles import tile, tiles
from dashboard.url_state import Address

_ACTIVE = ("state", "rule", "summary", "subject", "since", "look")
_HISTORY = ("at", "state", "rule", "subject", "summary", "firing_seconds", "why")
_HEADS = {
    "rule": "Alert", "subject": "About", "since": "Since", "look": "Look", "state": "Stands",
    "firing_seconds": "Fired for", "at": "When", "summary": "What", "why": "Why",
}  # fmt: skip
_ACTIVE_ABOUT = (
    "Alerts that fire, pages first, then those that are silenced or explained by another one, then"
    " those that are pending: their condition holds, but not for long enough. The words are those"
    " of the moment when the state changed."
)
_HISTORY_ABOUT = (
    "Every change of an alert's state in the range shown, the newest first, at most a thousand."
    " inactive: a pending alert whose condition was over before it fired."
)


def options(address: Address) -> Mapping[str, str]:
    """The chosen alert."""
    return {"alert": address.params.get("alert", "")}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Verdict, numbers, what is open, what was."""
    if view is None:
        return []
    counts = view.measures
    pages = counts["pages"].value or 0
    calm = "good" if counts["watched"].value else "plain"
    tone = "bad" if pages else "watch" if counts["firing"].value else calm
    return [
        verdict(view.sentences, tone=tone, key="alerts"),
        tiles(
            tile("Pages", counts["pages"], tone="bad" if pages else ""),
            tile("Firing", counts["firing"]),
            tile("Pending", counts["pending"]),
            tile("Silenced or explained", counts["quiet"]),
            key="alerts",
        ),
        *_chosen(view, scene, services),
        grid(_open(view, scene), key="alerts-open"),
        *alerts_silences.parts(view, scene, services),
        grid(_past(view, scene), key="alerts-past"),
        *alerts_told.parts(view, scene, services),
    ]


def _open(view: View, scene: Scene) -> Any:
    title = "What is wrong now?"
    frame = view.frames["active"]
    tools = frame_tools(view, "active", title, _ACTIVE_ABOUT, scene)
    if frame.is_empty():
        words = "No alert is firing or pending."
        return card(
            title, html.P(words, className="ss-dim ss-foot"), tools=tools, key="alerts-active"
        )
    cells: dict[str, Cell] = {
        "state": state,
        "rule": lambda row: [_opener(row, scene), severity(row)],
        "summary": _summary,
        "subject": lambda row: html.Div(row["subject"], className="ss-words"),
        "look": lambda row: look_link(row, scene),
    }
    shown = table(frame, scene, columns=_ACTIVE, cells=cells, heads=_HEADS, caption=title, most=100)
    return card(title, shown, tools=tools, key="alerts-active")


def _opener(row: Mapping[str, Any], scene: Scene) -> html.A:
    return html.A(row["rule"], href=scene.here(alert=row["fingerprint"]))


def _summary(row: Mapping[str, Any]) -> Any:
    said: list[Any] = [html.Div(row["summary"], className="ss-words")]
    if row["why_quiet"]:
        said.append(html.Div(f"Nobody is told: {row['why_quiet']}", className="ss-dim ss-words"))
    return said


def _past(view: View, scene: Scene) -> Any:
    title = "What happened in the range shown?"
    frame = view.frames["history"]
    tools = frame_tools(view, "history", title, _HISTORY_ABOUT, scene)
    if frame.is_empty():
        words = "No alert changed its state in this range."
        return card(
            title, html.P(words, className="ss-dim ss-foot"), tools=tools, key="alerts-history"
        )
    cells: dict[str, Cell] = {
        "state": state,
        "rule": lambda row: [_opener(row, scene), severity(row)],
        "summary": lambda row: html.Div(row["summary"], className="ss-words"),
    }
    shown = table(
        frame, scene, columns=_HISTORY, cells=cells, heads=_HEADS, caption=title, most=FEW_ROWS,
        total=view.total("history"),
    )  # fmt: skip
    return card(title, shown, tools=tools, key="alerts-history")


def _chosen(view: View, scene: Scene, services: Services) -> list[Any]:
    if "changes" not in view.frames:
        return []
    return [alerts_silences.one(view, scene, services)]


PAGE = Page(
    "Alerts",
    "What is wrong, who was told, what is silenced?",
    (Panel("alerts-main", "alerts", body, options, is_still=True),),
)
