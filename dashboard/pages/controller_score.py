"""Controller: what a rehearsal would have given, as numbers with their meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dash import html

from analysis.measure import Measure, View
from dashboard.cards import Slot, Unshown, card, frame_tools, tile, tiles
from dashboard.scene import Scene
from dashboard.text import number_text
from store.units import percent_text, seconds_text

TITLE = "What would dry-run have done?"
_ABOUT = (
    "Steps decided in dry-run over the range. Each counts until the next one. Agreed: it would"
    " have left what was there. Replica-hours: what it would have set at each step, beside what"
    " the platform had been told by others. Each step starts from what was there, so this is no"
    " course of its own: a replay gives that, with the error of its model."
)


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
    replay = html.A("replay this range", href=scene.link("what-if"))
    words = html.P(
        [_sentence(row), " What its own course would have cost and kept: ", replay, "."],
        className="ss-dim ss-foot",
    )
    tools = frame_tools(view, "rehearsed", TITLE, _ABOUT, scene)
    return card(TITLE, [shown, words], tools=tools, key="rehearsed")


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
