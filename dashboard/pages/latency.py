"""Latency: where does the time go, queue, prefill or decode?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Chart, Unshown, chart_card, grid, tabs, verdict
from dashboard.empty_states import empty_state
from dashboard.figures import latency as figures
from dashboard.figures.base import Look, Picture
from dashboard.figures.latency_heat import heatmap
from dashboard.navigation import Page, Panel
from dashboard.notes import notes
from dashboard.pages.latency_requests import ONE, REQUESTS
from dashboard.pages.latency_stragglers import STRAGGLERS
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.text import unit_text
from dashboard.tiles import tile, tiles
from dashboard.url_state import Address

QUANTITY_NAMES = {
    "e2e": "E2E",
    "ttft": "TTFT",
    "tpot": "TPOT",
    "queue": "Queue",
    "prefill": "Prefill",
    "decode": "Decode",
}
AXIS_TITLES = {
    "e2e": "E2E (s)",
    "ttft": "time to first token (s)",
    "tpot": "time per output token (s)",
    "queue": "queue time (s)",
    "prefill": "prefill time (s)",
    "decode": "decode time (s)",
}
BY_NAMES = {"model": "by model", "instance": "by instance"}
TILES = (
    ("E2E p50", "e2e_p50_seconds"),
    ("E2E p95", "e2e_p95_seconds"),
    ("E2E p99", "e2e_p99_seconds"),
    ("TTFT p50", "ttft_p50_seconds"),
    ("TTFT p95", "ttft_p95_seconds"),
    ("TPOT p50", "tpot_p50_seconds"),
    ("TPOT p95", "tpot_p95_seconds"),
    ("Queue p95", "queue_p95_seconds"),
)


NEEDS_ROWS = {
    "What makes the slowest slow?": "a histogram has no ranks",
    "Does a longer prompt wait longer? Does company slow decoding?": (
        "two histograms do not say which values met"
    ),
    "Which requests were slow?": "a histogram holds no single request",
}
NEEDS_E2E = (
    "Where does the time go, on average?",
    "What makes the slowest slow?",
    "Does company slow decoding?",
)


def options(address: Address) -> Mapping[str, str]:
    """Which latency, and told apart by what."""
    wanted = {name: address.params.get(name, "") for name in ("quantity", "by")}
    return {name: value for name, value in wanted.items() if value}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Tiles, the heat map with its quantiles, and the cumulative curves."""
    if view is None:
        return []
    if view.empty is not None:
        return [empty_state(view.empty, scene)]
    shown = view.frames["shown"].row(0, named=True)
    title = AXIS_TITLES[shown["quantity"]]

    def heat(frame: pl.DataFrame, look: Look) -> Picture | str:
        lines, objectives = view.frames["quantiles"], view.frames["objectives"]
        return heatmap(frame, scene.clipped(lines), objectives, title, look)

    def curves(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.ecdf(frame, title)

    charts = (
        Chart(
            "heat",
            f"How is {QUANTITY_NAMES[shown['quantity']]} spread over time?",
            "heatmap",
            heat,
            "Successful requests by time and latency; the darker, the more (logarithmic). Lines: "
            "p50, p95 and p99, read from logarithmic bins (at most 2.2 % wrong), or the two edges "
            "of the bucket that holds them where only histograms are known. Dotted: objectives.",
            span=12,
            height=330,
        ),
        Chart(
            "ecdf",
            f"Which {shown['by']} is slower?",
            "ecdf",
            curves,
            "Share of the successful requests up to each latency. From buckets the share is known "
            "at the edges only (dots); between two of them it lies inside the band.",
            span=12,
        ),
    )
    made = [tile(label, view.measures.get(key)) for label, key in TILES]
    parts = [
        verdict(view.sentences),
        tiles(*made),
        choices(view, scene),
        grid(
            *(chart_card(view, chart, scene, options(scene.address)) for chart in charts),
            *_missing(view, shown["basis"]),
        ),
    ]
    return [part for part in parts if part is not None]


def _missing(view: View, basis: str) -> list[Unshown]:
    """What the rest of the page cannot show of this data, and why."""
    if basis == "buckets":
        return [Unshown(title, f"Needs request rows: {why}.") for title, why in NEEDS_ROWS.items()]
    whole = view.measures.get("e2e_p50_seconds")
    if whole is None or whole.value is None:
        return [Unshown(title, "Needs whole durations (e2e_seconds).") for title in NEEDS_E2E]
    return []


def choices(view: View, scene: Scene) -> html.Div:
    """Links that choose the latency and the label; each has its own address."""
    shown = view.frames["shown"].row(0, named=True)
    made = [
        tabs("Latency shown", "quantity", shown["quantity"], QUANTITY_NAMES, scene),
        tabs("Told apart", "by", shown["by"], BY_NAMES, scene),
    ]
    return html.Div(made, className="ss-row ss-between")


def phases_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The mean phase stack."""
    if view is None or view.empty is not None:
        return []
    chart = Chart(
        "stack",
        "Where does the time go, on average?",
        "stack",
        figures.stack,
        "Mean seconds of each phase of the successful requests that arrived in each bin. Means add "
        "up; percentiles would not. Unattributed is E2E minus the phases: shown, never spread.",
        span=12,
        height=280,
    )
    return [*notes(view.sentences, "phases"), grid(chart_card(view, chart, scene))]


def tail_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The anatomy of the tail."""
    if view is None:
        return []
    if view.empty is not None:
        return []
    chart = Chart(
        "tail",
        "What makes the slowest slow?",
        "tail",
        figures.tail,
        "Requests grouped by their rank by E2E; for each group the mean of each phase. This is the "
        "additive answer to what is in the p99.",
        span=12,
        height=240,
    )
    said = verdict(view.sentences, key="tail")
    parts = [said, grid(chart_card(view, chart, scene))]
    return [part for part in parts if part is not None]


def drivers_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """TTFT against input length, TPOT against concurrency."""
    if view is None or view.empty is not None:
        return []

    def by_length(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.driver(frame, view.frames["ttft_medians"], "input tokens", "TTFT (s)")

    def by_crowd(frame: pl.DataFrame, look: Look) -> Picture | str:
        title = "requests in the engine at admission"
        return figures.driver(frame, view.frames["tpot_medians"], title, "TPOT (s)", log_x=False)

    charts = (
        Chart(
            "ttft-input",
            _title("Does a longer prompt wait longer?", view, "ttft_slope_seconds_per_1k_tokens", "per 1k tokens"),  # noqa: E501
            "ttft_by_input",
            by_length,
            "Successful requests by input length and TTFT, both in logarithmic bins; the line is "
            "the median of each bin. The slope is that of a line through the medians, weighted by "
            "their requests, over bins of at least ten.",
        ),
        Chart(
            "tpot-crowd",
            _title("Does company slow decoding?", view, "tpot_slope_seconds_per_request", "per request"),  # noqa: E501
            "tpot_by_concurrency",
            by_crowd,
            "Time per output token against the requests that were in the same engine when each was "
            "admitted, itself included. Worked out from arrivals, queue times and durations.",
        ),
    )  # fmt: skip
    cards = (chart_card(view, chart, scene) for chart in charts)
    return [*notes(view.sentences, "drivers"), grid(*cards)]


def _title(question: str, view: View, measure: str, unit: str) -> str:
    found = view.measures.get(measure)
    if found is None or found.value is None:
        return question
    sign = "+" if found.value >= 0 else "\N{MINUS SIGN}"
    return f"{question} {sign}{unit_text(abs(found.value), 's')} {unit}"


PAGE = Page(
    "Latency",
    "Where does the time go: queue, prefill or decode?",
    (
        ONE,
        Panel("latency-main", "latency", body, options),
        Panel("latency-phases", "latency_phases", phases_body, is_aside=True),
        Panel("latency-tail", "latency_tail", tail_body, is_aside=True),
        Panel("latency-drivers", "latency_drivers", drivers_body, is_aside=True),
        STRAGGLERS,
        REQUESTS,
    ),
)
