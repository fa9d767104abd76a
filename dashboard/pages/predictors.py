"""Predictors: can I trust what is predicted?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Chart, Slot, Unshown, card, chart_card, frame_tools, grid, tabs, verdict
from dashboard.empty_states import empty_state
from dashboard.figures import predictors as figures
from dashboard.figures.base import Look, Picture
from dashboard.navigation import Page, Panel
from dashboard.pages.predictors_ahead import FORECAST
from dashboard.pages.predictors_backtest import BACKTEST
from dashboard.pages.predictors_drift import INPUTS, drift_card
from dashboard.pages.predictors_models import MODELS
from dashboard.pages.predictors_skill import covered, skill_cell, verdict_cell
from dashboard.pages.predictors_states import DEGRADATION
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import cell_text, table
from dashboard.text import interval_text, unit_text
from dashboard.tiles import tile, tiles

# quantity -> words, unit
QUANTITIES = {
    "output_tokens": ("Response length", "tokens"),
    "ttft_seconds": ("TTFT", "s"),
    "tpot_seconds": ("TPOT", "s"),
    "e2e_seconds": ("E2E", "s"),
}
TILES = (
    ("Predictions", "predictions"),
    ("Judged by their outcome", "outcomes"),
    ("Answered by the rival", "fallback_ratio"),
    ("Said before the outcome", "before_ratio"),
    ("Calibrated intervals", "calibrated_ratio"),
    ("Drift events", "drift_events"),
)
_ABOUT = (
    "Skill is 1 - loss / loss of the naive rival on the same requests; the loss is the pinball "
    "loss over the levels 10, 25, 50, 75 and 90 %. The interval draws thirty runs of neighbouring "
    "requests again. Below 30 outcomes no skill is stated. Answers cut at their token limit have "
    "no known length and judge nobody."
)
_MISS_ABOUT = (
    "The ten requests whose outcome was furthest from the predicted median, as a ratio. The time "
    "leads to the request."
)
_KEY_ABOUT = (
    "The same figures for each key a prediction is calibrated by, the worst first; the hundred "
    "largest keys."
)


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Who earns its place, then one quantity in detail."""
    if view is None:
        return []
    if view.empty is not None:
        return [empty_state(view.empty, scene)]
    chosen = _chosen(view, scene)
    part = _only(view, chosen)
    names = {name: _words(name) for name in view.frames["quantities"]["quantity"]}
    made = (tile(label, view.measures.get(key)) for label, key in _shown(view))
    parts = [
        verdict(view.sentences, tone=_tone(view)),
        tiles(*made),
        grid(_table(view, scene), key="quantities"),
        tabs("Predicted quantity shown", "quantity", chosen, names, scene),
        grid(
            *(chart_card(part, chart, scene) for chart in _charts(part, chosen)),
            _keys(part, scene),
            _misses(part, chosen, scene),
            drift_card(view, scene),
        ),
    ]
    return [part for part in parts if part is not None]


def _shown(view: View) -> Sequence[tuple[str, str]]:
    """The tiles; that nothing was left out need not be said."""
    left_out = view.measures.get("left_out")
    more = (("Left out to bound the work", "left_out"),)
    return TILES + (more if left_out is not None and left_out.value else ())


def _chosen(view: View, scene: Scene) -> str:
    """The quantity of the address, else the one with the most outcomes."""
    found = view.frames["quantities"].sort("outcomes", descending=True, maintain_order=True)
    known = [str(name) for name in found["quantity"]]
    wanted = scene.address.params.get("quantity", "")
    return wanted if wanted in known else known[0]


def _only(view: View, quantity: str) -> View:
    frames = {
        name: frame.filter(pl.col("quantity") == quantity) if "quantity" in frame.columns else frame
        for name, frame in view.frames.items()
    }
    return replace(view, frames=frames)


def _words(quantity: str) -> str:
    return QUANTITIES.get(quantity, (quantity.replace("_", " "), ""))[0]


def _tone(view: View) -> str:
    worse = view.frames["quantities"].filter(pl.col("verdict") == "worse").height
    return "bad" if worse else "plain"


