"""What the verdict stands on: who the bad requests are, and which phase is too long."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.measure import View
from dashboard.cards import Slot, card, frame_tools
from dashboard.scene import Scene
from dashboard.tables import table

MOST_SHOWN = 6
_TITLES = {
    "contributors": "Who are the bad requests?",
    "phases": "What of them takes too long?",
}
_ABOUT = {
    "contributors": "Bad requests of the worst objective since the burn began, by who they are. "
    "Times: their share of the bad requests over their share of the traffic.",
    "phases": "Typical: median of the phase among good requests of the same stretch. Excess: what "
    "the phase took beyond that in bad requests, summed.",
}
_COLUMNS = {
    "contributors": ("dimension", "value", "bad", "bad_share_ratio", "traffic_share_ratio",
                     "over_representation"),
    "phases": ("phase", "typical_seconds", "bad_mean_seconds", "excess_share_ratio"),
}  # fmt: skip
_HEADS = {
    "bad_share_ratio": "Of the bad",
    "traffic_share_ratio": "Of the traffic",
    "over_representation": "Times",
    "typical_seconds": "Typical",
    "bad_mean_seconds": "In bad requests",
    "excess_share_ratio": "Of the excess",
}


def cards(view: View, scene: Scene) -> Sequence[Slot]:
    """Two tables while an objective is in trouble and rows tell of its requests; else nothing."""
    made = []
    for name, title in _TITLES.items():
        frame = view.frames.get(name, pl.DataFrame())
        if frame.is_empty():
            continue
        if name == "contributors":
            frame = frame.sort("bad_share_ratio", descending=True, maintain_order=True)
        shown = table(frame, scene, columns=list(_COLUMNS[name]), heads=_HEADS, caption=title,
                      most=MOST_SHOWN)  # fmt: skip
        tools = frame_tools(view, name, title, _ABOUT[name], scene)
        made.append(card(title, shown, span=6, tools=tools, key=name))
    return made
