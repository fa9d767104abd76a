"""Cold starts: how long until a new replica serves, and which step is slow?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Chart, Slot, Unshown, card, chart_card, frame_tools, grid, verdict
from dashboard.empty_states import empty_state
from dashboard.figures import cold_starts as figures
from dashboard.figures.base import Look, Picture
from dashboard.navigation import Page, Panel
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.text import FEW_EVENTS
from dashboard.tiles import tile, tiles
from store.units import percent_text, seconds_text

TILES = (
    ("Starts", "starts"),
    ("Never ready", "never_ready"),
    ("In progress", "in_progress"),
    ("Slowest group, p95", "slowest_ready_p95_seconds"),
    ("Request-seconds waited", "waited_request_seconds"),
)
STACK = Chart(
    "stack",
    "Which step is slow?",
    "segments",
    figures.stack,
    "One bar a start, from the first thing seen of it until it was ready. The phases partition "
    "that time: where witnesses overlap, the more specific phase counts (weights before engine "
    "before container), then the better evidence (span, metric, log, agent, Kubernetes). What "
    "nobody saw is unattributed. The hover names the witness. The mark is when the first token was "
    "served; where that was long after, since nobody asked, the table has it.",
    span=12,
)
_SPREAD_ABOUT = (
    "Time until ready of the newest sixty starts, by model, node and cache state, with median and "
    "p95 of all starts of the range; other hardware and other caches are never pooled."
)
PER_DAY = Chart(
    "per-day",
    "How often do instances start?",
    "per_day",
    figures.per_day,
    "Starts by UTC day. Never ready: it failed, another start followed, or it was silent for "
    "half an hour.",
    span=12,
    height=220,
)
_GROUPS_ABOUT = (
    "Time to ready by model, node and cache state. Different hardware or cache states are never "
    "pooled in one percentile. Quantiles are by nearest rank: of fewer than twenty starts the p95 "
    "is the slowest one. The p95 is the lead time that scaling up has to allow for."
)
_AHEAD_ABOUT = (
    "The newest prediction of the range, every few minutes, for each model on each node that was "
    "seen to start in the last 14 days: a share of so many starts is ready by then. Where the "
    "cache decides, the middle says little and the 90 % is what scaling up has to allow for. Until "
    "a model is trained (servescope train cold-start) and has shown itself better, the previous "
    "start of the same place answers."
)
_WORTH_ABOUT = (
    "Utility: seconds from ready until somebody last used the replica, over the seconds of its "
    "start (pod utility ratio, EuroSys 2025). The time it was merely kept alive at the end does "
    "not count. Replicas that are still there, and those of which no request and no gauge tells, "
    "are left out."
)
_STARTS_ABOUT = (
    "Ready: traffic could come. Warm: the first token was served; the time until somebody asked "
    "is in it. Full speed: from ready until five requests in a row had a median time to first "
    "token within 25 % of the model's usual one; slow requests were answered before. "
    "Expected: what was said last before it began. Request-seconds: how long requests of the model "
    "queued while it started."
)


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Tiles, the bars, the distribution by group, and the starts one by one."""
    if view is None:
        return []
    if view.empty is not None:
        return [empty_state(view.empty, scene)]
    starts = view.frames["segments"].unique(["instance", "began_at"]).height
    stack = replace(
        STACK,
        height=figures.bar_height(starts),
        draw=partial(figures.stack, answered=view.frames["starts"]),
    )
    parts = [
        verdict(view.sentences),
        tiles(*(tile(label, view.measures.get(key)) for label, key in TILES)),
        grid(
            chart_card(view, stack, scene),
            _groups_card(view, scene),
            chart_card(view, _spread(view), scene),
            *_ahead_card(view, scene),
            *_worth_card(view, scene),
            chart_card(view, PER_DAY, scene),
            _starts_card(view, scene),
        ),
    ]
    return [part for part in parts if part is not None]


def _spread(view: View) -> Chart:
    """The distribution behind the percentiles."""
    groups = view.frames["groups"]

    def draw(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.spread(frame, groups)

    return Chart("spread", "How much does it vary?", "starts", draw, _SPREAD_ABOUT, span=12,
                 height=figures.bar_height(groups.height))  # fmt: skip


def _groups_card(view: View, scene: Scene) -> Slot | Unshown:
    title = "How long does it take, by model, node and cache?"
    cells = {
        "slowest_phase": _slowest,
        "model": lambda row: html.Strong(row["model"] or "not told"),
        "node": lambda row: html.Span(row["node"] or "not told", className="ss-nowrap"),
    }
    columns = (
        "model", "node", "cache_state", "starts", "never_ready", "ready_p50_seconds",
        "ready_p95_seconds", "warm_p50_seconds", "slowest_phase", "unattributed_ratio",
    )  # fmt: skip
    heads = {
        "cache_state": "Cache",
        "ready_p95_seconds": "Ready p95, lead time",
        "unattributed_ratio": "Unattributed",
    }
    frame = view.frames["groups"]
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "groups", title, _GROUPS_ABOUT, scene)
    return card(title, shown, tools=tools, key="groups")


