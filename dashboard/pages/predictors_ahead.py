"""Predictors: demand beside what came true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Chart, Slot, Unshown, card, chart_card, frame_tools, grid, tabs, verdict
from dashboard.figures import backtests
from dashboard.figures import predictors as figures
from dashboard.figures.base import Look, Picture
from dashboard.navigation import Panel
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.text import interval_text, number_text
from dashboard.url_state import Address
from store.units import percent_text, seconds_text, signed_percent_text

# The view's option -> its name in the address, where other panels have a `quantity` of their own.
_PARAMS = {"quantity": "demand", "key": "series", "horizon": "ahead"}
_TITLES = {"requests_per_second": "requests/s", "tokens_per_second": "tokens/s"}
# Shown around a miss: the window itself is ten minutes.
_BEFORE, _AFTER = timedelta(minutes=30), timedelta(minutes=20)


def options(address: Address) -> Mapping[str, str]:
    """Which forecast is shown."""
    wanted = {option: address.params.get(name, "") for option, name in _PARAMS.items()}
    return {option: value for option, value in wanted.items() if value}


def forecast_body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """The forecast beside the real course, what comes next, and error by horizon."""
    if view is None or view.empty is not None:
        return []
    shown = view.frames["shown"].row(0, named=True)
    given = options(scene.address)
    parts = [
        verdict(view.sentences, key="forecast"),
        html.Div(_choosers(view, shown, scene), className="ss-row ss-between"),
        grid(
            *(chart_card(view, chart, scene, given) for chart in _charts(shown)),
            chart_card(_of_quantity(view, shown), _growth(shown), scene, given),
            _horizons(view, shown, scene, given),
            _series(view, shown, scene, given),
            _misses(view, shown, scene, given),
            key="forecast",
        ),
    ]
    return [part for part in parts if part is not None]


def _choosers(view: View, shown: Mapping[str, Any], scene: Scene) -> list[html.Nav]:
    choices = view.frames["choices"]
    of_quantity = choices.filter(pl.col("quantity") == shown["quantity"])
    of_key = of_quantity.filter(pl.col("key") == shown["key"])
    quantities = {name: _TITLES.get(name, name) for name in choices["quantity"].unique().sort()}
    horizons = {
        f"{value:g}": f"{seconds_text(value)} ahead"
        for value in of_key["horizon_seconds"].unique().sort()
    }
    return [
        tabs("Demand shown", "demand", shown["quantity"], quantities, scene, series=None),
        tabs("Horizon", "ahead", f"{shown['horizon_seconds']:g}", horizons, scene),
    ]


def _charts(shown: Mapping[str, Any]) -> Sequence[Chart]:
    title = _TITLES.get(shown["quantity"], shown["quantity"])
    ahead = seconds_text(shown["horizon_seconds"])

    def course(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.course(frame, title, look)

    def newest(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.ahead(frame, title, look)

    return (
        Chart(
            "course",
            f"{shown['key']}: was the demand foreseen {ahead} ahead?",
            "course",
            course,
            "Each point is the mean over the ten minutes that end there: what was forecast one "
            "horizon before, and what came. Ten minutes in which a whole model was silent count "
            "as an outage and have no outcome.",
            span=8,
            height=300,
        ),
        Chart(
            "ahead",
            "What comes next?",
            "ahead",
            newest,
            "The newest forecast at every horizon, with its 50 and 90 % intervals.",
            span=4,
            height=300,
        ),
    )


def _of_quantity(view: View, shown: Mapping[str, Any]) -> View:
    """Losses of requests and of tokens are of different units: one of them."""
    own = view.frames["horizons"].filter(pl.col("quantity") == shown["quantity"])
    return replace(view, frames={**view.frames, "horizons": own})


def _growth(shown: Mapping[str, Any]) -> Chart:
    unit = _TITLES.get(shown["quantity"], shown["quantity"])

    def draw(frame: pl.DataFrame, look: Look) -> Picture | str:
        return backtests.by_horizon(frame, unit, look)

    return Chart(
        "forecast-growth",
        f"Live forecasts of {unit}: how does the error grow with the horizon?",
        "horizons",
        draw,
        "Mean pinball loss of the live forecasts whose windows are over, all keys together, beside "
        "the naive rival on the same windows. Bars: the 95 % interval of the skill, drawn around "
        "the rival's loss.",
        height=290,
    )


def _horizons(
    view: View, shown: Mapping[str, Any], scene: Scene, given: Mapping[str, str]
) -> Slot | Unshown:
    title = "How far ahead can it see?"
    frame = view.frames["horizons"].filter(pl.col("quantity") == shown["quantity"])
    return _judged(
        view, frame, "horizons", title, "horizon_seconds", "Over all keys.", scene, given
    )


def _series(
    view: View, shown: Mapping[str, Any], scene: Scene, given: Mapping[str, str]
) -> Slot | Unshown:
    title = "Whose demand is foreseen?"
    frame = view.frames["keys"].filter(pl.col("quantity") == shown["quantity"])
    if frame.height < 2:
        return Unshown(title, "There is one key only.")
    return _judged(view, frame, "keys", title, "key", "Over all horizons.", scene, given)


def _misses(
    view: View, shown: Mapping[str, Any], scene: Scene, given: Mapping[str, str]
) -> Slot | Unshown:
    title = "When was it furthest off?"
    frame = view.frames["misses"]
    if frame.is_empty():
        return Unshown(title, "No window that was forecast is over yet.")

    def opener(row: Mapping[str, Any]) -> html.A:
        start, end = row["at"] - _BEFORE, row["at"] + _AFTER
        there = scene.address.to("workload").changed(
            from_=f"{start:%Y-%m-%dT%H:%M:%SZ}", to=f"{end:%Y-%m-%dT%H:%M:%SZ}"
        )
        return html.A(scene.when(row["at"]), href=there.href(scene.prefix))

    cells = {
        "at": opener,
        "median": lambda row: number_text(row["median"]),
        "interval": lambda row: interval_text(row["q05"], row["q95"], ""),
        "outcome": lambda row: html.Strong(number_text(row["outcome"])),
        "error": lambda row: f"{row['error']:+.3g}",
    }
    columns = ("at", "median", "interval", "outcome", "error")
    heads = {
        "at": "Ten minutes to", "median": "Forecast", "interval": "90 % interval",
        "outcome": "What came", "error": "Off by",
    }  # fmt: skip
    told = frame.with_columns(interval=pl.lit(""))
    made = table(told, scene, columns=columns, cells=cells, heads=heads, caption=title)
    words = (
        "The ten forecasts shown above that were furthest from what came, in "
        f"{_TITLES.get(shown['quantity'], shown['quantity'])}. The time leads to what arrived then."
    )
    tools = frame_tools(view, "misses", title, words, scene, **given)
    return card(title, made, tools=tools, key="forecast-misses")


def _judged(
    view: View,
    frame: pl.DataFrame,
    name: str,
    title: str,
    by: str,
    about: str,
    scene: Scene,
    given: Mapping[str, str],
) -> Slot:
    def key(row: Mapping[str, Any]) -> html.A:
        return html.A(row["key"], href=scene.here(series=row["key"], ahead=None))

    cells = {
        "key": key,
        "skill_ratio": _skill,
        "coverage_50": lambda row: _covered(row, "coverage_50"),
        "coverage_90": lambda row: _covered(row, "coverage_90"),
    }
    columns = [by, "skill_ratio", "outcomes", "coverage_50", "coverage_90", "wmape_ratio"]
    columns.append("rival_wmape_ratio")
    if by != "key":
        columns.append("fallback_ratio")
    heads = {
        "horizon_seconds": "Ahead",
        "skill_ratio": "Skill",
        "coverage_50": "Inside 50 %",
        "coverage_90": "Inside 90 %",
        "wmape_ratio": "Mean error",
        "rival_wmape_ratio": "Rival's",
        "fallback_ratio": "By the rival",
    }
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    words = (
        f"{about} Skill is 1 - pinball loss / loss of the naive rival; none is stated below 30 "
        "outcomes; its interval is 95 %, from thirty runs of neighbours in time drawn again. "
        "Mean error: sum of |error| of the median over the sum of what came."
    )
    tools = frame_tools(view, name, title, words, scene, **given)
    return card(title, shown, tools=tools, key=f"forecast-{name}")


def _skill(row: Mapping[str, Any]) -> Any:
    ratio = row["skill_ratio"]
    if ratio is None:
        return "\N{EN DASH}"
    words = signed_percent_text(ratio)
    if row["skill_low"] is not None:
        ends = " to ".join(signed_percent_text(row[f"skill_{end}"]) for end in ("low", "high"))
        words += f" ({ends})"
    return html.Span(words, className="ss-nowrap")


def _covered(row: Mapping[str, Any], name: str) -> Any:
    if row[f"{name}_ratio"] is None:
        return "\N{EN DASH}"
    ends = " to ".join(percent_text(row[f"{name}_{end}"], 0) for end in ("low", "high"))
    words = f"{percent_text(row[f'{name}_ratio'], 0)} ({ends})"
    return html.Span(words, className="ss-nowrap")


FORECAST = Panel(
    "predictors-forecast",
    "predictors_forecast",
    forecast_body,
    options,
    is_aside=True,
    says_why_empty=True,
)
