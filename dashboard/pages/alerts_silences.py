"""Alerts: silences, and one alert with the way to silence it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import card, frame_tools, grid, part_id
from dashboard.forms import button, field, who_field
from dashboard.pages.alerts_rows import look_link, state
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import Cell, table

_COLUMNS = ("state", "matchers", "comment", "created_by", "ends_at", "alerts", "end")
_HEADS = {
    "state": "Stands", "matchers": "Silences", "comment": "Why", "created_by": "Made by",
    "ends_at": "Until", "alerts": "Alerts now", "end": "",
}  # fmt: skip
_CHANGES = ("at", "state", "summary", "firing_seconds", "why")
_ABOUT = (
    "Nobody is told of alerts whose labels fit all matchers of a silence that holds; the alerts"
    " themselves go on. Those of the last week stay listed. Silences of an Alertmanager that is a"
    " receiver hold here, too, and are ended there."
)


def parts(view: View, scene: Scene, services: Services) -> Sequence[Any]:
    """Silences as a table, and a form for a new one."""
    title = "What is nobody told of?"
    frame = view.frames["silences"]
    tools = frame_tools(view, "silences", title, _ABOUT, scene)
    shown: list[Any] = []
    if frame.is_empty():
        shown.append(
            html.P("No silence holds or held in the last week.", className="ss-dim ss-foot")
        )
    else:
        cells: dict[str, Cell] = {
            "state": state,
            "matchers": lambda row: html.Code(row["matchers"], className="ss-words"),
            "created_by": _maker,
            "end": lambda row: _end(row, services),
        }
        shown.append(
            table(frame, scene, columns=_COLUMNS, cells=cells, heads=_HEADS, caption=title)
        )
    if services.alerts is not None:
        shown.append(_form())
    return [grid(card(title, shown, tools=tools, key="alerts-silences"), key="alerts-silences")]


def _maker(row: Mapping[str, Any]) -> str:
    return f"{row['created_by']}, in {row['origin']}" if row["origin"] else str(row["created_by"])


def _end(row: Mapping[str, Any], services: Services) -> Any:
    if row["state"] == "expired" or services.alerts is None:
        return ""
    why_not = f"It was made in {row['origin']}: end it there." if row["origin"] else ""
    return button(
        "End", {"act": "unsilence", "silence": row["silence_id"]},
        label=f"End the silence of {row['matchers']}", why_not=why_not, look="is-small",
    )  # fmt: skip


def _form() -> html.Div:
    inside = [
        field("matchers", "New silence", "silence-new", 'alertname="outage", model=~"llama.*"'),
        field("duration", "For", "silence-new", "2h"),
        field("comment", "Why", "silence-new"),
        who_field("silence-new"),
        button("Silence", {"act": "silence"}, label="Silence what matches", needs="comment"),
    ]
    return html.Div(inside, className="ss-act ss-line-form", id=part_id("alerts-silence-new"))


def one(view: View, scene: Scene, services: Services) -> html.Section:
    """One alert: how it came about, where to look, what to do, and how to silence it."""
    changes = view.frames["changes"]
    newest = changes.row(0, named=True)
    title = f"{newest['rule']}: {newest['subject']}"
    found = view.frames["active"].filter(pl.col("fingerprint") == newest["fingerprint"])
    row = found.row(0, named=True) if found.height else None
    rules = {one["rule"]: one for one in (services.alerts.rules() if services.alerts else ())}
    about = rules.get(newest["rule"])
    facts: list[Any] = [html.P(newest["summary"], className="ss-verdict-first")]
    if about is not None:
        runbook = html.A("What to do", href=about["runbook_url"], target="_blank")
        facts.append(html.P([about["meaning"], " ", runbook]))
    if row is not None:
        facts.append(html.P(look_link(row, scene)))
    close = html.A("Close", href=scene.here(alert=None), className="ss-tool")
    head = html.Header(
        [html.H2(title), html.Div(close, className="ss-tools")], className="ss-card-head"
    )
    course = table(
        changes, scene, columns=_CHANGES, cells={"state": state}, caption=f"Changes of {title}",
        heads={"at": "When", "state": "Became", "summary": "What", "firing_seconds": "Fired for",
               "why": "Why"},
    )  # fmt: skip
    inside = [head, html.Div([*facts, course], className="ss-drawer-act")]
    if row is not None and services.alerts is not None:
        inside.append(_silence_it(row))
    return html.Section(inside, className="ss-card ss-drawer", id="card-alert")


def _silence_it(row: Mapping[str, Any]) -> html.Div:
    labels = json.loads(row["labels"])
    matchers = [f"{name}={json.dumps(value)}" for name, value in labels.items()]
    key = f"silence-{row['fingerprint']}"
    inside = [
        field("duration", "Silence this alert for", key, "2h"),
        field("comment", "Why", key),
        who_field(key),
        button(
            "Silence", {"act": "silence", "matchers": matchers},
            label=f"Silence {row['rule']} of {row['subject']}", needs="comment",
        ),
    ]  # fmt: skip
    return html.Div(inside, className="ss-act ss-line-form", id=part_id(key))
