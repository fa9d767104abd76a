"""Admin's part about pace: how quick each page is, and whether the server comes in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.cards import card, frame_tools, grid
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.tiles import tile, tiles

_TITLE = "How long do the pages take?"
_ABOUT = (
    "Since this server started. An answer that was there already, or that somebody else waited for,"
    " is shared; times are of the newest 256 computations of each of a page's views. Elsewhere: "
    "marks on charts, commands and the API."
)
_TILES = (
    ("Shared answers", "shared_ratio"),
    ("Event loop late, p95", "loop_lag_p95_seconds"),
    ("Event loop late, most", "loop_lag_longest_seconds"),
)
_HEADS = {"p95_seconds": "Query p95", "longest_seconds": "Longest", "slowest_view": "Slowest view"}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """What the process tells of its own pace."""
    if view is None or "pages" not in view.frames:
        return []
    frame = view.frames["pages"]
    numbers = tiles(*(tile(words, view.measures[key]) for words, key in _TILES), key="pace-tiles")
    if frame.is_empty():
        said: Any = html.P("No page was asked for yet.", className="ss-dim ss-foot")
    else:
        cells = {"page": lambda row: html.Strong(row["page"])}
        said = table(frame, scene, cells=cells, heads=_HEADS, caption=_TITLE)
    tools = frame_tools(view, "pages", _TITLE, _ABOUT, scene)
    return [numbers, grid(card(_TITLE, said, tools=tools, key="pace"), key="pace")]


PANEL = Panel("admin-pace", "server", body, is_aside=True)
