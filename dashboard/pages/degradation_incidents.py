"""Degradation: all incidents of the range, what was done near one, and what was like it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools
from dashboard.pages.degradation_words import factor_text, slowed
from dashboard.scene import Scene
from dashboard.tables import cell_text, table
from store.units import percent_text, seconds_text

_INCIDENTS_ABOUT = (
    "Stretches of time in which an instance was slower than it used to be at its load; the newest "
    "60. How it ended: a restart of the instance or a change of replicas in its time counts, in "
    "this order; else it recovered by itself."
)
_SIMILAR_ABOUT = (
    "Earlier incidents, from six hours before the range on, whose suspects' scores point the same "
    "way: the cosine of both patterns, from 70 % on. What ended them is no advice, "
    "only what happened."
)
_HAPPENED_ABOUT = (
    "Restarts, faults of cards and changes of replicas from five minutes before the incident to "
    "five minutes after it."
)


def incidents_card(view: View, scene: Scene, chosen: Mapping[str, str]) -> Slot | Unshown:
    """Every incident of the range, the newest first."""
    title = "When was whom slower?"
    frame = view.frames["incidents"]
    if frame.is_empty():
        return Unshown(title, "No instance was slower than usual in this range.")
    cells = {
        "started_at": lambda row: _opener(row, scene),
        "ended_at": lambda row: _ended(row, scene),
        "slowdown_factor": slowed,
        "to_peers_factor": lambda row: factor_text(row["to_peers_factor"]),
        "happened": lambda row: row["happened"] or "\N{EN DASH}",
    }
    heads = {
        "slowdown_factor": "Time per token (95 %)",
        "to_peers_factor": "Beside peers",
        "resource": "First suspect",
        "happened": "Near it",
        "ending": "How it ended",
    }
    columns = (
        "started_at", "ended_at", "instance", "slowdown_factor", "to_peers_factor", "resource",
        "happened", "ending",
    )  # fmt: skip
    shown = table(
        frame, scene, columns=columns, cells=cells, heads=heads, caption=title,
        total=view.total("incidents"),
    )  # fmt: skip
    tools = frame_tools(view, "incidents", title, _INCIDENTS_ABOUT, scene, **chosen)
    return card(title, shown, tools=tools, key="incidents")


def similar_card(view: View, scene: Scene, chosen: Mapping[str, str]) -> Slot | Unshown:
    """What earlier incidents that looked alike ended in."""
    title = "What did similar incidents end in?"
    frame = view.frames["similar"]
    if frame.is_empty():
        return Unshown(
            title, "No earlier incident of this range, or of six hours before it, looked like it."
        )
    cells = {
        "started_at": lambda row: _opener(row, scene),
        "similarity": lambda row: percent_text(row["similarity"], 0),
        "slowdown_factor": lambda row: factor_text(row["slowdown_factor"]),
        "seconds": lambda row: seconds_text(row["seconds"]) if row["seconds"] else "goes on",
    }
    heads = {
        "slowdown_factor": "Time per token", "seconds": "Lasted", "resource": "First suspect",
        "ending": "How it ended", "similarity": "Alike",
    }  # fmt: skip
    columns = ("started_at", "instance", "similarity", "slowdown_factor", "seconds", "resource",
               "ending")  # fmt: skip
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "similar", title, _SIMILAR_ABOUT, scene, **chosen)
    return card(title, shown, span=7, tools=tools, key="similar")


def happened_card(view: View, scene: Scene, chosen: Mapping[str, str]) -> Slot | Unshown:
    """What was done or seen near the incident shown."""
    title = "What was done near it?"
    frame = view.frames["happened"]
    if frame.is_empty():
        return Unshown(title, "No restart, no fault of a card and no change of replicas near it.")
    shown = table(frame, scene, columns=("at", "kind", "text"), caption=title)
    tools = frame_tools(view, "happened", title, _HAPPENED_ABOUT, scene, **chosen)
    return card(title, shown, span=5, tools=tools, key="happened")


def _opener(row: Mapping[str, Any], scene: Scene) -> html.A:
    words = cell_text("started_at", row["started_at"], scene)
    return html.A(words, href=scene.here(incident=row["incident"]) + "#card-suspects")


def _ended(row: Mapping[str, Any], scene: Scene) -> str:
    return "goes on" if row["ended_at"] is None else cell_text("ended_at", row["ended_at"], scene)
