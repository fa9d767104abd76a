"""What a worker is asked for: one replay, a search, or the cheapest of rising settings."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from controller.calibration.recorded import Recorded
from controller.comparison import sizing
from controller.comparison.building import built
from controller.comparison.fixed import Fleet, Search
from controller.comparison.fleets import kinds_of
from controller.comparison.pareto import first_that
from controller.comparison.protocol import Case, Comparison, sizes_of
from controller.comparison.runs import Run, row_of
from controller.comparison.spaces import space_of
from controller.comparison.tuning import searched
from controller.comparison.window import window_rows

Kind = Literal["run", "search", "cheapest", "fixed", "window"]
# Replays that finding a fixed fleet takes, about; and how often all seeds are asked at most.
_USUAL_FIXED, _MOST_JUDGED = 20, 6
# Called before each replay, and with its share while it goes on.
Told = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work.

    Attributes:
        kind: "run" replays `run` once; "search" tunes its policy on its segment; "cheapest" finds
            the smallest of `values` for one parameter that keeps the objective, and gives its rows;
            "fixed" finds the cheapest fixed fleet of several pools that does;
            "window" simulates what was recorded.
        run: what is replayed; a search changes its parameters, "cheapest" its seeds, too.
        known: settings that a search tries first; ways that "cheapest" compares.
        parameter: that "cheapest" changes.
        values: rising from cheap to dear.
    """

    kind: Kind
    run: Run
    known: tuple[Mapping[str, Any], ...] = ()
    parameter: str = ""
    values: tuple[float, ...] = field(default=())

    def replays(self, comparison: Comparison) -> int:
        """How many replays it is, about."""
        if self.kind in ("run", "window"):
            return 1
        if self.kind == "search":
            return comparison.trials * min(comparison.tuning_seeds, len(comparison.seeds))
        if self.kind == "fixed":
            return _USUAL_FIXED + len(comparison.seeds)
        # A search by halves, all seeds, and sometimes a step up.
        each = len(self.values).bit_length() + len(comparison.seeds) + 2
        return each * max(len(self.known), 1)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def of_document(cls, told: Mapping[str, Any]) -> Task:
        """What `document` made."""
        return cls(
            told["kind"],
            Run(**told["run"]),
            tuple(told["known"]),
            told["parameter"],
            tuple(told["values"]),
        )


def work(
    task: Task,
    comparison: Comparison,
    cases: Sequence[Case],
    told: Told,
    window: Recorded | None = None,
) -> Mapping[str, Any]:
    """Do it: {"rows": …}, or of a search {"points": …}."""
    if task.kind == "run":
        told(0.0)
        return {"rows": [row_of(task.run, comparison, cases, told)]}
    if task.kind == "window":
        told(0.0)
        name = cases[task.run.case].name
        return {"rows": [] if window is None else window_rows(window, comparison, name)}
    if task.kind == "search":
        return {"points": _search(task, comparison, cases, told)}
    if task.kind == "fixed":
        return {"rows": _fixed(task, comparison, cases, told)}
    return {"rows": _cheapest(task, comparison, cases, told)}


def _search(
    task: Task, comparison: Comparison, cases: Sequence[Case], told: Told
) -> list[dict[str, Any]]:
    run = task.run
    count = min(comparison.tuning_seeds, len(comparison.seeds))

    def judge(parameters: Mapping[str, Any]) -> list[tuple[float, float]]:
        found = []
        for number in range(count):
            told(0.0)
            one = replace(run, parameters=dict(parameters), seed_number=number)
            row = row_of(one, comparison, cases, told)
            if row["state"] != "done" or row["attainment_ratio"] is None:
                return []
            found.append((row["gpu_hours"], row["attainment_ratio"]))
        return found

    spec = built(run.policy, {}, None).spec
    points = searched(
        space_of(spec, run.policy),
        task.known,
        judge,
        comparison.trials,
        comparison.objective.attainment_ratio,
    )
    return [asdict(point) for point in points]


