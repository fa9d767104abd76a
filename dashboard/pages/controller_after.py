"""Controller: what came of decisions, freezes, and who told the controller what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from analysis.measure import View
from dashboard.cards import Slot, Unshown, card, frame_tools, grid
from dashboard.pages import controller_audit
from dashboard.pages.controller_rows import opener
from dashboard.scene import Scene
from dashboard.services import Services
from dashboard.tables import FEW_ROWS, table, unit_of
from dashboard.text import heading, unit_text

_OUTCOMES_ABOUT = (
    "After the settling time: what a decision was expected to lead to, and what came. In dry-run "
    "what came is the fleet as it was without it."
)


def body(view: View | None, scene: Scene, services: Services) -> Sequence[Any]:
    """What came of decisions, freezes, and who told the controller what."""
    if view is None or view.empty is not None:
        return []
    return [
        grid(
            _outcomes(view, scene),
            _freezes(view, scene),
            controller_audit.audit(view, scene),
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
    # Rows that cannot be judged yet are none of these, so that a total of all says nothing here.
    is_cut = view.total("outcomes") > view.frames["outcomes"].height
    shown = table(
        frame, scene, columns=columns, cells=cells, heads=heads, caption=title, most=FEW_ROWS,
        total=view.total("outcomes") if is_cut else None,
    )  # fmt: skip
    tools = frame_tools(view, "outcomes", title, _OUTCOMES_ABOUT, scene)
    return card(title, shown, tools=tools, key="outcomes")


def _measured(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return "\N{EN DASH}"
    return unit_text(row[name], unit_of(row["quantity"]) or "")


def _freezes(view: View, scene: Scene) -> Slot | Unshown:
    title = "When was it frozen, and by whom?"
    frame = view.frames["freezes"]
    if frame.is_empty():
        return Unshown(title, "Never in the range shown.")
    columns = ("pool", "from_at", "until_at", "changed_by", "comment")
    heads = {"changed_by": "By"}
    newest = frame.sort("from_at", descending=True)
    end = view.scope.end.replace(tzinfo=None)
    cells = {
        "until_at": lambda row: (
            scene.when(row["until_at"]) if row["until_at"] < end else "beyond the range shown"
        )
    }
    shown = table(
        newest, scene, columns=columns, cells=cells, heads=heads, caption=title, most=FEW_ROWS
    )
    tools = frame_tools(view, "freezes", title, "Freezes in the range.", scene)
    return card(title, shown, tools=tools, key="freezes")
