"""SLOs: how much may still go wrong, who spent it, when is it gone?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from functools import cache, partial
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Chart, card, chart_card, frame_tools, grid, verdict
from dashboard.empty_states import empty_state
from dashboard.figures import slo as figures
from dashboard.figures.marks import Marks
from dashboard.happened import happened
from dashboard.narrowing import culprits
from dashboard.navigation import Page, Panel
from dashboard.pages.slo_alerts import alerts_card, burn_text
from dashboard.pages.slo_edit import edit_body
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.text import FEW_EVENTS
from dashboard.theme import attrs
from dashboard.tiles import tile, tiles
from dashboard.url_state import Address, iso_z
from store.units import percent_text

# Word, glyph: the colour is never the only signal.
STATUS_LOOKS = {
    "healthy": ("good", "●"),
    "watch": ("watch", "◐"),
    "burning": ("bad", "▲"),
    "exhausted": ("bad", "✕"),
    "too few events": ("none", "○"),
    "no data": ("none", "○"),
}

LIST_COLUMNS = (
    "status",
    "name",
    "attainment_ratio",
    "budget_left_ratio",
    "burn_1h",
    "burn_6h",
    "exhausted_at",
    "attempted",
)


def list_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """All objectives, the nearest to exhaustion first."""
    if view is None:
        return []
    if view.empty is not None:
        return [empty_state(view.empty, scene)]
    frame = view.frames.get("slos", pl.DataFrame())
    title = "How much may still go wrong?"
    if frame.is_empty():
        return [_no_slo()]
    cells = {
        "status": lambda row: badge(row["status"]),
        "name": lambda row: _name_cell(row, scene),
        "attainment_ratio": _attainment_cell,
        "budget_left_ratio": lambda row: budget_bar(row["budget_left_ratio"]),
        "burn_1h": lambda row: burn_text(row["burn_1h"]),
        "burn_6h": lambda row: burn_text(row["burn_6h"]),
        "exhausted_at": lambda row: _exhausted_text(row, scene),
    }
    heads = {
        "name": "Objective",
        "attainment_ratio": "Attainment",
        "budget_left_ratio": "Budget left",
        "exhausted_at": "Exhausted at this pace",
        "attempted": "Attempts",
    }
    troubled = frame["status"].is_in(["exhausted", "burning"]).any()
    said = verdict(view.sentences, tone="bad" if troubled else "plain")
    words = (
        "Attainment counts attempted requests: failed and refused ones are bad. The interval is "
        "Wilson's, 95 %. The budget is that of the objective's own window, not of the range shown; "
        "of a calendar window it is that of the whole period, the rest at the traffic so far."
    )
    shown = table(frame, scene, columns=LIST_COLUMNS, cells=cells, heads=heads, caption=title)
    shown_card = card(
        title, shown, tools=frame_tools(view, "slos", title, words, scene), key="slos"
    )
    return [part for part in (said, grid(shown_card)) if part is not None]


def _no_slo() -> html.Div:
    return html.Div(
        [
            html.H2("No objective yet."),
            html.P(
                "Objectives are text, under version control: write one below, or in slo.toml and"
                " check it with"
            ),
            html.Pre(html.Code("servescope slo lint slo.toml"), tabIndex=0),
        ],
        className="ss-empty",
    )


def badge(status: str | None) -> html.Span:
    """A status as word and glyph."""
    look, glyph = STATUS_LOOKS.get(status or "no data", ("none", "○"))
    return html.Span(
        [html.Span(glyph, **attrs({"aria-hidden": "true"})), f" {status or 'no data'}"],
        className=f"ss-status is-{look}",
    )


def _name_cell(row: Mapping[str, Any], scene: Scene) -> list[Any]:
    parts: list[Any] = [
        html.A(row["name"], href=scene.link("slo", row["name"]), className="ss-strong"),
        html.Div(row["objective_text"], className="ss-dim"),
    ]
    if row.get("why"):
        urgent = row["status"] in ("watch", "burning", "exhausted")
        parts.append(html.Div(row["why"], className="ss-why" if urgent else "ss-dim"))
    return parts


def _attainment_cell(row: Mapping[str, Any]) -> list[Any]:
    value, attempted = row["attainment_ratio"], row["attempted"] or 0
    if value is None:
        if row["attainment_low"] is None and row["attainment_high"] is None:
            return [html.Span("unknown", className="ss-dim")]
        return [
            f"{percent_text(row['attainment_low'])} \u2013 {percent_text(row['attainment_high'])}"
        ]
    parts: list[Any] = [
        html.Strong(percent_text(value, 2)),
        html.Span(f" of {percent_text(row['target_ratio'], 2)}", className="ss-dim"),
    ]
    if row["attainment_low"] is not None and attempted < 10_000:
        few = f"n = {attempted:,}, " if attempted < FEW_EVENTS else ""
        low, high = percent_text(row["attainment_low"]), percent_text(row["attainment_high"])
        interval = f"{few}{low} \u2013 {high}"
        parts.append(html.Div(interval, className="ss-dim"))
    return parts


def budget_bar(left: float | None) -> Any:
    """The budget left as a bar and words; overspent is said, never clamped."""
    if left is None:
        return html.Span("unknown", className="ss-dim")
    width = max(0.0, min(1.0, left)) * 100
    words = f"{percent_text(left)} left" if left >= 0 else f"overspent by {percent_text(-left)}"
    look = "bad" if left <= 0 else "watch" if left < 0.25 else "good"
    bar = html.Div(
        html.Div(style={"width": f"{width:.1f}%"}, className="ss-meter-fill"), className="ss-meter"
    )
    return html.Div([bar, html.Span(words)], className=f"ss-budget is-{look}")


def _exhausted_text(row: Mapping[str, Any], scene: Scene) -> str:
    if row["exhausted_at"] is not None:
        return scene.when(row["exhausted_at"])
    if row["budget_left_ratio"] is None:
        return "unknown"
    if row.get("resets_at") is not None:
        return f"lasts to its reset, {scene.when(row['resets_at'])}"
    return "not in sight"


DETAIL_CHARTS = (
    Chart(
        "budget",
        "How much budget is left?",
        "budget",
        figures.budget,
        "1 minus the bad events so far over those the objective allows in its own window. Negative "
        "is overspent. Dashed: where it goes if the pace of the last 6 hours goes on, until it is "
        "gone, at most half a window ahead, or to the reset of a calendar window; without it the "
        "budget does not go at this pace.",
    ),
    Chart(
        "burn",
        "How fast is it being spent?",
        "burn",
        figures.burn,
        "Bad share over 5 minutes, 1 hour, 6 hours and 3 days over the allowed share. The lines "
        "are the thresholds of this objective's own alerts; usually those of the SRE workbook, "
        "14.4, 6, 3 and 1.",
    ),
    Chart(
        "spent",
        "Who spent it?",
        "spent_by",
        figures.spent_by,
        "Share of the bad events by label, beside that label's share of the traffic. Far right of "
        "its tick means that it fails more than its share. The links below show one part alone.",
        height=300,
        foot=culprits,
    ),
    Chart(
        "spent-hours",
        "At which hour of the day was it spent?",
        "spent_by",
        figures.spent_hours,
        "Share of the bad events of the objective's window by hour of the day, beside that hour's "
        "share of the traffic. Above its tick an hour fails more than its share.",
        height=300,
    ),
    Chart(
        "threshold",
        "What would another threshold give?",
        "threshold_curve",
        figures.thresholds,
        "Share of attempts that meet the objective, were its threshold the one on the axis. The "
        "mark is the objective as it is, the dotted line the share that it wants.",
        height=300,
    ),
    Chart(
        "events",
        "How many events is this built on?",
        "events",
        figures.events,
        "Good, bad and undetermined attempts in each bin. Few events make every ratio uncertain.",
        height=200,
    ),
)


def _slo_option(address: Address) -> Mapping[str, str]:
    return {"slo": address.path[1]} if len(address.path) > 1 else {}


def detail_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """One objective: budget, burn, who spent it, thresholds, alerts."""
    if view is None:
        return []
    if view.empty is not None:
        return [empty_state(view.empty, scene)]
    options = _slo_option(scene.address)
    row = tiles(
        tile("Attainment", view.measures.get("attainment_ratio")),
        tile("Budget left", view.measures.get("budget_left_ratio"), tone=_budget_tone(view)),
        tile("Burn, last hour", view.measures.get("burn_1h")),
        tile("Burn, last 6 hours", view.measures.get("burn_6h")),
    )
    whole = replace(scene, marks=cache(partial(_over_window, view, scene, services)))
    cards = [
        chart_card(view, _own(chart, view), whole if chart.key == "budget" else scene, options)
        for chart in DETAIL_CHARTS
    ]
    said = verdict(view.sentences, tone=_budget_tone(view) or "plain")
    parts = [said, row, grid(*cards, alerts_card(view, scene, options))]
    return [part for part in parts if part is not None]


def _over_window(view: View, scene: Scene, services: Services) -> Marks | None:
    """What happened in the objective's own window: its budget is drawn over that."""
    if "slos" not in view.frames:
        return scene.marks()
    row = view.frames["slos"].row(0, named=True)
    start = row["window_start_at"].replace(tzinfo=UTC)
    params = {**scene.address.params, "from": iso_z(start), "to": iso_z(view.scope.end)}
    return happened(services, params, start, view.scope.end)


