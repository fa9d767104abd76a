"""Sparse load: replica-hours against requests that met a cold start; a table in docs/policies.md.

    every 15 min    3 to 8 requests in half a minute, a quarter of an hour after the last, +-15 s
    every hour      40 requests in three minutes, on the hour +-30 s
    by day          4 requests/min for four hours, silence for four
    rare            one request every 20 minutes on average, at random

Each seed draws its own course: six hours of which only the rates are known, two that are replayed
and not judged, twelve that are judged. Ours may go to zero and is told nothing else. Beside it: a
keep-alive of ten minutes (KEDA between zero and one), one replica always, and one who knows the
future rates. Nothing was tuned; needs no data.

    python benchmarks/scale_to_zero.py [--seeds 3] [--startup 120] [--workers 2] [--page FILE]
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from controller.cases import LLAMA_70B
from controller.comparison.protocol import rates_of
from controller.numbers import Floats
from controller.observation import Limits, Objective
from controller.policies.registry import make
from controller.policy import Policy
from controller.replay import Lane, ReplaySettings, replay
from controller.simulator.fleet import PoolPlan
from controller.simulator.workload import Workload
from controller.startup import StartupTimes

PAGE = Path(__file__).parents[1] / "docs" / "policies.md"
BEGIN, END = "<!-- zero:begin -->", "<!-- zero:end -->"
POOL, HOUR = "pool", 3600.0
PAST_SECONDS, WARM_UP_SECONDS, JUDGED_SECONDS = 6 * HOUR, 2 * HOUR, 12 * HOUR
SECONDS = PAST_SECONDS + WARM_UP_SECONDS + JUDGED_SECONDS
GOALS = (0.9, 0.99)
INPUT_TOKENS, OUTPUT_TOKENS = 1000, 200


def every_quarter(random: np.random.Generator) -> Floats:
    """A few requests every quarter of an hour."""
    ticks = np.arange(300.0, SECONDS, 900.0)
    return batches(random, ticks + random.uniform(-15, 15, len(ticks)), (3, 8), 30.0)


def every_hour(random: np.random.Generator) -> Floats:
    """A batch on the hour."""
    ticks = np.arange(600.0, SECONDS, HOUR)
    return batches(random, ticks + random.uniform(-30, 30, len(ticks)), (40, 40), 180.0)


def by_day(random: np.random.Generator) -> Floats:
    """Four hours of work, four of nothing."""
    at = poisson(random, 4 / 60)
    return at[(at // (4 * HOUR)) % 2 == 0]


def rare(random: np.random.Generator) -> Floats:
    """At random, one in 20 minutes."""
    return poisson(random, 1 / 1200)


def batches(
    random: np.random.Generator, ticks: Floats, sizes: tuple[int, int], seconds: float
) -> Floats:
    """Requests within some seconds after each tick."""
    counts = random.integers(sizes[0], sizes[1] + 1, len(ticks))
    at = np.repeat(ticks, counts)
    return at + random.uniform(0, seconds, len(at))


def poisson(random: np.random.Generator, per_second: float) -> Floats:
    """Arrivals without memory."""
    count = random.poisson(per_second * SECONDS)
    return random.uniform(0, SECONDS, count)


COURSES: Mapping[str, Callable[[np.random.Generator], Floats]] = {
    "every 15 min": every_quarter,
    "every hour": every_hour,
    "by day": by_day,
    "rare": rare,
}
RIVALS = ("keep-alive, 10 min", "one always", "knows the future")


@dataclass(frozen=True, slots=True)
class Run:
    """One replay.

    Attributes:
        course: name.
        policy: "risk" with its goal, or a rival.
        goal: share of the requests that should meet the objective.
        seed: of the course.
        startup_seconds: of a replica.
    """

    course: str
    policy: str
    goal: float
    seed: int
    startup_seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it: replica-hours, share that met the objective, replicas' starts."""

    hours: float
    met_ratio: float
    starts: int


def policy_of(run: Run, workload: Workload) -> Policy:
    """The policy of a run."""
    if run.policy == "risk":
        return make("risk")
    if run.policy == RIVALS[0]:
        # One replica is enough for all of it: only zero or one is the question.
        return make("keda", target=10_000, cooldown_seconds=600)
    if run.policy == RIVALS[1]:
        return make("static", replicas=1)
    return make("clairvoyant", workload=workload)


