"""What-if: one comparison; first how wrong the model is, then what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Chart, Slot, Unshown, card, chart_card, frame_tools, grid, tabs
from dashboard.figures import whatif as figures
from dashboard.figures.base import Look, Picture
from dashboard.pages import whatif_candidate, whatif_fleet, whatif_validity
from dashboard.pages.whatif_numbers import NUMBERS, leads_by_cost, numbers_of, spread
from dashboard.pages.whatif_validity import options, said
from dashboard.scene import Scene
from dashboard.services import Document, Services
from dashboard.tables import table
from store.units import seconds_text

ROWS = {name: words for name, (words, *_) in figures.ROWS.items()}
_RESULTS_ABOUT = (
    "Medians with the range over the seeds, of the same arrivals, replicas, router, scrapes and "
    "limits. Cost counts from when a replica is asked for until it has drained. Refused, given up "
    "and lost requests are misses."
)
_FRONT_ABOUT = (
    "Left and up is better. Bars are the range over the seeds; the dotted line joins what no other "
    "beats in both. What knows the future stands aside."
)
_LANES_ABOUT = (
    "Replicas that were asked for and that were ready, of the first seed: a picture of how they "
    "behave, not a result. The results are in the table, over all seeds."
)


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """Validity, then everything that depends on it."""
    if view is None or view.empty is not None:
        return []
    known = view.measures["is_validated"].value == 1.0
    opts = dict(options(scene.address))
    results = view.frames["results"]
    if results.is_empty():
        state = said(view, "state")
        return [whatif_validity.panel(view, scene, is_known=known), _no_results(state)]
    startup = _startup(view)
    times = [f"{value:g}" for value in results["startup_seconds"].unique(maintain_order=True)]
    names = {value: f"start-up {seconds_text(float(value))}" for value in times}
    part = _of_startup(view, float(startup))
    inside: list[Any] = []
    if len(times) > 1:
        inside.append(tabs("Start-up time shown", "startup", startup, names, scene, a=None, b=None))
    charts = [chart_card(part, chart, scene, opts) for chart in _charts(part)]
    inside.append(
        grid(
            *whatif_fleet.fleet_card(part, scene, opts),
            _results(part, scene, opts, whatif_candidate.promoted(view, services)),
            charts[0],
            _beside(part, scene, opts),
            *whatif_fleet.pools_card(part, scene, opts),
            charts[1],
            _differences(part, scene, opts),
            whatif_candidate.watch(part, scene, services),
            key="whatif",
        )
    )
    look = "ss-results" if known else "ss-results is-unvalidated"
    return [whatif_validity.panel(view, scene, is_known=known), html.Div(inside, className=look)]


def _no_results(state: str) -> html.Div:
    words = f"This replay is {state}; nothing to compare yet."
    return html.Div([html.H2("No results yet."), html.P(words)], className="ss-empty")


def _startup(view: View) -> str:
    chosen = view.frames["chosen"]
    frame = chosen if chosen.height else view.frames["results"]
    return f"{frame['startup_seconds'][0]:g}"


def _of_startup(view: View, seconds: float) -> View:
    kept = {
        name: view.frames[name].filter(pl.col("startup_seconds") == seconds)
        for name in ("results", "frontier")
    }
    return replace(view, frames={**view.frames, **kept})


def _charts(view: View) -> Sequence[Chart]:
    goal = view.measures["goal_ratio"].value
    chosen = view.frames["chosen"]

    by_cost = leads_by_cost(view)
    number, words = ("cost", "what cost") if by_cost else ("gpu_hours", "how many GPU-hours")

    def frontier(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.frontier(frame, goal, number)

    def lanes(frame: pl.DataFrame, look: Look) -> Picture | str:
        return figures.lanes(frame, chosen, look)

    return (
        Chart("frontier", f"Who keeps how much, for {words}?",
              "results" if by_cost else "frontier", frontier, _FRONT_ABOUT, span=6, height=360),
        Chart("lanes", "How many replicas had A and B, and when?", "lanes", lanes, _LANES_ABOUT,
              span=12, height=300),
    )  # fmt: skip


def _results(
    view: View, scene: Scene, opts: Mapping[str, str], promoted: Sequence[Document]
) -> Slot | Unshown:
    title = "What did each policy come to?"
    by_cost = leads_by_cost(view)
    # Who keeps the goal for the least comes first.
    frame = view.frames["results"].sort(
        "is_met", "cost" if by_cost else "gpu_hours", descending=[True, False], nulls_last=True,
        maintain_order=True,
    )  # fmt: skip
    names = numbers_of(frame, by_cost=by_cost, is_short=True)

    def cell(name: str) -> Any:
        return lambda row: spread(row, name, NUMBERS[name][1])

    cells: dict[str, Any] = {name: cell(name) for name in names}
    cells |= {
        "title": lambda row: _title(row, whatif_candidate.standing(row, promoted, scene)),
        "is_met": _met,
        "policy": lambda row: _beside_links(row, view, scene),
        "clips": whatif_fleet.guards_cell,
    }
    guards = ("clips",) if whatif_fleet.has_guards(frame) else ()
    columns = ("policy", "title", "is_met", *names, *guards, "seeds")
    heads = {"title": "Policy, settings", "is_met": "Keeps the goal", "policy": "Show as",
             "clips": "Held by guards"}  # fmt: skip
    heads |= {name: NUMBERS[name][0] for name in names}
    shown = table(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "results", title, _RESULTS_ABOUT, scene, **opts)
    foresight = whatif_fleet.forecast_words(frame)
    foot = [html.P(foresight, className="ss-dim ss-foot")] if foresight else []
    return card(title, [shown, *foot, *_failures(frame)], tools=tools, key="results")


def _failures(frame: pl.DataFrame) -> list[Any]:
    """Why some failed, below the numbers: a reason may be long."""
    rows = [
        html.Li([html.Strong(f"{_named(row)}: "), str(row["reason"] or "no reason was kept")])
        for row in frame.filter(pl.col("failed") > 0).iter_rows(named=True)
    ]
    return [html.H3("What failed", className="ss-sub"), html.Ul(rows)] if rows else []


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['title'] or row['policy']}, {ROWS.get(row['row'], row['row'])}"


def _title(row: Mapping[str, Any], standing: Sequence[Any]) -> Any:
    words = ROWS.get(row["row"], row["row"])
    parts = [html.Strong(row["title"] or row["policy"]), html.Div(words, className="ss-dim")]
    return html.Div([*parts, *standing], className="ss-words")


def _met(row: Mapping[str, Any]) -> Any:
    if row["failed"]:
        words = f"✕ failed, {row['failed']} of {row['failed'] + row['seeds']}"
        return html.Span(words, className="ss-status is-bad", title=row["reason"] or "")
    if row["is_met"] is None:
        return html.Span("○ unknown", className="ss-status is-none")
    words, look = ("● yes", "good") if row["is_met"] else ("✕ no", "bad")
    return html.Span(words, className=f"ss-status is-{look}")


def _beside_links(row: Mapping[str, Any], view: View, scene: Scene) -> Any:
    name = f"{row['policy']}/{row['row']}"
    chosen = {
        one["side"]: f"{one['policy']}/{one['row']}"
        for one in view.frames["chosen"].iter_rows(named=True)
    }
    startup = f"{row['startup_seconds']:g}"
    links = []
    # B of another replay is that one's best: its rows are not in this table.
    for side in ("a",) if other_replay(scene) else ("a", "b"):
        current: dict[str, Any] = {"aria-current": "true"} if chosen.get(side) == name else {}
        changes = {side: name, "startup": startup}
        look = " is-on" if current else ""
        links.append(
            html.A(side.upper(), href=scene.here(**changes), className=f"ss-chip{look}",
                   title=f"Show {row['title']} as {side.upper()}", **current)
        )  # fmt: skip
    return html.Span(links, className="ss-nowrap")


def other_replay(scene: Scene) -> str:
    """The replay that B is taken from; "" where it is the one shown."""
    return scene.address.params.get("against", "")


def _titles(view: View) -> dict[str, str]:
    return {
        row["side"]: f"{row['side'].upper()}: {row['title']}, {ROWS.get(row['row'], row['row'])}"
        for row in view.frames["chosen"].iter_rows(named=True)
    }


def _beside(view: View, scene: Scene, opts: Mapping[str, str]) -> Slot | Unshown:
    title = "A and B side by side"
    names = _titles(view)
    by_cost = leads_by_cost(view)
    shown_ones = numbers_of(view.frames["results"], by_cost=by_cost)
    known = pl.col("number").is_in(shown_ones) & pl.col("a").is_not_null()
    frame = view.frames["beside"].filter(known)
    if frame.is_empty() or len(names) < 2:
        return Unshown(title, "There are no two of them with results yet.")

    def cell(side: str) -> Any:
        return lambda row: spread(row, row["number"], NUMBERS[row["number"]][1], side)

    cells = {"number": lambda row: NUMBERS[row["number"]][0], "a": cell("a"), "b": cell("b")}
    shown = table(
        frame, scene, columns=("number", "a", "b"), cells=cells,
        heads={"number": "What", "a": "A", "b": "B"}, caption=title,
    )  # fmt: skip
    words = "Medians with ranges over the seeds."
    tools = frame_tools(view, "beside", title, words, scene, **opts)
    other = other_replay(scene)
    parts: list[Any] = [". ".join(names.values()) + "."]
    if other:
        link = html.A(other, href=scene.link("what-if", other))
        stop = html.A("Take B from this one", href=scene.here(against=None, b=None))
        parts += [" B is of the replay ", link, ", with its own fleet, traffic and goal. ", stop]
    named = html.P(parts, className="ss-dim ss-foot")
    return card(title, [named, shown], span=6, tools=tools, key="beside")


def _differences(view: View, scene: Scene, opts: Mapping[str, str]) -> Slot | Unshown:
    title = "Where did A and B ask for other numbers?"
    frame = view.frames["decisions"]
    if frame.filter(pl.col("difference") != 0).is_empty():
        return Unshown(title, "They asked for the same, or their courses were not kept.")
    heads = {"at_seconds": "Into the replay", "a_target": "A", "b_target": "B",
             "difference": "B - A"}  # fmt: skip
    shown = table(frame, scene, heads=heads, caption=title, most=60)
    words = "Each time the difference of what both asked for changed, of the first seed."
    tools = frame_tools(view, "decisions", title, words, scene, **opts)
    return card(title, shown, span=6, tools=tools, key="decisions")
