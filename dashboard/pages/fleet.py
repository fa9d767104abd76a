"""Fleet: is it healthy now, and if not, where do I look?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Chart, Draw, Slot, Unshown, card, chart_card, frame_tools, grid, verdict
from dashboard.figures.base import Look, Picture
from dashboard.figures.series import over_time, quantile_over_time, shares_over_time
from dashboard.navigation import Page, Panel
from dashboard.pages import (
    first_run,
    first_steps,
    fleet_instances,
    fleet_models,
    fleet_tiles,
    fleet_why,
)
from dashboard.row_counts import rows_told
from dashboard.scene import Scene
from dashboard.services import Services

MOST_EVENTS = 12


def _course(column: str, title: str, unit: str, **axis: Any) -> Draw:
    def draw(frame: pl.DataFrame, look: Look) -> Picture | str:
        return over_time(frame, column, title, unit, look, **axis)

    return draw


def _quantile(column: str, title: str) -> Draw:
    def draw(frame: pl.DataFrame, look: Look) -> Picture | str:
        return quantile_over_time(frame, column, title, look)

    return draw


def _failures(frame: pl.DataFrame, look: Look) -> Picture | str:
    lines = {"error_ratio": "all", **fleet_tiles.FAILURE_NAMES}
    return shares_over_time(frame, lines, "of requests", look)


FIRST_CHARTS = (
    Chart(
        "rate",
        "How much is asked of the fleet?",
        "sparklines",
        _course("requests_per_second", "requests/s", "requests/s"),
        "Requests per second in each bin, finished and failed alike.",
    ),
    Chart(
        "ttft",
        "How long until the first token?",
        "sparklines",
        _quantile("ttft_p95_seconds", "TTFT p95 (s)"),
        "95th percentile of the time to first token in each bin. From buckets it is known "
        "only to lie between two edges, drawn as a bar; a bin without requests is a gap.",
    ),
)
FURTHER_CHARTS = (
    Chart(
        "waiting",
        "Is work queueing up?",
        "sparklines",
        _course("requests_waiting", "requests waiting", "requests"),
        "Requests that engines hold in their queue, summed over instances.",
        span=4,
        height=250,
    ),
    Chart(
        "tpot",
        "How fast is decoding?",
        "sparklines",
        _quantile("tpot_p95_seconds", "TPOT p95 (s)"),
        "95th percentile of the time per output token, the first token excluded.",
        span=4,
        height=250,
    ),
    Chart(
        "errors",
        "What share fails?",
        "sparklines",
        _failures,
        "Requests that came to nothing over attempted ones in each bin, and what they came to: "
        "failed (5xx), refused (429), aborted by the client. Where nothing tells these apart there "
        "is one line.",
        span=4,
        height=250,
    ),
)


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """What answers the question, or the first-run panel while nothing is connected."""
    if view is None:
        return []
    if view.empty is not None:
        return first_run.panel(services)
    parts = [
        verdict(view.sentences, tone=_tone(view)),
        fleet_tiles.row(view, scene),
        grid(
            *fleet_why.cards(view, scene),
            *(card for card in _first_charts(view, scene) if isinstance(card, Slot)),
        ),
    ]
    return [part for part in parts if part is not None]


def _first_charts(view: View, scene: Scene) -> list[Slot | Unshown]:
    """Those that cannot be drawn are listed with the others, at the end of the page."""
    return [chart_card(view, chart, scene) for chart in FIRST_CHARTS]


def models_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Which workload suffers."""
    if view is None or view.empty is not None:
        return []
    return [grid(fleet_models.models_card(view, scene, services), key="models")]


def rest_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """What is below the models: further charts, the instances, what happened; what is missing."""
    if view is None or view.empty is not None:
        return []
    cards = (
        *(card for card in _first_charts(view, scene) if isinstance(card, Unshown)),
        *(chart_card(view, chart, scene) for chart in FURTHER_CHARTS),
        fleet_instances.instances_card(view, scene),
        _events_card(view, scene),
    )
    return [grid(*cards, key="rest")]


def _tone(view: View) -> str:
    """Bad while an objective is in trouble, or an instance says nothing."""
    troubled = view.measures.get("objectives_in_trouble")
    if troubled is not None and troubled.value:
        return "bad"
    instances = view.frames.get("instances", pl.DataFrame())
    states = set() if instances.is_empty() else set(instances["state"])
    return "bad" if states & {"unreachable", "stale"} else "plain"


def _events_card(view: View, scene: Scene) -> Slot | Unshown:
    title = "What happened?"
    frame = view.frames.get("events", pl.DataFrame())
    if frame.is_empty():
        return Unshown(title, "No event in this range.")
    rows = [
        html.Li(
            [
                html.Time(scene.when(row["at"])),
                html.Span(row["kind"], className="ss-kind"),
                html.Span(row["text"]),
            ]
        )
        for row in frame.head(MOST_EVENTS).iter_rows(named=True)
    ]
    words = (
        "Deployments, changes of replicas, freezes, outages, faults and alerts; newest first, of "
        "each kind the newest 200."
    )
    tools = frame_tools(view, "events", title, words, scene)
    shown: list[Any] = [html.Ul(rows, className="ss-events")]
    if frame.height > MOST_EVENTS:
        words = f"The newest {rows_told(MOST_EVENTS, frame.height)}"
        shown.append(html.P(words, className="ss-dim ss-foot"))
    return card(title, shown, span=4, tools=tools, key="events")


PAGE = Page(
    "Fleet",
    "Is the fleet healthy now, and if not, where do I look?",
    (
        first_steps.STEPS,
        Panel("fleet-main", "fleet", body),
        Panel("fleet-models", "fleet_models", models_body, is_aside=True),
        # The same view, which is asked for once: what stands below need not be drawn first.
        Panel("fleet-rest", "fleet", rest_body, is_aside=True),
    ),
)