def found_of(run: Run) -> Found:
    """Replay it."""
    random = np.random.default_rng([list(COURSES).index(run.course), run.seed])
    at = np.sort(COURSES[run.course](random))
    n = len(at)
    whole = Workload.of(at, [INPUT_TOKENS] * n, [OUTPUT_TOKENS] * n)
    workload = whole.between(PAST_SECONDS, math.inf)
    policy = policy_of(run, workload)
    startup = StartupTimes.about(run.startup_seconds)
    least = 1 if run.policy == RIVALS[1] else 0
    settings = ReplaySettings(
        Objective(2.0, 0.1, run.goal), {POOL: Limits(least, 10)}, {POOL: least},
        warm_up_seconds=WARM_UP_SECONDS,
    )  # fmt: skip
    past = rates_of(whole.between(0.0, PAST_SECONDS), PAST_SECONDS)
    plans = [PoolPlan(POOL, LLAMA_70B, 10, startup)]
    outcome = replay(policy, workload, plans, settings, run.seed, history={POOL: past})
    hours, starts = paid(outcome.lanes, workload.seconds)
    return Found(hours, outcome.attainment_ratio, starts)


def paid(lanes: Sequence[Lane], end: float) -> tuple[float, int]:
    """(replica-hours, replicas started) of the judged time, idle ones until they are let go."""
    hours, starts = 0.0, 0
    for lane, after in zip(lanes, [*lanes[1:], None], strict=True):
        until = end if after is None else after[0]
        hours += max(until - max(lane[0], WARM_UP_SECONDS), 0.0) * sum(lane[3:]) / HOUR
        if after is not None and after[0] >= WARM_UP_SECONDS:
            starts += max(after[2] - lane[2], 0)
    return hours, starts


def runs_of(seeds: int, startup_seconds: float) -> list[Run]:
    """All of them."""
    made = []
    for course in COURSES:
        for seed in range(seeds):
            made += [Run(course, "risk", goal, seed, startup_seconds) for goal in GOALS]
            made += [Run(course, name, GOALS[0], seed, startup_seconds) for name in RIVALS]
    return made


def table(found: Iterable[tuple[Run, Found]], seeds: int, startup_seconds: float) -> list[str]:
    """Lines of the page."""
    rows: dict[tuple[str, str, float], list[Found]] = {}
    for run, one in found:
        rows.setdefault((run.course, run.policy, run.goal), []).append(one)
    lines = [
        f"{seeds} seeds, median and range; {JUDGED_SECONDS / HOUR:.0f} hours judged, start-up"
        f" {startup_seconds:g} s; a request is met with TTFT <= 2 s and TPOT <= 0.1 s.",
        "",
        "| load | policy | goal | replica-hours | met % | starts |",
        "| --- | --- | --: | --: | --: | --: |",
    ]
    for (course, policy, goal), some in rows.items():
        is_ours = policy == "risk"
        lines.append(
            f"| {course} | {'**risk**' if is_ours else policy} | {f'{goal:.0%}' if is_ours else ''}"
            f" | {ranged([one.hours for one in some], 2)}"
            f" | {ranged([100 * one.met_ratio for one in some], 1)}"
            f" | {ranged([float(one.starts) for one in some], 0)} |"
        )
    return lines


def ranged(values: list[float], digits: int) -> str:
    """Median and range."""
    middle, low, high = statistics.median(values), min(values), max(values)
    if f"{low:.{digits}f}" == f"{high:.{digits}f}":
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f}<br>{low:.{digits}f}..{high:.{digits}f}"


def main() -> int:
    """Run all, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--startup", type=float, default=120.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    text = given.page.read_text("utf-8")
    if BEGIN not in text or END not in text:
        print(f"error: {given.page} has no marks {BEGIN} and {END}", file=sys.stderr)
        return 1
    runs, found = runs_of(given.seeds, given.startup), []
    with ProcessPoolExecutor(given.workers) as pool:
        for number, (run, one) in enumerate(zip(runs, pool.map(found_of, runs), strict=True), 1):
            found.append((run, one))
            print(f"{number}/{len(runs)} {run} {one}", file=sys.stderr)
    lines = table(found, given.seeds, given.startup)
    head, rest = text.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    given.page.write_text(f"{head}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{tail}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
