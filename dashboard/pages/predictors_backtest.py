"""Predictors: rolling-origin back-tests on the server's own rows, by horizon and by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Chart, Slot, card, chart_card, frame_tools, grid, tabs, verdict
from dashboard.figures import backtests as figures
from dashboard.figures.base import Look, Picture
from dashboard.navigation import Panel
from dashboard.pages.predictors_skill import covered, skill_cell
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table
from dashboard.text import ago, number_text
from dashboard.url_state import Address
from store.units import percent_text, seconds_text

PARAM = "tested"
"""The predictor shown, in the address."""
_ABOUT = (
    "Rolling origins: fitted on everything that was known before a window began, judged on what "
    "was asked in it; nothing of it, and nothing later, is learnt. Mean pinball loss a row over "
    "the levels 10, 25, 50, 75 and 90 %, of the predictor as it was fitted (in service its "
    "intervals are corrected by outcomes, too) and of its naive rival on the same rows. Bars: the "
    "95 % interval of the skill (1 - loss / loss of the rival), drawn around the rival's loss; it "
    "draws runs of neighbours in time again, and is not stated below ten of them."
)


def options(address: Address) -> Mapping[str, str]:
    """Whose back-test is shown."""
    wanted = address.params.get(PARAM, "")
    return {"predictor": wanted} if wanted else {}


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """What came of the newest back-test, by horizon and by window, and which there are."""
    if view is None:
        return []
    if view.empty is not None:
        return [_none()] if scene.sources else []
    found = view.frames["backtests"]
    chosen = _chosen(view, scene)
    given = {"predictor": chosen["predictor"]}
    names = {str(name): str(name) for name in found["predictor"]}
    own = view.frames["cells"].filter(pl.col("predictor") == chosen["predictor"])
    parts = [
        verdict(view.sentences, key="backtest"),
        tabs("Back-test shown", PARAM, str(chosen["predictor"]), names, scene),
        grid(
            *(chart_card(view, chart, scene, given) for chart in _charts(chosen)),
            _table(view, own, scene, given),
            _kept(view, scene),
            key="backtest",
        ),
    ]
    return [part for part in parts if part is not None]


def _none() -> html.Div:
    return html.Div(
        [
            html.H2("Back-tests on our own rows: none yet."),
            html.P(
                [
                    "How a predictor does by horizon and over many windows, each judged by what "
                    "was known before it: ", html.Code("servescope predictors backtest NAME"),
                    " does it in a process of its own and keeps it; ",
                    html.Code("servescope predictors list"), " has the names.",
                ]
            ),
        ],
        className="ss-empty",
    )  # fmt: skip


def _chosen(view: View, scene: Scene) -> dict[str, Any]:
    """The one of the address, else the one that was judged last: as the view chooses."""
    found = view.frames["backtests"]
    wanted = found.filter(pl.col("predictor") == scene.address.params.get(PARAM, ""))
    newest = found.sort("made_at", "predictor", descending=[True, False])
    return (wanted if wanted.height else newest).row(0, named=True)


def _charts(chosen: Mapping[str, Any]) -> Sequence[Chart]:
    unit, name = str(chosen["unit"]), chosen["predictor"]

    def horizons(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.by_horizon(frame, unit, look)

    def windows(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.by_window(frame, unit, look)

    return (
        Chart("backtest-horizons", f"{name}: how does its error grow with the horizon?",
              "horizons", horizons, _ABOUT, height=290),
        Chart("backtest-windows", f"{name}: was it better in every window?", "windows", windows,
              f"{_ABOUT} All horizons of a window together.", height=290),
    )  # fmt: skip


def _table(view: View, own: pl.DataFrame, scene: Scene, given: Mapping[str, str]) -> Slot:
    title = "Back-test: every horizon of every window"
    cells = {
        "horizon_seconds": _ahead,
        "learnt_until": lambda row: scene.when(row["learnt_until"]),
        "pinball": lambda row: html.Strong(number_text(row["pinball"])),
        "skill_ratio": skill_cell,
        "coverage_q90_ratio": covered,
        "wmape_ratio": lambda row: percent_text(row["wmape_ratio"]),
        "rival_wmape_ratio": lambda row: percent_text(row["rival_wmape_ratio"]),
    }
    heads = {
        "horizon_seconds": "Ahead", "window": "Window", "learnt_until": "Learnt until",
        "n": "Judged", "pinball": "Loss", "rival_pinball": "Rival's loss",
        "season_pinball": "Yesterday's", "skill_ratio": "Skill",
        "coverage_q90_ratio": "Below q90", "wmape_ratio": "Mean error",
        "rival_wmape_ratio": "Rival's",
    }  # fmt: skip
    columns = [name for name in heads if name != "season_pinball" or own[name].count()]
    if not own["horizon_seconds"].count():
        columns.remove("horizon_seconds")
    shown = table(own, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "cells", title, _ABOUT, scene, **given)
    return card(title, shown, tools=tools, key="backtest-cells")


def _ahead(row: Mapping[str, Any]) -> str:
    ahead = row["horizon_seconds"]
    return "\N{EN DASH}" if ahead is None else seconds_text(ahead)


def _kept(view: View, scene: Scene) -> Slot:
    title = "Which predictors were back-tested, and when?"

    def age(row: Mapping[str, Any]) -> html.Span:
        seconds = (scene.now.replace(tzinfo=None) - row["made_at"]).total_seconds()
        return html.Span(ago(seconds), title=scene.when(row["made_at"]), className="ss-nowrap")

    def name(row: Mapping[str, Any]) -> html.A:
        return html.A(row["predictor"], href=scene.here(**{PARAM: row["predictor"]}))

    cells = {
        "predictor": name,
        "made_at": age,
        "data_from": lambda row: scene.when(row["data_from"]),
        "data_until": lambda row: scene.when(row["data_until"]),
        "seconds": lambda row: seconds_text(row["seconds"]),
    }
    heads = {
        "predictor": "Predictor", "made_at": "Made", "source": "Rows of", "data_from": "From",
        "data_until": "To", "rows": "Rows", "windows": "Windows", "rival": "Naive rival",
        "seconds": "CPU time",
    }  # fmt: skip
    frame = view.frames["backtests"]
    shown = table(frame, scene, columns=tuple(heads), cells=cells, heads=heads, caption=title)
    again = html.P(
        ["To do it again: ", html.Code("servescope predictors backtest NAME"), "."],
        className="ss-dim ss-foot",
    )
    words = "The newest of each predictor; the five newest are kept."
    tools = frame_tools(view, "backtests", title, words, scene)
    return card(title, [shown, again], tools=tools, key="backtests")


BACKTEST = Panel(
    "predictors-backtest",
    "predictors_backtest",
    body,
    options,
    is_aside=True,
    is_still=True,
)
