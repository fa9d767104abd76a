"""A second series laid over a figure: dashed, or as open marks, and named."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dashboard.figures.base import Picture, Trace
from dashboard.theme import GREY

DASH = "3px,3px"
# Stacks and heat maps would hide one another; their tables show both.
_STACKED = ("stack", "relative")


def overlaid(first: Picture, second: Picture, name: str, shift: timedelta) -> Picture | None:
    """Both pictures in one plot; None where they would hide one another.

    Args:
        first: keeps its axes, marks and colours.
        second: made by the same function from the other table.
        name: of the second series, in the legend and in the summary.
        shift: put on the times of the second, so that both begin together.
    """
    layout = first.figure["layout"]
    is_time = layout["xaxis"].get("type") == "date"
    added = [
        _moved(trace, shift) if is_time else trace
        for trace in (_beside(trace, layout, name) for trace in second.figure["data"])
        if trace is not None
    ]
    if not added:
        return None
    had_legend = bool(layout.get("showlegend"))
    made = {**layout, "showlegend": True}
    if not had_legend:
        made["margin"] = {**layout.get("margin", {}), "t": 26}
    own = [
        {**trace, "showlegend": had_legend and trace.get("showlegend", True)}
        for trace in first.figure["data"]
    ]
    traces = [*own, *({**trace, "showlegend": False} for trace in added), _key(added, name)]
    summary = f"{first.summary} Dashed, {name}: {second.summary}"
    return Picture({"data": traces, "layout": made}, summary)


def _key(added: list[Trace], name: str) -> Trace:
    """One entry in the legend for all that was added: colours are those of the first."""
    shown: Trace = {"type": "scatter", "x": [None], "y": [None], "name": name}
    if any(trace.get("mode", "").startswith("lines") for trace in added):
        return shown | {"mode": "lines", "line": {"color": GREY, "dash": DASH, "width": 1.5}}
    marker = {"symbol": "diamond-open", "size": 10, "color": GREY, "line": {"width": 2}}
    return shown | {"mode": "markers", "marker": marker}


def _beside(trace: Trace, layout: dict[str, Any], name: str) -> Trace | None:
    kind = trace.get("type", "scatter")
    own = trace.get("name")
    more = {"name": f"{own} \N{MIDDLE DOT} {name}" if own else name, "opacity": 0.85}
    if kind == "scatter" and "stackgroup" not in trace and trace.get("mode") != "markers":
        if (trace.get("line") or {}).get("width") == 0:  # the edge of a band
            return None
        kept = {key: value for key, value in trace.items() if key not in ("fill", "fillcolor")}
        return kept | more | {"line": {**trace.get("line", {}), "dash": DASH, "width": 1.5}}
    if kind == "bar" and layout.get("barmode") not in _STACKED:
        return _bar(trace, layout, more)
    return None


def _bar(trace: Trace, layout: dict[str, Any], more: dict[str, Any]) -> Trace:
    """Bars from edge to edge stay bars, as outlines; others become an open mark at their end."""
    colour = (trace.get("marker") or {}).get("color", GREY)
    if trace.get("base") is not None:
        line = {"color": colour if isinstance(colour, str) else GREY, "width": 1}
        return trace | more | {"marker": {"color": "rgba(0,0,0,0)", "line": line}}
    marker = {"symbol": "diamond-open", "size": 10, "color": colour, "line": {"width": 2}}
    wanted = ("x", "y", "customdata", "hovertemplate")
    kept: Trace = {key: trace[key] for key in wanted if key in trace}
    return {"type": "scatter", "mode": "markers", **kept, **more, "marker": marker}


def _moved(trace: Trace, shift: timedelta) -> Trace:
    return trace | {"x": [_later(at, shift) for at in trace["x"]]} if shift else trace


def _later(at: str | None, shift: timedelta) -> str | None:
    return None if at is None else f"{datetime.fromisoformat(at) + shift:%Y-%m-%dT%H:%M:%S}"
