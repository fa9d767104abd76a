"""Fairness: does every tenant get its share?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import dcc, html

from analysis.measure import View
from dashboard.cards import Chart, Slot, Unshown, card, chart_card, frame_tools, grid, tabs, verdict
from dashboard.empty_states import empty_state
from dashboard.figures import fairness as figures
from dashboard.figures.base import Look, Picture
from dashboard.navigation import Page, Panel
from dashboard.pages import fairness_alarm, fairness_interference
from dashboard.row_counts import QUERY
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.text import FEW_EVENTS, number_text
from dashboard.theme import attrs
from dashboard.tiles import tile, tiles
from dashboard.url_state import Address
from store.units import percent_text

OPTIONS = (
    "input_weight", "output_weight", "cached_weight", "window", "weights", "batch_tokens", "shown",
    "slo",
)  # fmt: skip
TILES = (
    ("Tenants with demand", "tenants"),
    ("Jain's index", "jain_index"),
    ("Least \N{DIVISION SIGN} most", "max_min_share"),
    ("Widest gap", "gap_max_tokens"),
    ("Its bound", "gap_bound_tokens"),
    ("Windowed difference", "windowed_difference_mean"),
    ("Attainment gap", "attainment_gap_ratio"),
)
FIELDS = (
    ("input_weight", "Input token", "1"),
    ("output_weight", "Output token", "2"),
    ("cached_weight", "Cached token", "1"),
    ("window", "Window", "60s"),
    ("weights", "Tenants' weights", "as told, or a:2,b:1"),
    ("batch_tokens", "Tokens in a batch", "from the engines"),
)
TABLE_COLUMNS = (
    "tenant", "demand_tokens", "service_tokens", "service_share_ratio", "of_fair_share",
    "waiting_ratio", "waited_mean_seconds", "requests", "refused", "failed", "ttft_p50_seconds",
    "ttft_p95_seconds", "attainment_ratio",
)  # fmt: skip
HEADS = {
    "demand_tokens": "Asked, tokens",
    "service_tokens": "Got, tokens",
    "service_share_ratio": "Share",
    "of_fair_share": "Of its fair share",
    "waiting_ratio": "Time waiting",
    "waited_mean_seconds": "Wait, mean",
}
_SERVICE_ABOUT = (
    "Service is input tokens + 2 x output tokens (weights below), spread evenly from the first "
    "token to the end of each answer. Cached prompt tokens have a rate of their own. The largest "
    "tenants are drawn one by one, all others together."
)
CHARTS = (
    Chart(
        "gap",
        "How far apart are tenants that wait?",
        "gap",
        figures.gap,
        "Largest difference of service (by weight) between two tenants who both have requests "
        "waiting, since the later of them began to wait. Fair queueing (VTC) keeps it within "
        "2 x max(w_in x longest input, w_out x tokens in a batch); where a gateway told the bound "
        "of its line, that is drawn. Where fewer than two wait there is no gap.",
    ),
    Chart(
        "windowed",
        "How unevenly was it shared, as far as it was asked for?",
        "windowed",
        figures.difference,
        "Sum over tenants of min(most served - served, |asked - served|) in a window around each "
        "time, as the artifact of VTC defines it: who asks for little is not treated unfairly. "
        "Refused requests are left out there; the second line counts them.",
    ),
    Chart(
        "jain",
        "Does everybody with demand get its part?",
        "jain",
        figures.jain,
        "Jain's index over service divided by the fair share, of tenants with demand in the "
        "window: 1 is the same for all, 1/n is all for one. The fair share is max-min: by weight, "
        "and nobody more than it asked for. Unknown for fewer than two tenants.",
        height=230,
    ),
)
_TABLE_ABOUT = (
    "Of its fair share: service over the max-min fair share in the windows in which anybody "
    "waited; 1 is fair. Time waiting: share of the range in which it had a request that waited. "
    "Attainment: by the objective, failed and refused requests are bad; Wilson's "
    "interval, 95 %."
)


def options(address: Address) -> Mapping[str, str]:
    """Weights, window and objective from the address."""
    wanted = {name: address.params.get(name, "") for name in OPTIONS}
    return {name: value for name, value in wanted.items() if value}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The verdict, numbers, what was got over time, how fair that was, and the tenants."""
    if view is None:
        return []
    if view.empty is not None:
        return [empty_state(view.empty, scene)]
    chosen = options(scene.address)
    parts = [
        verdict(view.sentences, tone=_tone(view), key="fairness"),
        tiles(*(tile(label, view.measures.get(key)) for label, key in TILES)),
        _service_tabs(scene),
        grid(
            chart_card(view, _service_chart(scene), scene, chosen),
            *(chart_card(view, chart, scene, chosen) for chart in CHARTS[:2]),
            _tenants_card(view, scene, chosen),
            *(chart_card(view, chart, scene, chosen) for chart in CHARTS[2:]),
            _weights_card(scene),
        ),
    ]
    return [part for part in parts if part is not None]


