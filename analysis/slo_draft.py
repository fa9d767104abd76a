"""What a change of the objectives would have meant: both judged on the same history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from analysis.slo_model import Slo
from analysis.slo_views import slo_list
from store.queries.scope import Scope
from store.reader import Reader

_TEXTS = ("status", "objective_text", "why")
_NUMBERS = ("target_ratio", "attainment_ratio", "attainment_low", "attainment_high",
            "budget_left_ratio", "burn_1h", "burn_6h")  # fmt: skip
_SIDES = ("now", "draft")
SCHEMA: dict[str, Any] = {
    "name": pl.String,
    "change": pl.String,
    **{
        f"{name}_{side}": kind
        for side in _SIDES
        for names, kind in ((_TEXTS, pl.String), (_NUMBERS, pl.Float64), (("attempted",), pl.Int64))
        for name in names
    },
}
"""`change` is new, changed, same or removed; columns end in `_now` (in force) or `_draft`."""
_ORDER = ("changed", "new", "removed", "same")


def compared(
    reader: Reader, scope: Scope, in_force: Sequence[Slo], drafted: Sequence[Slo]
) -> pl.DataFrame:
    """Each objective as it is and as it would be, over its own window up to `scope.end`.

    Args:
        reader: the store.
        scope: sources and the end of the windows; its range plays no other part.
        in_force: the objectives now.
        drafted: those of the draft.

    Returns:
        Columns of `SCHEMA`; what changes comes first. A side that there is not is null.
    """
    sides = {"now": in_force, "draft": drafted}
    known = {side: {slo.name: slo for slo in slos} for side, slos in sides.items()}
    judged = {side: _judged(reader, scope, slos) for side, slos in sides.items()}
    names = dict.fromkeys([*known["draft"], *known["now"]])
    rows = []
    for name in names:
        row: dict[str, Any] = {
            "name": name,
            "change": _change(known["now"].get(name), known["draft"].get(name)),
        }
        for side in _SIDES:
            found = judged[side].get(name, {})
            row |= {f"{key}_{side}": found.get(key) for key in (*_TEXTS, *_NUMBERS, "attempted")}
        rows.append(row)
    rows.sort(key=lambda row: _ORDER.index(row["change"]))
    return pl.DataFrame(rows, schema=SCHEMA)


def _judged(reader: Reader, scope: Scope, slos: Sequence[Slo]) -> dict[str, dict[str, Any]]:
    if not slos:
        return {}
    frame = slo_list(reader, scope, slos=slos).frames["slos"]
    return {row["name"]: row for row in frame.iter_rows(named=True)}


def _change(now: Slo | None, draft: Slo | None) -> str:
    if now is None:
        return "new"
    if draft is None:
        return "removed"
    # Where it stands in its file is no part of what it asks for.
    return "same" if replace(now, where="") == replace(draft, where="") else "changed"
