"""Fleet: is it healthy now, and if not, where do I look?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
from dash import html

from analysis.measure import Measure, View
from dashboard.cards import (
    Chart,
    Draw,
    Slot,
    Unshown,
    card,
    chart_card,
    frame_tools,
    grid,
    tile,
    tiles,
    verdict,
)
from dashboard.figures.base import Look, Picture, numbers
from dashboard.figures.series import over_time, quantile_over_time
from dashboard.narrowing import only
from dashboard.navigation import Page, Panel
from dashboard.pages import first_run, fleet_why
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.text import number_text
from dashboard.theme import attrs
from store.errors import ServescopeError


def _course(column: str, title: str, unit: str, **axis: Any) -> Draw:
    def draw(frame: pl.DataFrame, look: Look) -> Picture | str:
        return over_time(frame, column, title, unit, look, **axis)

    return draw


def _quantile(column: str, title: str) -> Draw:
    def draw(frame: pl.DataFrame, look: Look) -> Picture | str:
        return quantile_over_time(frame, column, title, look)

    return draw


CHARTS = (
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
    Chart(
        "waiting",
        "Is work queueing up?",
        "sparklines",
        _course("requests_waiting", "requests waiting", "requests"),
        "Requests that engines hold in their queue, summed over instances.",
        span=4,
        height=200,
    ),
    Chart(
        "tpot",
        "How fast is decoding?",
        "sparklines",
        _quantile("tpot_p95_seconds", "TPOT p95 (s)"),
        "95th percentile of the time per output token, the first token excluded.",
        span=4,
        height=200,
    ),
    Chart(
        "errors",
        "What share fails?",
        "sparklines",
        _course("error_ratio", "failed share", "of requests", tickformat=".1%"),
        "Failed and refused requests over attempted ones in each bin.",
        span=4,
        height=200,
    ),
)

TILES = (
    ("Requests", "requests_per_second", "requests_per_second", ("workload",)),
    (
        "Output tokens",
        "output_tokens_per_second",
        "output_tokens_per_second",
        ("workload", "lengths"),
    ),
    ("Failed", "error_ratio", "error_ratio", ("workload", "failures")),
    ("TTFT p95", "ttft_p95_seconds", "ttft_p95_seconds", ("latency",)),
    ("TPOT p95", "tpot_p95_seconds", "tpot_p95_seconds", ("latency",)),
    ("Lowest budget", "lowest_budget_left_ratio", "", ("slo",)),
    ("Waiting", "requests_waiting", "requests_waiting", ("latency",)),
    ("Instances ready", "instances_ready", "", ("admin",)),
)

# Which latency the page of latencies shows first, by the tile that leads there.
QUANTITIES = {"ttft_p95_seconds": "ttft", "tpot_p95_seconds": "tpot", "requests_waiting": "queue"}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The whole page, or the first-run panel while nothing is connected."""
    if view is None:
        return []
    if view.empty is not None:
        return first_run.panel(services)
    parts = [
        verdict(view.sentences),
        _tile_row(view, scene),
        grid(
            *fleet_why.cards(view, scene),
            *(chart_card(view, chart, scene) for chart in CHARTS[:2]),
            _models_card(view, scene, _known_models(services, scene)),
            *(chart_card(view, chart, scene) for chart in CHARTS[2:]),
            _instances_card(view, scene),
            _events_card(view, scene),
        ),
    ]
    return [part for part in parts if part is not None]


def _tile_row(view: View, scene: Scene) -> html.Div:
    lines = view.frames.get("sparklines", pl.DataFrame())
    made = []
    for label, key, column, path in TILES:
        series = numbers(lines, column) if column in lines.columns else []
        made.append(
            tile(
                label,
                _counted(key, view.measures.get(key)),
                series=series,
                href=scene.address.to(*path)
                .changed(quantity=QUANTITIES.get(key))
                .href(scene.prefix),
                tone=_tone(key, view),
            )
        )
    return tiles(*made)


def _counted(key: str, measure: Measure | None) -> Measure | None:
    """Of gauges `n` counts instances, and says so."""
    lead = {"requests_waiting": "in", "instances_ready": "of"}.get(key)
    if measure is None or lead is None or not measure.n or measure.value is None:
        return measure
    words = f"{lead} {measure.n:,} instance{'' if measure.n == 1 else 's'}"
    return replace(measure, n=None, why=", ".join(filter(None, (words, measure.why))))


