"""Good and bad requests of all who count over one end, read once and added up for each.

What is read lies in cells: bins that reach back from the end, cut where the ten minutes of the
roll-up end, and where somebody's stretch begins. Each stretch is then counted as its own plan says:
a bucket that it may take from the roll-up counts whole, in the bin of its middle, even where
somebody else had its rows read. So a number does not depend on who else asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from store.errors import QueryTimeout
from store.queries import slo as raw_queries
from store.queries.rollup_sql import ids_sql
from store.queries.scope import Scope
from store.queries.slo import COUNTS_SCHEMA, GoodRule, naive_utc, scope_labels
from store.queries.slo_plan import Plan, Plans, Stretch, ceiling, keys_sql, plans_for
from store.reader import Reader, Snapshot
from store.rollup import BUCKET_SECONDS
from store.slo_rollup import rule_key

Numbers = npt.NDArray[np.int64]
COUNTED = ("good", "bad", "undetermined", "measured")
_BUCKET_US = BUCKET_SECONDS * 1_000_000
# Objectives that the job has not counted yet do not keep the others waiting for longer.
LATE_SECONDS = 4.0
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Grid:
    """How requests are told apart; times in µs since 1970.

    Attributes:
        anchor: where bin 0 ends.
        width: of a bin.
        fine: of a cell, a part of ten minutes; cells count back from `cell_anchor`.
        cell_anchor: a full ten minutes, at the end or after it.
        starts: where the stretches begin, each once, ascending.
    """

    anchor: int
    width: int
    fine: int
    cell_anchor: int
    starts: tuple[int, ...]

    def bin_of(self, bucket: Numbers) -> Numbers:
        """The bin of the middle of ten minutes."""
        return (self.anchor - bucket - _BUCKET_US // 2 - 1) // self.width


class Part(NamedTuple):
    """What was read of some of the rules.

    Attributes:
        plans: of each stretch.
        rows: arrays of one length: rule, bin, at (where the cell begins, µs since 1970), passed
            (how many of the stretches' starts are not after it), good, bad, undetermined, measured.
    """

    plans: Sequence[Plan]
    rows: Mapping[str, Numbers]


@dataclass(frozen=True, slots=True)
class Cells:
    """What was read.

    Attributes:
        grid: how it was told apart.
        stretches: who counts.
        parts: of all rules but those that are uncounted.
        uncounted: places of rules that the job has not counted yet and whose rows could not be
            read in time.
    """

    grid: Grid
    stretches: Sequence[Stretch]
    parts: Sequence[Part]
    uncounted: frozenset[int] = frozenset()

    @property
    def width_seconds(self) -> int:
        """Of a bin."""
        return self.grid.width // 1_000_000

    def counts(self, place: int) -> pl.DataFrame:
        """The counts of one stretch by rule and bin: columns of `COUNTS_SCHEMA`, sorted.

        Bins without requests are absent.
        """
        return _added([self._placed(part, place) for part in self.parts])

    def in_bins(self, place: int, anchor: datetime, width_seconds: int) -> pl.DataFrame:
        """The same in other bins, whose edges are edges of cells."""
        end, width = _us(naive_utc(anchor)), width_seconds * 1_000_000
        parts = [self._within(part, place) for part in self.parts]
        return _added([{**rows, "bin": (end - rows["at"] - 1) // width} for rows in parts])

    def _within(self, part: Part, place: int) -> Mapping[str, Numbers]:
        since = self.grid.starts.index(_us(naive_utc(self.stretches[place].start)))
        kept = part.rows["passed"] > since
        return {name: values[kept] for name, values in part.rows.items()}

    def _placed(self, part: Part, place: int) -> Mapping[str, Numbers]:
        """Rows of buckets that this stretch may take from the roll-up are in the bin of those."""
        if len(self.stretches) == 1:
            return part.rows
        rows = self._within(part, place)
        bucket = rows["at"] // _BUCKET_US * _BUCKET_US
        edges = [_us(edge) for span in part.plans[place].rolled for edge in span]
        is_rolled = np.searchsorted(np.array(edges, np.int64), bucket, side="right") % 2 == 1
        return {**rows, "bin": np.where(is_rolled, self.grid.bin_of(bucket), rows["bin"])}


def read_cells(
    reader: Reader,
    scope: Scope,
    rules: Sequence[GoodRule],
    stretches: Sequence[Stretch],
    end: datetime,
    width_seconds: int,
    *,
    anchor: datetime | None = None,
    cell_seconds: int = BUCKET_SECONDS,
) -> Cells:
    """Read what all stretches count, in one look at the rows and one at the roll-up.

    Args:
        reader: the store.
        scope: sources and labels; with labels of two kinds everything is raw.
        rules: the objectives; at least one.
        stretches: who counts; at least one.
        end: aware, exclusive.
        width_seconds: of a bin, > 0.
        anchor: bins reach back from it; `end` when None.
        cell_seconds: of a cell; a part of ten minutes.

    Raises:
        QueryTimeout: as in `Reader.frame`; not for rules that the job has not counted yet: those
            are left out and named.
    """
    grid = Grid(
        _us(naive_utc(anchor or end)),
        int(width_seconds * 1_000_000),
        cell_seconds * 1_000_000,
        _us(ceiling(naive_utc(end))),
        tuple(sorted({_us(naive_utc(one.start)) for one in stretches})),
    )
    everybody = range(len(rules))
    with reader.snapshot() as snapshot:
        plans = plans_for(snapshot, scope, rules, stretches, end)
        if not plans.late:
            return Cells(grid, stretches, [_part(snapshot, scope, rules, everybody, plans, grid)])
        counted = [place for place in everybody if place not in plans.late]
        parts = []
        if counted:
            mine = plans_for(snapshot, scope, [rules[n] for n in counted], stretches, end)
            parts.append(_part(snapshot, scope, rules, counted, mine, grid))
    try:
        with reader.snapshot(LATE_SECONDS if counted else None) as snapshot:
            parts.append(_part(snapshot, scope, rules, sorted(plans.late), plans, grid))
    except QueryTimeout:
        return Cells(grid, stretches, parts, plans.late)
    return Cells(grid, stretches, parts)


def _part(
    snapshot: Snapshot,
    scope: Scope,
    rules: Sequence[GoodRule],
    places: Sequence[int],
    plans: Plans,
    grid: Grid,
) -> Part:
    """Read the rules at these places."""
    mine, read = [rules[place] for place in places], plans.read
    raw = _raw(snapshot, scope, mine, read, grid) if read.raw else []
    rolled = _rolled(snapshot, scope, mine, read, grid) if read.rolled else []
    rows = _joined((*raw, *rolled), ("rule", "bin", "at", "passed", *COUNTED))
    rows["rule"] = np.array(places, np.int64)[rows["rule"]]
    return Part(plans.alone, rows)


def _joined(parts: Sequence[Mapping[str, Numbers]], names: Sequence[str]) -> dict[str, Numbers]:
    nothing = np.zeros(0, np.int64)
    return {name: np.concatenate([nothing, *(part[name] for part in parts)]) for name in names}


def _raw(
    snapshot: Snapshot,
    scope: Scope,
    rules: Sequence[GoodRule],
    plan: Plan,
    grid: Grid,
) -> Sequence[Mapping[str, Numbers]]:
    """The rows of `Cells`, a part a rule."""
    values: dict[str, Any] = {}
    at = "epoch_us(r.arrived_at)"
    keys = {
        "bin": f"({grid.anchor} - {at} - 1) // {grid.width}",
        "cell": f"({grid.cell_anchor} - {at} - 1) // {grid.fine}",
        "passed": " + ".join(f"({at} >= {start})::INTEGER" for start in grid.starts),
    }
    wide = raw_queries.counted_by(snapshot, scope, rules, plan.raw, keys, values)
    found = {name: wide[name].to_numpy().astype(np.int64) for name in wide.columns}
    begins = grid.cell_anchor - (found["cell"] + 1) * grid.fine
    parts = []
    for index in range(len(rules)):
        counted = {name: found[f"{name}{index}"] for name in COUNTED}
        came = counted["good"] + counted["bad"] + counted["undetermined"] > 0
        rows = {"rule": np.full(len(begins), index), "bin": found["bin"], "at": begins,
                "passed": found["passed"], **counted}  # fmt: skip
        parts.append({name: column[came] for name, column in rows.items()})
    return parts


def _rolled(
    snapshot: Snapshot, scope: Scope, rules: Sequence[GoodRule], plan: Plan, grid: Grid
) -> Sequence[Mapping[str, Numbers]]:
    """The same from the roll-up: no stretch begins within one of these ten minutes."""
    values: dict[str, object] = {}
    keys = sorted({rule_key(rule) for rule in rules})
    numbered = " ".join(f"WHEN '{key}' THEN {number}" for number, key in enumerate(keys))
    found = snapshot.frame(
        f"""SELECT CASE rule_key {numbered} END AS number, source_id, epoch_us(bucket_at) AS at,
          good, bad, undetermined, measured
        FROM rollup_slo WHERE rule_key IN ({keys_sql(rules)}) AND {_scope_sql(scope, values)}
          AND {spans_sql(plan.rolled, values)} AND good + bad + undetermined > 0""",
        **values,
    )
    rows = {name: found[name].to_numpy().astype(np.int64) for name in found.columns}
    rows["bin"] = grid.bin_of(rows["at"])
    rows["passed"] = np.searchsorted(np.array(grid.starts), rows["at"], side="right")
    parts = []
    for index, rule in enumerate(rules):
        meant = rows["number"] == keys.index(rule_key(rule))
        if rule.source_ids:
            meant &= np.isin(rows["source_id"], rule.source_ids)
        mine = {name: column[meant] for name, column in rows.items()}
        parts.append({**mine, "rule": np.full(len(mine["at"]), index)})
    return parts


def _added(parts: Sequence[Mapping[str, Numbers]]) -> pl.DataFrame:
    """Rows of `COUNTS_SCHEMA` added up by rule and bin, and sorted.

    A few thousand small rows: arrays take a quarter of the time of a plan.
    """
    rows = _joined(parts, tuple(COUNTS_SCHEMA))
    if not len(rows["bin"]):
        return pl.DataFrame(schema=COUNTS_SCHEMA)
    first = rows["bin"].min()
    bins = rows["bin"].max() - first + 1
    groups, places = np.unique(rows["rule"] * bins + rows["bin"] - first, return_inverse=True)
    sums = {name: np.bincount(places, weights=rows[name]).astype(np.int64) for name in COUNTED}
    found = {"rule": groups // bins, "bin": groups % bins + first, **sums}
    return pl.DataFrame(found, schema=COUNTS_SCHEMA)


def spans_sql(spans: Sequence[tuple[datetime, datetime]], values: dict[str, object]) -> str:
    """One condition for all stretches: their outermost bounds, and the gaps between them."""
    values |= {"low": spans[0][0], "high": spans[-1][1]}
    whole = "bucket_at >= $low AND bucket_at < $high"
    gaps = []
    for number, (before, after) in enumerate(pairwise(spans)):
        values |= {f"low{number}": before[1], f"high{number}": after[0]}
        gaps.append(f"NOT (bucket_at >= $low{number} AND bucket_at < $high{number})")
    return " AND ".join([whole, *gaps])


def _scope_sql(scope: Scope, values: dict[str, object]) -> str:
    """Which rows of the roll-up stand for the sources and labels of a scope."""
    labels = scope_labels(scope)
    if not labels:
        return f"dimension = '' AND source_id IN ({ids_sql(scope)})"
    ((column, accepted),) = labels.items()
    values |= {"dimension": column, "accepted": list(accepted)}
    meant = "dimension = $dimension AND list_contains($accepted, value)"
    return f"{meant} AND source_id IN ({ids_sql(scope)})"


def _us(at: datetime) -> int:
    """Microseconds since 1970 of a naive time."""
    return (at - datetime(1970, 1, 1)) // _MICROSECOND  # noqa: DTZ001 - as the store keeps it