def _own(chart: Chart, view: View) -> Chart:
    """A chart with the lines of the objective that is shown."""
    if chart.key == "burn":
        rules = view.frames["alerts"]["threshold"].drop_nulls()
        lines = tuple(rules.unique()) or figures.ALERT_LINES
        return replace(chart, draw=partial(figures.burn, alert_lines=lines))
    if chart.key == "threshold" and "slos" in view.frames:
        target = view.frames["slos"].row(0, named=True)["target_ratio"]
        return replace(chart, draw=partial(figures.thresholds, target_ratio=target))
    return chart


def _budget_tone(view: View) -> str:
    measure = view.measures.get("budget_left_ratio")
    return "bad" if measure and measure.value is not None and measure.value <= 0 else ""


def _crumbs(scene: Scene) -> Sequence[Any]:
    name = scene.address.path[1] if len(scene.address.path) > 1 else ""
    return [
        html.Nav(
            [html.A("SLOs", href=scene.link("slo")), " / ", html.Strong(name)],
            className="ss-crumbs",
            **attrs({"aria-label": "Breadcrumb"}),
        )
    ]


LIST_PAGE = Page(
    "SLOs",
    "How much may still go wrong, and who spent it?",
    (
        Panel("slo-list", "slo_list", list_body),
        Panel("slo-edit", None, edit_body, follows_clock=False, is_still=True),
    ),
)
DETAIL_PAGE = Page(
    "SLO",
    "How much may still go wrong, and who spent it?",
    (Panel("slo-detail", "slo_detail", detail_body, _slo_option),),
    _crumbs,
    named_by_path=True,
)
