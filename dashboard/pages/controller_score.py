"""Controller: what a rehearsal would have given, as numbers with their meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dash import html

from analysis.measure import Measure, View
from dashboard.cards import Slot, Unshown, card, frame_tools
from dashboard.scene import Scene
from dashboard.text import interval_text, number_text
from dashboard.tiles import tile, tiles
from store.queries.scope import join_values
from store.units import percent_text, seconds_text

TITLE = "What would dry-run have done?"
_ABOUT = (
    "Steps decided in dry-run over the range. Each counts until the next one. Agreed: it would"
    " have left what was there. Replica-hours: what it would have set at each step, beside what"
    " the platform had been told by others. Each step starts from what was there, so this is no"
    " course of its own: a replay gives that, with the error of its model. Below is the newest one"
    " that holds this pool and the policy that decides it."
)
# Number of a replay -> what it is called, its unit.
_REPLAYED = {
    "attainment_ratio": ("Would have kept", "ratio"),
    "gpu_hours": ("GPU-hours", ""),
    "cost": ("Cost", ""),
    "regret_static_ratio": ("Against a fixed fleet for the peak", "ratio"),
}


def score(view: View, scene: Scene) -> Slot | Unshown:
    """One pool's rehearsal.

    Args:
        view: with the frame `rehearsed` of one pool.
        scene: the page.
    """
    frame = view.frames["rehearsed"]
    if frame.is_empty():
        return Unshown(TITLE, "No step of this pool was decided in dry-run in the range shown.")
    row = frame.row(0, named=True)
    shown = tiles(
        tile("Agreed with what was there", _agreed(row)),
        tile("Would have run", Measure(row["wanted_replica_hours"], "replica-hours")),
        tile("Ran", Measure(row["there_replica_hours"], "replica-hours")),
        tile("Difference", _difference(row)),
        key="rehearsal",
    )
    words = html.P(_sentence(row), className="ss-dim ss-foot")
    tools = frame_tools(view, "rehearsed", TITLE, _ABOUT, scene)
    inside = [shown, words, *_replayed(view, str(row["pool"]), scene)]
    return card(TITLE, inside, tools=tools, key="rehearsed")


def _replayed(view: View, pool: str, scene: Scene) -> list[Any]:
    """What its own course would have cost and kept, with the error of the model beside it."""
    ask = scene.address.to("what-if").changed(pools=join_values([pool])).href(scene.prefix)
    again = html.A("Replay this range", href=ask)
    head = html.H3("Its own course, by replay", className="ss-sub")
    frame = view.frames["replayed"]
    if frame.is_empty():
        words = "No replay of this pool with the policy that decides it was made yet. "
        return [head, html.P([words, again, "."], className="ss-dim ss-foot")]
    row = frame.row(0, named=True)
    names = [name for name in _REPLAYED if row[name] is not None]
    made = tiles(*(_spread_tile(row, name) for name in names), _error(row), key="replayed")
    look, mark = ("good", "● validated") if row["is_validated"] else ("bad", "✕ not validated")
    of = f"all {row['pools']} pools of that replay together, " if row["pools"] > 1 else ""
    link = html.A(row["replay_id"], href=scene.link("what-if", row["replay_id"]))
    words = f" {row['title']} on {row['trace']}: {of}{row['seeds']} seeds, asked"
    foot = html.P(
        [html.Span(mark, className=f"ss-status is-{look}"), words,
         f" {scene.when(row['created_at'])}. ", link, ". ", again, "."],
        className="ss-dim ss-foot",
    )  # fmt: skip
    return [
        head,
        html.Div(made, className="" if row["is_validated"] else "ss-results is-unvalidated"),
        foot,
    ]


def _spread_tile(row: Mapping[str, Any], name: str) -> Any:
    """A median with its range over the seeds; never alone."""
    label, unit = _REPLAYED[name]
    ends = interval_text(row[f"{name}_low"], row[f"{name}_high"], unit)
    return tile(label, Measure(row[name], unit, why=f"over the seeds {ends}"))


def _error(row: Mapping[str, Any]) -> Any:
    """How wrong the simulator is known to be."""
    why = None if row["fit_error_median_ratio"] is not None else row["validity"]
    return tile(
        "Error of the model, median", Measure(row["fit_error_median_ratio"], "ratio", why=why)
    )


def _agreed(row: Mapping[str, Any]) -> Measure:
    return Measure(row["agreed"] / row["steps"], "ratio", n=row["steps"])


def _difference(row: Mapping[str, Any]) -> Measure:
    there = row["there_replica_hours"]
    if not there:
        return Measure(None, "ratio", why="nothing was there to compare with")
    return Measure(row["wanted_replica_hours"] / there - 1, "ratio", why="of the replica-hours")


def _sentence(row: Mapping[str, Any]) -> str:
    """The whole of it in words."""
    steps, share = row["steps"], row["agreed"] / row["steps"]
    wanted, there = row["wanted_replica_hours"], row["there_replica_hours"]
    lasted = seconds_text(row["hours"] * 3600)
    lead = f"In {steps:,} steps of dry-run over {lasted} it would have left"
    said = f"{lead} everything as it was"
    if row["higher"] or row["lower"]:
        above, below = max(row["most_above"], 0), max(row["most_below"], 0)
        said = (
            f"{lead} {percent_text(share)} as they were, wanted more in {row['higher']:,} (at most"
            f" {above} replicas) and fewer in {row['lower']:,} (at most {below})"
        )
    if not there:
        return f"{said}."
    return f"{said}: {number_text(wanted)} replica-hours where {number_text(there)} ran."
