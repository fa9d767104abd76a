"""Alerts: who was told, and which rules there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import card, frame_tools, grid
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import FEW_ROWS, Cell, table

_SENT = ("sent_at", "receiver", "group_key", "outcome", "firing", "resolved", "attempt", "error")
_SENT_HEADS = {
    "sent_at": "When", "group_key": "Group", "attempt": "Attempt", "error": "What went wrong",
}  # fmt: skip
_RULES = ("rule", "severity", "is_on", "meaning", "runbook_url")
_RULE_HEADS = {"rule": "Rule", "is_on": "On", "meaning": "Means", "runbook_url": "What to do"}
_SENT_ABOUT = (
    "Messages to receivers in the range shown. An Alertmanager is told again and again what fires;"
    " only news and failures are listed. What fails is tried again, after 5 s, 10 s and so on, at"
    " most 5 min."
)


def parts(view: View, scene: Scene, services: Services) -> Sequence[Any]:
    """Receivers and what they were told; rules."""
    if services.alerts is None:
        return []
    return [grid(_receivers(view, scene, services), _rules(scene, services), key="alerts-told")]


def _receivers(view: View, scene: Scene, services: Services) -> Any:
    title = "Who was told?"
    frame = view.frames["notifications"]
    told = services.alerts.receivers() if services.alerts else ()
    shown: list[Any] = [_one(receiver) for receiver in told]
    if not shown:
        words = "Nobody is told: no receiver is configured. See [[alerts.receiver]]."
        shown.append(html.P(words, className="ss-dim ss-foot"))
    if not frame.is_empty():
        cells: dict[str, Cell] = {"outcome": _outcome}
        shown.append(
            table(frame, scene, columns=_SENT, cells=cells, heads=_SENT_HEADS, caption=title,
                  most=FEW_ROWS, total=view.total("notifications"))
        )  # fmt: skip
    tools = frame_tools(view, "notifications", title, _SENT_ABOUT, scene)
    return card(title, shown, tools=tools, key="alerts-notifications")


def _one(receiver: Mapping[str, Any]) -> html.P:
    name = html.Strong(receiver["receiver"])
    if receiver["problem"]:
        words = f" ({receiver['kind']}) does not take what it is told: {receiver['problem']}"
        return html.P(
            [html.Span("▲ ", className="ss-status is-bad"), name, words], className="ss-foot"
        )
    times = f"told {receiver['sent']:,} times since the start, {receiver['failed']:,} failures"
    return html.P([name, f" ({receiver['kind']}): {times}"], className="ss-foot")


def _outcome(row: Mapping[str, Any]) -> html.Span:
    is_bad = row["outcome"] == "failed"
    look, glyph = ("bad", "✕") if is_bad else ("good", "●")
    return html.Span(f"{glyph} {row['outcome']}", className=f"ss-status is-{look}")


def _rules(scene: Scene, services: Services) -> Any:
    title = "Which rules are there?"
    listed = services.alerts.rules() if services.alerts else ()
    kept = [{name: one.get(name) for name in (*_RULES, "failing")} for one in listed]
    cells: dict[str, Cell] = {
        "rule": lambda row: html.Strong(row["rule"]),
        "meaning": _meaning,
        "runbook_url": lambda row: html.A(
            "Runbook", href=row["runbook_url"], target="_blank", title=f"Runbook of {row['rule']}"
        ),
    }
    frame = pl.DataFrame(kept, infer_schema_length=None)
    shown = table(frame, scene, columns=_RULES, cells=cells, heads=_RULE_HEADS, caption=title)
    return card(title, shown, key="alerts-rules")


def _meaning(row: Mapping[str, Any]) -> Any:
    said: list[Any] = [html.Div(row["meaning"], className="ss-prose")]
    if row["failing"]:
        said.append(html.Div(f"▲ It cannot be asked: {row['failing']}", className="ss-why"))
    return said
