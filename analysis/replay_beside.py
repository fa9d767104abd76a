"""Two rows of replays side by side: numbers, courses of replicas, where they asked for others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis import replay_frames
from store.errors import InputError
from store.queries import replays as queries
from store.reader import Reader

_SIDE = {
    "side": pl.String,
    "case": pl.String,
    "startup_seconds": pl.Float64,
    "policy": pl.String,
    "row": pl.String,
    "title": pl.String,
}
_BESIDE = {
    "number": pl.String,
    **{f"{side}{end}": pl.Float64 for side in ("a", "b") for end in ("", "_low", "_high")},
}
_NUMBERS = (*replay_frames.NUMBERS, *replay_frames.REGRETS, *replay_frames.COST_REGRETS)


@dataclass(frozen=True, slots=True)
class Side:
    """One of two rows.

    Attributes:
        name: "a" or "b".
        row: of `replay_frames.summary`.
        replay_id: it is of.
    """

    name: str
    row: dict[str, Any]
    replay_id: str


def side(
    name: str,
    found: pl.DataFrame,
    replay_id: str,
    wanted: str,
    startup: str,
    case: str,
    *,
    by_cost: bool = False,
) -> Side | None:
    """The row that somebody wants beside another; None where there is nothing yet.

    Args:
        name: "a" or "b".
        found: of `replay_frames.summary`.
        replay_id: of the same.
        wanted: "policy" or "policy/row"; "" is the fixed fleet for a and the best for b.
        startup: seconds; "" is the first.
        case: "" is the first.
        by_cost: whether the best is the one that costs least, not the fewest GPU-hours.

    Raises:
        InputError: there is no such row, start-up time or case.
    """
    rows = found.filter((pl.col("row") != "curve") & pl.col("case").is_not_null())
    if rows.is_empty():
        return None
    cases = rows["case"].unique(maintain_order=True).to_list()
    rows = rows.filter(pl.col("case") == _one_of(cases, case, "case"))
    times = [f"{value:g}" for value in rows["startup_seconds"].unique(maintain_order=True)]
    rows = rows.filter(pl.col("startup_seconds") == float(_one_of(times, startup, "start-up time")))
    names = [f"{policy}/{row}" for policy, row in rows.select("policy", "row").iter_rows()]
    best = "cost" if by_cost else "gpu_hours"
    chosen = _one_of(names, wanted or _usual(name, rows, names, best), "policy")
    return Side(name, rows.row(names.index(chosen), named=True), replay_id)


def frames(reader: Reader, sides: Sequence[Side]) -> dict[str, pl.DataFrame]:
    """`lanes`, `beside`, `decisions` and `chosen` of one or two sides."""
    lanes = [queries.lane(reader, one.replay_id, one.row) for one in sides]
    empty = pl.DataFrame(schema={"side": pl.String, **replay_frames.LANE_SCHEMA})
    parts = [
        some.select(pl.lit(one.name).alias("side"), pl.all())
        for one, some in zip(sides, lanes, strict=True)
    ]
    shown = [{"side": one.name, **{k: one.row[k] for k in list(_SIDE)[1:]}} for one in sides]
    gap = replay_frames.NO_DIFFERENCE
    if len(sides) == 2:
        gap = replay_frames.differences(lanes[0], lanes[1])
    return {
        "chosen": pl.DataFrame(shown, schema=_SIDE),
        "beside": _beside(sides),
        "lanes": pl.concat([empty, *parts]),
        "decisions": gap,
    }


def _beside(sides: Sequence[Side]) -> pl.DataFrame:
    rows = []
    for number in _NUMBERS:
        row: dict[str, Any] = {"number": number}
        for one in sides:
            for end in ("", "_low", "_high"):
                row[f"{one.name}{end}"] = one.row[f"{number}{end}"]
        rows.append({name: row.get(name) for name in _BESIDE})
    return pl.DataFrame(rows, schema=_BESIDE)


def _usual(name: str, rows: pl.DataFrame, names: list[str], number: str) -> str:
    if name == "a":
        return "static/static-peak" if "static/static-peak" in names else names[0]
    best = rows.filter(pl.col("is_met") & pl.col("row").is_in(["default", "tuned"]))
    if best.is_empty():
        return names[-1]
    return "/".join(best.sort(number).select("policy", "row").row(0))


def _one_of(names: list[str], wanted: str, what: str) -> str:
    if not wanted:
        return names[0]
    for name in names:
        if wanted in (name, name.rpartition("/")[0]):
            return name
    raise InputError(f"this replay has no {what} '{wanted}'", hint=f"it has: {', '.join(names)}")