def _tone(key: str, view: View) -> str:
    """Only a spent budget colours a tile: every other number needs an objective to be bad."""
    measure = view.measures.get(key)
    if key != "lowest_budget_left_ratio" or measure is None or measure.value is None:
        return ""
    return "bad" if measure.value <= 0 else ""


def _known_models(services: Services, scene: Scene) -> Collection[str]:
    """Names that are models: a workload may be a route or a source instead."""
    try:
        return services.label_values(scene.address.params).get("model", ())
    except ServescopeError:
        return ()


def _workload(name: str, models: Collection[str], scene: Scene) -> Any:
    if name not in models:
        return html.Strong(name)
    return html.A(html.Strong(name), href=only("model", name, scene, "latency"))


def _models_card(view: View, scene: Scene, models: Collection[str]) -> Slot | Unshown:
    title = "Which workload suffers?"
    frame = view.frames.get("models", pl.DataFrame())
    if frame.is_empty():
        return Unshown(title, "No request carries a model, route or source here.")
    cells = {"workload": lambda row: _workload(row["workload"], models, scene)}
    words = "One row for each model (or route, or source, where no model is known), worst first."
    heads = {
        "input_tokens_mean": "Input mean",
        "output_tokens_mean": "Output mean",
        "requests_waiting": "Waiting",
        "requests_running": "Running",
        "kv_cache_usage_ratio": "KV used",
    }
    shown = table(frame, scene, cells=cells, heads=heads, caption=title)
    return card(title, shown, tools=frame_tools(view, "models", title, words, scene), key="models")


def _instances_card(view: View, scene: Scene) -> Slot | Unshown:
    title = "Which instance stands out?"
    frame = view.frames.get("instances", pl.DataFrame())
    words = (
        "One cell for each instance. The outlier score is the distance from the median of its "
        "same-model peers in median absolute deviations; from 3 on it stands out."
    )
    if frame.is_empty():
        why = "A trace has no live instances." if not scene.is_live else "No engine is connected."
        return Unshown(title, why)
    cells = [_instance_cell(row, scene) for row in frame.iter_rows(named=True)]
    tools = frame_tools(view, "instances", title, words, scene)
    return card(
        title, html.Ul(cells, className="ss-instances"), span=8, tools=tools, key="instances"
    )


def _instance_cell(row: Mapping[str, Any], scene: Scene) -> html.Li:
    look, glyph, state = _instance_look(row)
    score = row.get("outlier_score")
    facts = [
        f"{number_text(row[column])} {word}"
        for column, word in (("requests_running", "running"), ("requests_waiting", "waiting"))
        if row.get(column) is not None
    ]
    if row.get("kv_cache_usage_ratio") is not None:
        facts.append(f"KV {row['kv_cache_usage_ratio'] * 100:.0f} %")
    if score is not None:
        facts.append(f"outlier {score:.1f}")
    version = " ".join(str(row[c]) for c in ("engine", "engine_version", "model") if row.get(c))
    parts = [
        html.Span(glyph, className="ss-glyph", **attrs({"aria-hidden": "true"})),
        html.Div(
            [
                html.A(
                    html.Strong(row["instance"]),
                    href=only("instance", row["instance"], scene, "latency"),
                ),
                html.Span(state, className="ss-state"),
                html.Div(version, className="ss-dim"),
                html.Div(
                    row.get("why") or " · ".join(facts) or "nothing reported", className="ss-facts"
                ),
            ]
        ),
    ]
    return html.Li(parts, className=f"ss-instance is-{look}")


def _instance_look(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Look, glyph and word: never colour alone."""
    state = str(row.get("state") or "unknown")
    if state not in ("ready", "ok", "up"):
        return "down", "✕", state
    score = row.get("outlier_score")
    if score is not None and score >= 3:
        return "outlier", "▲", "stands out"
    return "fine", "●", state


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
        for row in frame.head(12).iter_rows(named=True)
    ]
    tools = frame_tools(view, "events", title, "Changes of targets, imports and alerts.", scene)
    return card(title, html.Ul(rows, className="ss-events"), span=4, tools=tools, key="events")


PAGE = Page(
    "Fleet",
    "Is the fleet healthy now, and if not, where do I look?",
    (Panel("fleet-main", "fleet", body),),
)
