"""Admin's part about clocks: whose differs from the server's, by how much, and what that does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools
from dashboard.scene import Scene
from dashboard.tables import table
from dashboard.theme import attrs
from store.units import seconds_text

_TITLE = "Do all clocks agree with the server's?"
_ABOUT = (
    "Agents compare their clock with the server's at every heartbeat; the error is half the way"
    " there and back. Of a target it is known when its answers carry a date, which has whole"
    " seconds, since this server started. Samples of targets are stamped by whoever asks them."
)
_NOT_MEASURED = (
    "Nobody measures the clocks of gateways and of what is pushed (OTLP, remote-write, rows)."
)
_LOOKS = {"agrees": ("good", "●"), "off": ("bad", "✕"), "unknown": ("none", "○")}


def clocks(view: View, scene: Scene) -> Slot | Unshown:
    """A row a clock, the farthest off first."""
    frame = view.frames.get("clocks", pl.DataFrame())
    if frame.is_empty():
        return Unshown(_TITLE, "No agent and no target is connected.")
    cells = {
        "name": lambda row: [html.Strong(row["name"]), html.Div(row["kind"], className="ss-dim")],
        "state": _state,
        "offset_seconds": _offset,
        "why": lambda row: html.Div(row["why"] or "", className="ss-why ss-words"),
    }
    heads = {"state": "Clock", "offset_seconds": "Offset"}
    columns = ("name", "state", "offset_seconds", "why")
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=_TITLE)
    tools = frame_tools(view, "clocks", _TITLE, _ABOUT, scene)
    foot = html.P(_NOT_MEASURED, className="ss-dim ss-foot")
    return card(_TITLE, [shown, foot], span=12, tools=tools, key="clocks")


def _state(row: Mapping[str, Any]) -> html.Span:
    look, glyph = _LOOKS[row["state"]]
    mark = html.Span(glyph, **attrs({"aria-hidden": "true"}))
    return html.Span([mark, f" {row['state']}"], className=f"ss-status is-{look}")


def _offset(row: Mapping[str, Any]) -> list[Any]:
    """How far, how well that is known, and from where on it is off.

    Below its own error an offset says nothing.
    """
    seconds, error = row["offset_seconds"], row["error_seconds"] or 0.0
    limit = f"off from {seconds_text(row['limit_seconds'])}"
    if seconds is None:
        return ["unknown", html.Div(limit, className="ss-dim")]
    words = f"{seconds_text(abs(seconds))} {'ahead' if seconds > 0 else 'behind'}"
    known = f"\N{PLUS-MINUS SIGN}{seconds_text(error)}, {limit}"
    return ["none seen" if abs(seconds) <= error else words, html.Div(known, className="ss-dim")]
