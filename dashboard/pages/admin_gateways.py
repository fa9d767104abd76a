"""Admin's part about gateways: whether they report, and whether they keep their bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.cards import card, frame_tools, grid
from dashboard.navigation import Panel
from dashboard.pages.fairness_alarm import banner
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import Cell, table
from dashboard.text import number_text
from dashboard.theme import attrs

COLUMNS = (
    "name", "state", "why", "age_seconds", "policy_version", "line", "waiting", "running",
    "apart_service", "bound_service", "breaches", "waiting_rows", "dropped_rows",
)  # fmt: skip
HEADS = {
    "age_seconds": "Heard ago",
    "policy_version": "Policy",
    "apart_service": "Apart now",
    "bound_service": "Bound",
    "waiting_rows": "Rows kept",
    "dropped_rows": "Rows lost",
}
_LOOKS = {"ok": ("good", "●"), "behind": ("watch", "◔"), "draining": ("watch", "◐")}
_ABOUT = (
    "Gateways by their last heartbeat. Apart now: the greatest difference of service (by weight) of"
    " two tenants that wait at it. Bound: what its line promises; unknown where the line promises"
    " nothing. Breaches: pairs of tenants that came to be farther apart, since it started. Rows"
    " kept wait for this server; rows lost are since it started."
)


def alarm(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The banner above all else."""
    return [banner(view, "alarm-admin")] if view is not None and view.sentences else []


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """A row for each gateway; nothing where none has reported."""
    if view is None or view.frames["gateways"].is_empty():
        return []
    title = "Do gateways report, and do they keep their bound?"
    cells: dict[str, Cell] = {
        "name": lambda row: html.Strong(row["name"]),
        "state": _state,
        "policy_version": lambda row: row["policy_version"] or "its own",
        "apart_service": lambda row: _service(row["apart_service"]),
        "bound_service": _bound,
        "breaches": _breaches,
        "why": lambda row: html.Span(row["why"] or "", className="ss-why"),
    }
    shown = table(
        view.frames["gateways"], scene, columns=COLUMNS, cells=cells, heads=HEADS, caption=title
    )
    tools = frame_tools(view, "gateways", title, _ABOUT, scene)
    return [grid(card(title, shown, tools=tools, key="gateways"))]


def _state(row: Mapping[str, Any]) -> html.Span:
    look, glyph = _LOOKS.get(row["state"], ("bad", "✕"))
    return html.Span(
        [html.Span(glyph, **attrs({"aria-hidden": "true"})), f" {row['state']}"],
        className=f"ss-status is-{look}",
    )


def _service(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else number_text(value)


def _bound(row: Mapping[str, Any]) -> html.Span:
    return html.Span(_service(row["bound_service"]), title=row["why_no_bound"] or "")


def _breaches(row: Mapping[str, Any]) -> Any:
    count = row["breaches"]
    if not count:
        return "\N{EN DASH}" if count is None else "0"
    return html.Span(f"▲ {count:,}", className="ss-status is-bad")


ALARM = Panel("admin-alarm", "gateways", alarm, is_aside=True)
PANEL = Panel("admin-gateways", "gateways", body, is_aside=True)
