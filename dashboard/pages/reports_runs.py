"""Reports: what was made lately, where it went, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import card, frame_tools, grid
from dashboard.pages.reports_rows import result
from dashboard.row_counts import QUERY
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import Cell, table

MOST = 30
_COLUMNS = ("period", "schedule", "state", "asked_at", "cause", "files")
_HEADS = {"period": "For", "schedule": "Schedule", "state": "Became", "asked_at": "Asked",
          "cause": "Because", "files": "Files"}  # fmt: skip
_CAUSES = {"due": "it was due", "late": "it was due before", "asked": "asked by",
           "test": "tested by"}  # fmt: skip
_ABOUT = (
    "Every report that was made or tried. A channel that fails is asked three times more; then the"
    " report has failed, and alerts are told. Files are kept for the newest reports."
)
_TRIED = ("channel", "attempt", "attempted_at", "state", "text", "next_at")
_TRIED_HEADS = {"attempted_at": "At", "text": "It answered", "next_at": "Asked again"}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Runs, newest first, of one schedule where one is open; and the attempts of its newest."""
    if view is None or view.frames["runs"].is_empty():
        return []
    name = scene.address.path[1] if len(scene.address.path) > 1 else None
    if name == "new":
        return []
    frame = view.frames["runs"]
    if name is not None:
        frame = frame.filter(pl.col("schedule") == name)
    title = f"What became of {name}?" if name else "What was made lately?"
    if frame.is_empty():
        words = "Nothing was made for this schedule yet."
        return [grid(card(title, html.P(words, className="ss-dim"), key="reports-runs"))]
    cells: dict[str, Cell] = {
        "state": lambda row: result(row["state"], row["text"]),
        "cause": _cause,
        "files": lambda row: _files(row, scene),
    }
    # Of one schedule only those are known that are among the newest runs of all.
    total = view.total("runs") if name is None else None
    shown = table(frame, scene, columns=_COLUMNS, cells=cells, heads=_HEADS, caption=title,
                  most=MOST, total=total, others=QUERY)  # fmt: skip
    tools = frame_tools(view, "runs", title, _ABOUT, scene)
    parts = [card(title, shown, tools=tools, key="reports-runs")]
    if name is not None:
        parts += _tried(view, frame["run_id"][0], scene)
    return [grid(*parts, key="reports-runs")]


def _tried(view: View, run_id: str, scene: Scene) -> list[Any]:
    frame = view.frames["deliveries"].filter(pl.col("run_id") == run_id)
    if frame.is_empty():
        return []
    title = "What did each channel answer to the newest?"
    shown = table(frame, scene, columns=_TRIED, heads=_TRIED_HEADS, caption=title)
    tools = frame_tools(view, "deliveries", title, "Every attempt to deliver.", scene)
    return [card(title, shown, tools=tools, key="reports-tried")]


def _cause(row: Mapping[str, Any]) -> str:
    words = _CAUSES.get(row["cause"], row["cause"])
    return f"{words} {row['asked_by']}" if words.endswith("by") else words


def _files(row: Mapping[str, Any], scene: Scene) -> Any:
    links: list[Any] = []
    for name in row["files"] or ():
        where = f"reports/runs/{quote(row['run_id'], safe='')}/files/{quote(name, safe='')}"
        words = name.removeprefix(f"{row['period']}").rpartition(".")[2]
        is_page = words == "html"
        links += [
            html.A(
                "Open" if is_page else words.upper(), href=f"{scene.api_root}/{where}",
                target="_blank", title=name,
            ),
            " ",
        ]  # fmt: skip
    return html.Span(links)
