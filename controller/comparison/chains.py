"""Which replays follow from which: a chain of steps for each policy, start-up time and case.

static-peak, clairvoyant    the cheapest that keep the objective on B, knowing B
default                     as documented, on B
tuned                       searched on A, judged on B
hindsight                   searched on B, judged on B: what its best setting would have given
curve                       its main knob over its values, on B
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from controller.comparison.building import built, defaults
from controller.comparison.naming import CLAIRVOYANT, STATIC
from controller.comparison.pareto import Point, chosen
from controller.comparison.protocol import MOST_RUNS, Case, Comparison
from controller.comparison.runs import Run
from controller.comparison.spaces import inside, space_of
from controller.comparison.tasks import Task
from controller.comparison.tuning import needed
from controller.comparison.window import AGAIN, POLICY
from store.errors import ControllerError

MARGINS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0)
MOST_TRIED, MOST_WAYS = 3, 4

Answers = list[Mapping[str, Any]]
Chain = Generator[list[Task], Answers, None]


def expected_runs(comparison: Comparison, cases: Sequence[Case]) -> int:
    """How many replays it is, about.

    Raises:
        ControllerError: more than anybody should wait for, or nothing to tune on.
    """
    seeds, total = len(comparison.seeds), 0
    for case in cases:
        if comparison.trials:
            needed()
            if not case.tuning:
                raise ControllerError(f"{case.name} has no part to tune on")
        for name in comparison.policies:
            spec = built(name, {}, None).spec
            space = space_of(spec, name)
            search = comparison.trials * min(comparison.tuning_seeds, seeds) if space else 0
            curve = len(spec.knob_values) * min(comparison.curve_seeds, seeds) if space else 0
            total += (seeds * (4 if search else 1) + 2 * search + curve) * len(
                comparison.startups_seconds
            )
        total += _references(comparison)
    if total > MOST_RUNS:
        raise ControllerError(
            f"that is about {total:,} replays; at most {MOST_RUNS:,} are run at a time",
            hint="name fewer policies, start-up times, seeds or trials",
        )
    return total


def _references(comparison: Comparison) -> int:
    """Replays of the fixed fleet and of the one that knows the future, about."""
    seeds, startups = len(comparison.seeds), len(comparison.startups_seconds)
    if not comparison.fleet:
        return (seeds + 6) * (startups + 1)
    fixed = Task("fixed", Run(0, "test", STATIC, "static-peak", 0.0)).replays(comparison)
    return fixed + _ahead(comparison, 0, 0.0).replays(comparison) * startups


def chains_of(
    comparison: Comparison, cases: Sequence[Case], *, has_baselines: bool = True
) -> list[Chain]:
    """All of them; each yields tasks and is sent what came of them."""
    found: list[Chain] = []
    for number in range(len(cases)):
        if has_baselines:
            found.append(_static(comparison, number))
            found += [_clairvoyant(comparison, number, at) for at in comparison.startups_seconds]
        for name in comparison.policies:
            found += [_policy(comparison, number, name, at) for at in comparison.startups_seconds]
    return found


def window_chain() -> Chain:
    """What was recorded of the first case, simulated."""
    yield [Task("window", Run(0, "test", POLICY, AGAIN, 0.0))]


def _static(comparison: Comparison, case: int) -> Chain:
    # Nothing starts, so that one start-up time stands for all of them.
    run = Run(case, "test", STATIC, "static-peak", comparison.startups_seconds[0])
    if comparison.fleet:
        yield [Task("fixed", run)]
        return
    low = max(comparison.least, 1)
    values = tuple(float(n) for n in range(low, comparison.most + 1))
    yield [Task("cheapest", run, parameter="replicas", values=values)]


def _clairvoyant(comparison: Comparison, case: int, startup_seconds: float) -> Chain:
    yield [_ahead(comparison, case, startup_seconds)]


def _ahead(comparison: Comparison, case: int, startup_seconds: float) -> Task:
    run = Run(case, "test", CLAIRVOYANT, "clairvoyant", startup_seconds)
    # What is cheapest by the hour may serve badly together: each kind alone is tried, too.
    names = [pool.name for pool in comparison.pools if pool.role == "whole"]
    ways = ({}, *({"only": name} for name in names)) if 1 < len(names) <= MOST_WAYS else ()
    return Task("cheapest", run, ways, parameter="margin", values=MARGINS)


def _policy(comparison: Comparison, case: int, name: str, startup_seconds: float) -> Chain:
    spec = built(name, {}, None).spec
    run = Run(case, "test", name, "default", startup_seconds)
    default = yield _each_seed(run, comparison)
    space = space_of(spec, name)
    if comparison.trials and space:
        own = inside(space, {**spec.parameters, **defaults(name)})
        yield from _tuned(comparison, run, (own,) if own else (), _medians(default, {}))
    if comparison.curve_seeds and spec.knob and space:
        for value in spec.knob_values:
            one = replace(run, row="curve", parameters={spec.knob: value})
            yield _each_seed(one, comparison, comparison.curve_seeds)


def _tuned(
    comparison: Comparison, run: Run, known: tuple[Mapping[str, Any], ...], default: list[Point]
) -> Chain:
    goal = comparison.objective.attainment_ratio
    found = yield [Task("search", replace(run, part="tuning", row="tuned"), known)]
    best = chosen(_points(found), goal)
    kept = list(default)
    if best is not None:
        one = replace(run, row="tuned", parameters=best.parameters)
        answers = yield _each_seed(one, comparison)
        kept += _medians(answers, best.parameters)
        known = (*known, best.parameters)
    again = yield [Task("search", replace(run, row="hindsight"), known)]
    # A search judges by few seeds: what it likes best may miss with all of them.
    for point in _best(_points(again), kept, goal):
        one = replace(run, row="hindsight", parameters=point.parameters)
        answers = yield _each_seed(one, comparison)
        if any(p.attainment_ratio >= goal for p in _medians(answers, point.parameters)):
            break


def _best(points: list[Point], judged: list[Point], goal: float) -> list[Point]:
    """What to try with all seeds: what seems cheaper than what surely keeps the goal."""
    sure = chosen([point for point in judged if point.attainment_ratio >= goal], goal)
    kept = sorted((p for p in points if p.attainment_ratio >= goal), key=lambda p: p.gpu_hours)
    cheaper = [p for p in kept if sure is None or p.gpu_hours < sure.gpu_hours]
    last = sure or chosen([*points, *judged], goal)
    return [*cheaper[:MOST_TRIED], *([last] if last is not None else [])]


def _each_seed(run: Run, comparison: Comparison, most: int | None = None) -> list[Task]:
    count = len(comparison.seeds) if most is None else min(most, len(comparison.seeds))
    return [
        Task("run", replace(run, seed_number=n, has_lanes=n == 0 and run.row != "curve"))
        for n in range(count)
    ]


def _points(answers: Answers) -> list[Point]:
    return [Point(**point) for answer in answers for point in answer.get("points", ())]


def _medians(answers: Answers, parameters: Mapping[str, Any]) -> list[Point]:
    rows = [row for answer in answers for row in answer["rows"]]
    known = [row for row in rows if row["attainment_ratio"] is not None]
    if not known or len(known) < len(rows):
        return []
    hours, ratios = (
        sorted(row[name] for row in known) for name in ("gpu_hours", "attainment_ratio")
    )
    middle = len(known) // 2
    return [Point(dict(parameters), hours[middle], ratios[(len(known) - 1) // 2])]


def one_hindsight(
    rows: Iterable[Mapping[str, Any]], comparison: Comparison
) -> list[Mapping[str, Any]]:
    """Of the settings that were tried with all seeds, the best of each policy."""
    tried: dict[tuple[Any, ...], dict[str, list[Mapping[str, Any]]]] = {}
    found = []
    for row in rows:
        if row["row"] != "hindsight":
            found.append(row)
            continue
        key = (row["case"], row["startup_seconds"], row["policy"])
        tried.setdefault(key, {}).setdefault(row["parameters"], []).append(row)
    goal = comparison.objective.attainment_ratio
    for settings in tried.values():
        points = [
            point
            for name, some in settings.items()
            for point in _medians([{"rows": some}], {"of": name})
        ]
        best = chosen(points, goal)
        found += settings[best.parameters["of"] if best else next(iter(settings))]
    return found


def everywhere(rows: Iterable[Mapping[str, Any]], comparison: Comparison) -> list[dict[str, Any]]:
    """The fixed fleet stands beside every start-up time."""
    made = []
    for row in rows:
        ways = comparison.startups_seconds if row["row"] == "static-peak" else None
        made += [dict(row) | {"startup_seconds": at} for at in ways or (row["startup_seconds"],)]
    return made
