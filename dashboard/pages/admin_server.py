"""Admin's part about the server: its jobs, what it counts, its settings, the support file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import Measure, View
from dashboard.cards import Slot, card, frame_tools, grid
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Document, Services
from dashboard.tables import table
from dashboard.theme import attrs
from dashboard.tiles import tile, tiles

_JOBS_ABOUT = (
    "Runs of the last day. Skipped: its time came while the run before was still going. A job that "
    "was missed while the server was down runs once when it is back."
)
_RETENTION = {
    "sample_retention_days": "samples",
    "sample_rollup_retention_days": "their roll-ups",
    "request_retention_days": "live requests",
    "replay_retention_days": "replays",
}
_LOOKS = {"done": ("good", "●"), "failed": ("bad", "✕"), "skipped": ("watch", "◐")}
_COLUMNS = (
    "job", "outcome", "last_at", "last_done_at", "done", "failed", "skipped", "usual_seconds",
    "longest_seconds", "error",
)  # fmt: skip


def jobs_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """One row a job; nothing before any has run."""
    if view is None or view.frames["jobs"].is_empty():
        return []
    title = "Do the server's own jobs run?"
    frame = view.frames["jobs"]
    known = [name for name in _COLUMNS if frame[name].null_count() < frame.height]
    cells = {"job": lambda row: html.Strong(row["job"]), "outcome": _outcome}
    heads = {"outcome": "Newest run", "last_at": "Last", "last_done_at": "Last done",
             "usual_seconds": "Usually", "longest_seconds": "Longest"}  # fmt: skip
    shown = table(frame, scene, columns=known, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "jobs", title, _JOBS_ABOUT, scene)
    return [grid(card(title, shown, tools=tools, key="jobs"), key="jobs")]


def _outcome(row: Mapping[str, Any]) -> html.Span:
    look, glyph = _LOOKS[row["outcome"]]
    return html.Span(f"{glyph} {row['outcome']}", className=f"ss-status is-{look}")


def server_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """What the process counts, and every setting with where it comes from."""
    if services.server is None:
        return []
    told = services.server()
    numbers = tiles(
        *(tile(words, Measure(value, unit, why=about))
          for words, value, unit, about in told["numbers"]),
        key="server",
    )  # fmt: skip
    rights = services.rights()
    if rights.why_not("inside"):
        return [numbers, html.P(rights.why_not("inside"), className="ss-note is-role")]
    return [numbers, grid(_settings(told, scene), _support(scene), key="server")]


def _settings(told: Document, scene: Scene) -> Slot:
    title = "Which settings are in force, and where do they come from?"
    rows = [
        {"setting": f"{row['section']}.{row['key']}", "value": _text(row["value"]),
         "origin": str(row["origin"])}
        for row in told["settings"]
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("setting", "value", "origin"), pl.String))
    own = frame.filter(pl.col("origin") != "default")
    cells = {"setting": lambda row: html.Code(row["setting"]), "value": lambda row: row["value"]}
    file = told["file"] or "No configuration file was read"
    parts: list[Any] = [
        html.P(f"{file}; {own.height} of {frame.height} settings are not the default.",
               className="ss-dim ss-beside"),
    ]  # fmt: skip
    if own.height:
        parts.append(table(own, scene, cells=cells, caption="Settings that are not the default"))
    parts.append(
        html.Details(
            [html.Summary("All settings"), table(frame, scene, cells=cells, caption=title)],
            className="ss-fold",
        )
    )
    return card(title, parts, span=8, key="settings")


def kept_words(services: Services) -> str:
    """How long rows are kept, by the settings; "" where the process tells none."""
    told = services.server()["settings"] if services.server else ()
    days = {row["key"]: row["value"] for row in told if row["section"] == "store"}
    kept = [
        f"{words} {_days(days[key])}" for key, words in _RETENTION.items() if key in days
    ]  # fmt: skip
    return f"Kept: {', '.join(kept)}. Rows of traces are kept." if kept else ""


def _days(value: Any) -> str:
    return "for ever" if value in (None, "") else f"{value:g} days"


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "(none)"
    return "(empty)" if value in ("", None, {}) else str(value)


def _support(scene: Scene) -> Slot:
    words = (
        "Versions, settings without their texts, counts, and the tables of this page with other "
        "names for hosts, tenants, models and files. No request is in it. Read it before you send "
        "it: it is JSON."
    )
    link = html.A(
        "Download the support file", href=f"{scene.api_root}/-/support", className="ss-button",
        target="_blank", **attrs({"download": "servescope-support.json"}),
    )  # fmt: skip
    return card(
        "Does somebody help you?",
        html.Div([html.P(words, className="ss-dim"), link], className="ss-ask"),
        span=4,
    )


JOBS = Panel("admin-jobs", "jobs", jobs_body, is_aside=True)
SERVER = Panel("admin-server", None, server_body, is_aside=True)