def _ahead_card(view: View, scene: Scene) -> list[Slot | Unshown]:
    """What a start would take now; nothing where the server has not said anything yet."""
    frame = view.frames["ahead"]
    if frame.is_empty():
        return []
    title = "If one began now, when would it be ready?"
    cells = {
        "place": lambda row: html.Strong(row["place"].removeprefix("@")),
        "was_fallback": lambda row: "rival" if row["was_fallback"] else "model",
    }
    columns = (
        "place", "expected_p10_seconds", "expected_p50_seconds", "expected_p90_seconds",
        "expected_p99_seconds", "rival_seconds", "was_fallback", "calibration", "made_at",
    )  # fmt: skip
    heads = {
        "place": "Model @ node",
        "expected_p10_seconds": "10 %",
        "expected_p50_seconds": "Middle",
        "expected_p90_seconds": "90 %",
        "expected_p99_seconds": "99 %",
        "rival_seconds": "Previous start",
        "was_fallback": "Answered by",
    }
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "ahead", title, _AHEAD_ABOUT, scene)
    return [card(title, shown, tools=tools, key="ahead")]


def _worth_card(view: View, scene: Scene) -> list[Slot | Unshown]:
    """How long replicas were useful for each second of their start."""
    frame = view.frames["worth"]
    if frame.is_empty() or not frame["replicas"].sum():
        return []
    title = "Was it worth the start?"
    cells = {
        "model": lambda row: html.Strong(row["model"] or "not told"),
        "below_one_ratio": _used_less,
    }
    columns = (
        "model", "replicas", "utility_p10", "utility_p50", "utility_p90", "below_one_ratio",
        "start_ratio", "still_running",
    )  # fmt: skip
    heads = {
        "utility_p10": "Utility, 10 %",
        "utility_p50": "Middle",
        "utility_p90": "90 %",
        "below_one_ratio": "Used less than started",
        "start_ratio": "Time in starts",
        "still_running": "Still there",
    }
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "worth", title, _WORTH_ABOUT, scene)
    return [card(title, shown, tools=tools, key="worth")]


def _used_less(row: Mapping[str, Any]) -> str:
    """A share of few replicas is told as a count."""
    share, many = row["below_one_ratio"], row["replicas"]
    if share is None:
        return "\N{EN DASH}"
    return percent_text(share) if many >= FEW_EVENTS else f"{round(share * many)} of {many}"


def _slowest(row: Mapping[str, Any]) -> Any:
    if row["slowest_phase"] is None:
        return "\N{EN DASH}"
    name = figures.PHASES[row["slowest_phase"]][0]
    words = f"{name}, {seconds_text(row['slowest_phase_mean_seconds'])}"
    return html.Span(words, className="ss-nowrap")


def _starts_card(view: View, scene: Scene) -> Slot | Unshown:
    title = "Start by start"
    frame = view.frames["starts"]
    always = ["began_at", "instance", "model", "node", "cache_state", "outcome", "ready_seconds"]
    rest = [
        name
        for name in frame.columns
        if name.endswith("_seconds")
        and name not in always
        and frame[name].null_count() < frame.height
    ]
    cells = {
        "outcome": _outcome,
        "instance": lambda row: html.Strong(row["instance"]),
        "model": lambda row: html.Span(row["model"] or "not told", className="ss-nowrap"),
        "node": lambda row: html.Span(row["node"] or "not told", className="ss-nowrap"),
        "sources": lambda row: html.Span(row["sources"] or "nobody", className="ss-nowrap"),
    }
    heads = {
        "cache_state": "Cache",
        "kv_cache_seconds": "KV cache",
        "expected_p50_seconds": "Expected",
        "expected_p90_seconds": "Expected, 90 %",
        "waited_request_seconds": "Request-seconds",
        "sources": "Told by",
    }
    slow = ["slow_requests"] if "full_speed_seconds" in rest else []
    shown = table(
        frame,
        scene,
        columns=[*always, *rest, *slow, "sources"],
        cells=cells,
        heads=heads,
        caption=title,
    )
    tools = frame_tools(view, "starts", title, _STARTS_ABOUT, scene)
    return card(title, shown, tools=tools, key="starts")


def _outcome(row: Mapping[str, Any]) -> html.Span:
    look, glyph = {
        "ready": ("good", "●"),
        "never ready": ("bad", "✕"),
        "in progress": ("none", "…"),
    }[row["outcome"]]
    return html.Span(f"{glyph} {row['outcome']}", className=f"ss-status is-{look}")


PAGE = Page(
    "Cold starts",
    "How long until a replica serves; which step is slow?",
    (Panel("cold-starts-main", "cold_starts", body),),
)