def _cheapest(
    task: Task, comparison: Comparison, cases: Sequence[Case], told: Told
) -> list[dict[str, Any]]:
    """Of some ways, each with its cheapest value, the one that costs least."""
    ways = [_cheapest_of(task, way, comparison, cases, told) for way in task.known or ({},)]
    if len(ways) == 1:
        return ways[0]
    goal = comparison.objective.attainment_ratio
    number = "cost" if comparison.ranks_by_cost else "gpu_hours"
    kept = [rows for rows in ways if _is_kept(rows, goal)]

    def spent(rows: list[dict[str, Any]]) -> float:
        return statistics.median(float(row[number]) for row in rows)

    return min(kept, key=spent) if kept else ways[0]


def _cheapest_of(
    task: Task,
    way: Mapping[str, Any],
    comparison: Comparison,
    cases: Sequence[Case],
    told: Told,
) -> list[dict[str, Any]]:
    """By the first seed alone at first; then up until the median of all keeps the objective."""
    goal = comparison.objective.attainment_ratio

    def rows_at(value: float, numbers: range) -> list[dict[str, Any]]:
        found = []
        for number in numbers:
            told(0.0)
            # Replicas are counted; a margin is not.
            given = int(value) if task.parameter == "replicas" else value
            one = replace(
                task.run,
                parameters={**way, task.parameter: given},
                seed_number=number,
                has_lanes=number == 0,
            )
            found.append(row_of(one, comparison, cases, told))
        return found

    first = first_that(task.values, lambda value: _is_kept(rows_at(value, range(1)), goal))
    rows: list[dict[str, Any]] = []
    for value in task.values[task.values.index(first) :]:
        rows = rows_at(value, range(len(comparison.seeds)))
        if _is_kept(rows, goal) or any(row["state"] != "done" for row in rows):
            break
    return rows


def _fixed(
    task: Task, comparison: Comparison, cases: Sequence[Case], told: Told
) -> list[dict[str, Any]]:
    """By one seed at first; then dearer until the median of all keeps the objective."""
    goal = comparison.objective.attainment_ratio
    names = [pool.name for pool in comparison.pools]

    def rows_at(fleet: Fleet, numbers: range) -> list[dict[str, Any]]:
        found = []
        for number in numbers:
            told(0.0)
            given = {"replicas": dict(zip(names, fleet, strict=True))}
            one = replace(task.run, parameters=given, seed_number=number, has_lanes=number == 0)
            found.append(row_of(one, comparison, cases, told))
        return found

    every = range(len(comparison.seeds))
    workload = cases[task.run.case].segment(task.run.part, 0).workload
    kinds = kinds_of(comparison.pools, comparison.objective, sizes_of(workload))
    search = _search_by(kinds, rows_at, 0, goal)
    if len(cases[task.run.case].tests) > 1:
        # Each seed has a course of its own: the one in the middle stands for all of them.
        ratios = [row["attainment_ratio"] or 0.0 for row in rows_at(search.bound(), every)]
        middle = sorted(every, key=lambda number: ratios[number])[(len(ratios) - 1) // 2]
        search = search if middle == 0 else _search_by(kinds, rows_at, middle, goal)
    fleet = search.cheapest()
    rows = rows_at(fleet, every)
    for more in search.dearer(fleet)[:_MOST_JUDGED]:
        if _is_kept(rows, goal) or any(row["state"] != "done" for row in rows):
            break
        rows = rows_at(more, every)
    return rows


def _search_by(
    kinds: Sequence[sizing.Kind],
    rows_at: Callable[[Fleet, range], list[dict[str, Any]]],
    number: int,
    goal: float,
) -> Search:
    """Where the seed of a number judges."""
    return Search(kinds, lambda fleet: _is_kept(rows_at(fleet, range(number, number + 1)), goal))


def _is_kept(rows: Sequence[Mapping[str, Any]], goal: float) -> bool:
    ratios = sorted(row["attainment_ratio"] or 0.0 for row in rows)
    return ratios[(len(ratios) - 1) // 2] >= goal
