"""Controller: what came of decisions, freezes, and who told the controller what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools, grid
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import table, unit_of
from dashboard.text import heading, unit_text

MOST_ROWS = 25
_OUTCOMES_ABOUT = (
    "After the settling time: what a decision was expected to lead to, and what came. In dry-run "
    "what came is the fleet as it was without it."
)
_AUDIT_ABOUT = (
    "Everything that people and programs told the controller, the newest first; rows are only ever "
    "added. The CSV has what was before, too."
)


def opener(row: Mapping[str, Any], scene: Scene) -> html.A:
    """The link to a decision."""
    href = scene.here(decision=str(row["decision_id"]), pool=row["pool"])
    return html.A(f"#{row['decision_id']}", href=href)


def some_rows(frame: pl.DataFrame, scene: Scene, most: int = MOST_ROWS, **more: Any) -> list[Any]:
    """The first rows as a table; the rest is told.

    Every cell is a component that the browser makes anew with each refresh: hundreds of rows would
    hold it up just when somebody wants to stop something.
    """
    shown: list[Any] = [table(frame.head(most), scene, **more)]
    if frame.height > most:
        words = f"{most} of {frame.height:,} rows; the CSV has all, or choose a shorter range."
        shown.append(html.P(words, className="ss-dim ss-foot"))
    return shown


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """What came of decisions, freezes, and who told the controller what."""
    if view is None or view.empty is not None:
        return []
    return [
        grid(
            _outcomes(view, scene),
            _plain(view, scene, "freezes", "When was it frozen, and by whom?", "Freezes in range."),
            _plain(
                view, scene, "audit", "Who told the controller what?", _AUDIT_ABOUT,
                ("happened_at", "actor", "origin", "action", "subject", "after", "comment"),
            ),
            key="after",
        )
    ]  # fmt: skip


def _outcomes(view: View, scene: Scene) -> Slot | Unshown:
    title = "Did it come as expected?"
    known = pl.col("predicted").is_not_null() | pl.col("observed").is_not_null()
    frame = view.frames["outcomes"].filter(known)
    if frame.is_empty():
        return Unshown(title, "No change of this range is old enough to be judged.")
    cells = {
        "decision_id": lambda row: opener(row, scene),
        "quantity": lambda row: heading(row["quantity"]),
        "predicted": lambda row: _measured(row, "predicted"),
        "observed": lambda row: _measured(row, "observed"),
    }
    columns = ("decision_id", "pool", "decided_at", "mode", "quantity", "predicted", "observed")
    heads = {"decision_id": "Decision"}
    shown = some_rows(frame, scene, columns=columns, cells=cells, heads=heads, caption=title)
    tools = frame_tools(view, "outcomes", title, _OUTCOMES_ABOUT, scene)
    return card(title, shown, tools=tools, key="outcomes")


def _measured(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return "\N{EN DASH}"
    return unit_text(row[name], unit_of(row["quantity"]) or "")


def _plain(
    view: View, scene: Scene, name: str, title: str, words: str, columns: Sequence[str] = ()
) -> Slot | Unshown:
    frame = view.frames[name]
    if frame.is_empty():
        return Unshown(title, "None in the range shown.")
    shown = some_rows(frame, scene, columns=columns, caption=title)
    return card(title, shown, tools=frame_tools(view, name, title, words, scene), key=name)
