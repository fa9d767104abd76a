"""Reports: what do people who never open this dashboard get?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from dash import html

from analysis.measure import View
from dashboard.cards import card, frame_tools, grid, verdict
from dashboard.navigation import Page, Panel
from dashboard.pages import reports_edit, reports_runs
from dashboard.pages.reports_rows import result
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import Cell, table
from dashboard.text import when

_COLUMNS = ("schedule", "last_result", "last_period", "next_at", "recipients", "template", "note")
_HEADS = {
    "schedule": "Schedule", "last_result": "Last report", "last_period": "For",
    "next_at": "Next", "recipients": "Goes to", "template": "Says", "note": "",
}  # fmt: skip
_ABOUT = (
    "Every period gets one report of a schedule. Next is the time in the schedule's own zone. A"
    " report that was due while no server ran is made after the next start, once, for the newest"
    " period, and says so."
)


def list_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Schedules with their last result, their next time and who gets them."""
    if view is None:
        return []
    frame, title = view.frames["schedules"], "What is sent, when, to whom?"
    if frame.is_empty():
        return [_none(view, scene, services)]
    cells: dict[str, Cell] = {
        "schedule": lambda row: _opener(row, scene),
        "last_result": lambda row: result(row["last_state"], row["last_result"]),
        "next_at": _next,
        "recipients": _to,
        "template": _says,
        "note": _note,
    }
    shown = table(frame, scene, columns=_COLUMNS, cells=cells, heads=_HEADS, caption=title)
    tools = frame_tools(view, "schedules", title, _ABOUT, scene)
    new = html.A("New schedule", href=scene.link("reports", "new"), className="ss-button")
    inside = [shown, html.Div(new, className="ss-row ss-report-new")]
    listed = grid(card(title, inside, tools=tools, key="reports-list"), key="reports-list")
    said = verdict(view.sentences, tone="bad", key="reports")
    return [part for part in (said, listed) if part is not None]


def _none(view: View, scene: Scene, services: Services) -> html.Div:
    parts: list[Any] = [
        html.H2("No report is scheduled yet."),
        html.P(
            "A report says in one screen whether the service kept its promises, what is worth"
            " knowing and what to do, to people who never open this dashboard."
        ),
    ]
    if services.reports is not None:
        link = html.A("Schedule one", href=scene.link("reports", "new"),
                      className="ss-button is-primary")  # fmt: skip
        parts.append(html.P(link))
    return html.Div(parts, className="ss-empty")


def _opener(row: Mapping[str, Any], scene: Scene) -> html.A:
    path = scene.address.path
    is_open = len(path) > 1 and path[1] == row["schedule"]
    current: dict[str, Any] = {"aria-current": "true"} if is_open else {}
    return html.A(row["schedule"], href=scene.link("reports", row["schedule"]), **current)


def _next(row: Mapping[str, Any]) -> Any:
    if row["next_at"] is None:
        return html.Span("rests", className="ss-dim")
    return html.Span(zoned(row["next_at"], row["zone"]), title=f"{row['when']} {row['zone']}")


def zoned(at: datetime, zone: str) -> str:
    """A naive UTC time in a schedule's own zone, with its name."""
    return when(at.replace(tzinfo=UTC), ZoneInfo(zone))


def _to(row: Mapping[str, Any]) -> Any:
    names = ", ".join(row["channels"])
    if not names:
        return html.Span("nobody: it has no channel", className="ss-why")
    people = ", ".join(row["recipients"])
    return f"{names}: {people}" if people else names


def _says(row: Mapping[str, Any]) -> str:
    about = f", {row['scope']}" if row["scope"] else ""
    return f"{row['template']}{about}"


def _note(row: Mapping[str, Any]) -> Any:
    return html.Span(row["note"], className="ss-why") if row["note"] else ""


PAGE = Page(
    "Reports",
    "What do people who never open this dashboard get?",
    (
        Panel("reports-list", "reports", list_body),
        Panel("reports-one", "reports", reports_edit.acts_body, is_aside=True, is_still=True),
        Panel("reports-edit", None, reports_edit.body, is_aside=True, is_still=True),
        Panel("reports-runs", "reports", reports_runs.body, is_aside=True),
    ),
)