def _tone(view: View) -> str:
    held_back = view.measures["held_back"].value
    return "bad" if held_back else "plain"


def _is_share(scene: Scene) -> bool:
    return scene.address.params.get("stack") == "share"


def _service_tabs(scene: Scene) -> html.Nav:
    names = {"rate": "Service, tokens/s", "share": "Share of the service"}
    return tabs("How service is drawn", "stack", "share" if _is_share(scene) else "rate", names,
                scene)  # fmt: skip


def _service_chart(scene: Scene) -> Chart:
    def draw(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.service(frame, look, as_share=_is_share(scene))

    title = "Who gets which part?" if _is_share(scene) else "Who gets how much?"
    return Chart("service", title, "service", draw, _SERVICE_ABOUT, span=12, height=300)


def _tenants_card(view: View, scene: Scene, chosen: Mapping[str, str]) -> Slot | Unshown:
    title = "Tenant by tenant"
    cells = {
        "tenant": lambda row: html.Strong(row["tenant"]),
        "demand_tokens": lambda row: _count(row["demand_tokens"]),
        "service_tokens": lambda row: _count(row["service_tokens"]),
        "of_fair_share": _of_fair_share,
        "attainment_ratio": _attainment,
        "refused": lambda row: f"{row['refused']:,}",
    }
    frame = view.frames["tenants"]
    told = [name for name in TABLE_COLUMNS if frame[name].null_count() < frame.height]
    # A column in which nothing failed would push others out of sight; that nobody was refused is
    # worth knowing here.
    columns = [name for name in told if name != "failed" or frame[name].sum()]
    shown = table(
        frame, scene, columns=columns, cells=cells, heads=HEADS, caption=title,
        total=view.total("tenants"), others=QUERY,
    )  # fmt: skip
    tools = frame_tools(view, "tenants", title, _TABLE_ABOUT, scene, **chosen)
    return card(title, shown, tools=tools, key="tenants")


def _count(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else number_text(value)


def _of_fair_share(row: Mapping[str, Any]) -> Any:
    value = row["of_fair_share"]
    if value is None:
        return "\N{EN DASH}"
    look, glyph = "none", "●"
    if value <= 0.8:
        look, glyph = "bad", "▼"
    elif value >= 1.25:
        look, glyph = "watch", "▲"
    words = f"{glyph} {number_text(value)}\N{MULTIPLICATION SIGN}"
    return html.Span(words, className=f"ss-status is-{look}")


def _attainment(row: Mapping[str, Any]) -> Any:
    value, judged = row["attainment_ratio"], row["judged"]
    if value is None:
        return "\N{EN DASH}"
    few = f"n = {judged:,}, " if judged < FEW_EVENTS else ""
    interval = (
        f"{few}{percent_text(row['attainment_low'])} \N{EN DASH}"
        f" {percent_text(row['attainment_high'])}"
    )
    return [html.Strong(percent_text(value)), html.Div(interval, className="ss-dim")]


def _weights_card(scene: Scene) -> Slot:
    words = "Empty fields are the usual. A tenant of weight 2 may have twice as much as one of 1."
    return card("How is it counted?", [html.P(words, className="ss-dim"), _form(scene)], span=6)


def _form(scene: Scene) -> html.Form:
    """Weights and window, set together; empty fields are the usual."""
    inside = [
        html.Label(
            [
                words,
                dcc.Input(
                    name=name, value=scene.address.params.get(name, ""), type="text",
                    id=f"fairness-{name.replace('_', '-')}", autoComplete="off", placeholder=hint,
                ),
            ],
        )
        for name, words, hint in FIELDS
    ]  # fmt: skip
    return html.Form(
        [*inside, html.Button("Set", className="ss-button is-small", type="submit")],
        action=scene.here(**{name: None for name, *_ in FIELDS}),
        className="ss-range-form is-flat is-wide",
        **attrs({"aria-label": "Weights and window"}),
    )


PAGE = Page(
    "Fairness",
    "Does every tenant get its share, and who suffers?",
    (
        fairness_alarm.PANEL,
        Panel("fairness-main", "fairness", body, options),
        fairness_interference.PANEL,
    ),
)