def _table(view: View, scene: Scene) -> Slot | Unshown:
    title = "Which predictions earn their place?"
    cells = {
        "quantity": lambda row: html.Strong(_words(row["quantity"])),
        "verdict": verdict_cell,
        "skill_ratio": skill_cell,
        "coverage_q90_ratio": covered,
        "mae": lambda row: unit_text(row["mae"], QUANTITIES.get(row["quantity"], ("", ""))[1]),
        "model_id": lambda row: html.Span(row["model_id"], className="ss-nowrap"),
    }
    columns = (
        "quantity", "verdict", "skill_ratio", "outcomes", "coverage_q90_ratio", "mae",
        "rank_correlation", "fallback_ratio", "model_id",
    )  # fmt: skip
    heads = {
        "skill_ratio": "Skill (95 %)",
        "verdict": "Than its rival",
        "coverage_q90_ratio": "Below q90",
        "mae": "Mean error",
        "fallback_ratio": "By the rival",
        "model_id": "Model",
    }
    frame = view.frames["quantities"]
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "quantities", title, _ABOUT, scene)
    return card(title, shown, tools=tools, key="quantities")


def _charts(view: View, quantity: str) -> Sequence[Chart]:
    name, unit = QUANTITIES.get(quantity, (_words(quantity), ""))
    drift = view.frames["drift"]
    (row,) = view.frames["quantities"].to_dicts()
    rank = row["rank_correlation"]
    ranked = "" if rank is None else f" Rank correlation {rank:.2f}."

    def skill(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.skill(frame, drift, look)

    def coverage(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.coverage(frame, drift, look)

    def pairs(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.pairs(frame, unit)

    return (
        Chart(
            "calibration",
            f"{name}: do the intervals hold what they promise?",
            "calibration",
            figures.calibration,
            "Share of the outcomes at or below each predicted quantile, with its Wilson interval, "
            "against the level that was asked for. Below the diagonal intervals are too narrow on "
            "that side.",
            height=290,
        ),
        Chart(
            "skill",
            f"{name}: is it better than guessing from history, all the time?",
            "over_time",
            skill,
            f"{_ABOUT} Parts of the range with fewer than 30 outcomes are gaps. Dashed: drift.",
            height=290,
        ),
        Chart(
            "pairs",
            f"{name}: predicted against true.{ranked}",
            "pairs",
            pairs,
            "Requests by predicted median and outcome, both in half octaves; the darker, the more "
            "(logarithmic). The rank correlation is Spearman's: how well the order is foretold.",
            height=290,
        ),
        Chart(
            "coverage",
            f"{name}: does the 0.9 quantile hold over time?",
            "over_time",
            coverage,
            "Share of the outcomes at or below the predicted 0.9 quantile. Dashed: drift was "
            "seen, which widens the intervals at once.",
            height=290,
        ),
    )


def _keys(view: View, scene: Scene) -> Slot | Unshown:
    title = "For whom is it good, for whom not?"
    frame = view.frames["keys"].sort("skill_ratio", nulls_last=True, maintain_order=True)
    if frame.height < 2:
        return Unshown(title, "There is one key only.")
    columns = ("key", "skill_ratio", "outcomes", "coverage_q90_ratio")
    heads = {"skill_ratio": "Skill", "coverage_q90_ratio": "Below q90"}
    cells = {
        "key": lambda row: row["key"] or "(all)",
        "skill_ratio": skill_cell,
        "coverage_q90_ratio": covered,
    }
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "keys", title, _KEY_ABOUT, scene)
    return card(title, shown, span=6, tools=tools, key="keys")


def _misses(view: View, quantity: str, scene: Scene) -> Slot | Unshown:
    title = "Where was it furthest off?"
    frame = view.frames["misses"]
    if frame.is_empty():
        return Unshown(title, "No prediction of this has an outcome yet.")
    unit = QUANTITIES.get(quantity, ("", ""))[1]

    def opener(row: Mapping[str, Any]) -> html.A:
        at = scene.address.to("latency").changed(request=row["request"])
        words = cell_text("arrived_at", row["arrived_at"], scene)
        return html.A(words, href=at.href(scene.prefix) + "#card-waterfall")

    def said(row: Mapping[str, Any]) -> str:
        return interval_text(row["predicted_median"], row["predicted_q90"], unit)

    cells = {
        "arrived_at": opener,
        "predicted_median": said,
        "outcome": lambda row: html.Strong(unit_text(row["outcome"], unit)),
    }
    columns = ("arrived_at", "key", "predicted_median", "outcome")
    heads = {"arrived_at": "Request of", "predicted_median": "Median \N{EN DASH} q90"}
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "misses", title, _MISS_ABOUT, scene)
    return card(title, shown, span=6, tools=tools, key="misses")


PAGE = Page(
    "Predictors",
    "Can I trust what is predicted?",
    (
        Panel("predictors-main", "predictors", body),
        INPUTS,
        FORECAST,
        DEGRADATION,
        BACKTEST,
        MODELS,
    ),
)
