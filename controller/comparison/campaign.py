"""The whole comparison: its chains go on beside each other in worker processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from controller.calibration.recorded import Recorded
from controller.comparison.chains import (
    Answers,
    Chain,
    chains_of,
    everywhere,
    expected_runs,
    one_hindsight,
    window_chain,
)
from controller.comparison.crew import Crew
from controller.comparison.foresight import foreseen
from controller.comparison.handing import save
from controller.comparison.protocol import Case, Comparison
from controller.comparison.runs import Run
from controller.comparison.tasks import Task
from controller.comparison.worker import broken

_NEWS_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a comparison is.

    Attributes:
        share: 0 to 1, of the replays.
        done: replays.
        expected: replays in all, about.
        left_seconds: until the end; None while too little is known.
        text: what goes on.
    """

    share: float
    done: int
    expected: int
    left_seconds: float | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of a comparison.

    Attributes:
        rows: one a replay, as `runs.row_of` makes them.
        is_complete: False when it was stopped: what was done by then is here.
        seconds: it took.
        notes: what people should know.
    """

    rows: tuple[Mapping[str, Any], ...]
    is_complete: bool
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Course:
    """Where the chains stand."""

    comparison: Comparison
    cases: Sequence[Case]
    told: Callable[[Standing], None]
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    chain_of: dict[int, tuple[int, int]] = field(default_factory=dict)
    tasks: dict[int, Task] = field(default_factory=dict)
    shares: dict[int, float] = field(default_factory=dict)
    waiting: dict[int, list[Mapping[str, Any] | None]] = field(default_factory=dict)
    expected: int = 0
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    def tell(self, text: str) -> None:
        passed = time.monotonic() - self.began
        part = sum(self.shares.values())
        share = min((self.done + part) / max(self.expected, 1), 0.99 if self.waiting else 1.0)
        left = passed / share - passed if share > 0.02 else None
        self.told(Standing(share, self.done, self.expected, left, text))


def compare(
    comparison: Comparison,
    cases: Sequence[Case],
    workers: int = 2,
    told: Callable[[Standing], None] = lambda standing: None,
    stop: Event | None = None,
    *,
    has_baselines: bool = True,
    window: Recorded | None = None,
) -> Compared:
    """Run it in worker processes.

    Args:
        comparison: the protocol.
        cases: what is replayed.
        workers: processes.
        told: called with every news.
        stop: ends it once set; so does Ctrl-C. What is done is given back.
        has_baselines: whether the fixed fleet and the clairvoyant are replayed; False where
            somebody has them from before.
        window: what was recorded of the first case, to judge the model by.

    Raises:
        ControllerError: it cannot be run, or is too much.
    """
    chains = chains_of(comparison, cases, has_baselines=has_baselines)
    if window is not None:
        chains.insert(0, window_chain())
    if comparison.has_forecasts:
        cases = [_with_forecasts(case, comparison.scrape_seconds) for case in cases]
    course = _Course(comparison, cases, told, expected=expected_runs(comparison, cases))
    stopped = False
    with TemporaryDirectory(prefix="servescope-replay-") as place:
        folder = Path(place)
        save(folder, comparison, cases, window)
        with Crew(folder, workers, comparison.run_seconds) as crew:
            try:
                stopped = not _driven(chains, crew, course, stop or Event())
            except KeyboardInterrupt:
                stopped = True
    seconds = time.monotonic() - course.began
    if not stopped:
        told(Standing(1.0, course.done, course.done, 0.0, "done"))
    rows = everywhere(one_hindsight(course.rows, comparison), comparison)
    return Compared(tuple(rows), not stopped, seconds, _notes(cases))


def _driven(chains: Sequence[Chain], crew: Crew, course: _Course, stop: Event) -> bool:
    """Whether all of it was done."""
    for number, chain in enumerate(chains):
        _go_on(number, chain, None, crew, course)
    while course.waiting:
        if stop.is_set():
            return False
        message = crew.news(_NEWS_SECONDS)
        if message is None:
            continue
        task = course.tasks[message.task]
        if message.answer is None and message.reason is None:
            _progressed(course, message.task, message.share)
        else:
            answer = message.answer or broken(
                message.reason or "", task, course.comparison, course.cases
            )
            _answered(chains, crew, course, message.task, answer)
            if message.reason is not None:
                _withdrawn(chains, crew, course, task.run)
        course.tell(f"{task.run.policy}, {task.run.row}")
    return True


def _progressed(course: _Course, number: int, share: float) -> None:
    task = course.tasks[number]
    if task.kind == "run":
        course.shares[number] = share
    elif share == 0:
        # One of the replays of a long task begins, so the one before is done.
        most = task.replays(course.comparison) - 1
        course.shares[number] = min(course.shares.get(number, -1.0) + 1.0, most)


def _answered(
    chains: Sequence[Chain],
    crew: Crew,
    course: _Course,
    number: int,
    answer: Mapping[str, Any],
) -> None:
    chain, place = course.chain_of.pop(number)
    task = course.tasks[number]
    course.shares.pop(number, None)
    course.done += task.replays(course.comparison)
    if task.kind != "search" or answer.get("broken"):
        course.rows += [dict(row) for row in answer["rows"]]
    answers = course.waiting[chain]
    answers[place] = answer
    if all(one is not None for one in answers):
        course.waiting.pop(chain)
        _go_on(chain, chains[chain], [one for one in answers if one], crew, course)


def _withdrawn(chains: Sequence[Chain], crew: Crew, course: _Course, run: Run) -> None:
    """What took too long or ended its process with one seed is not tried with the others."""
    for number, task in list(course.tasks.items()):
        is_same = replace(task.run, seed_number=0, has_lanes=False) == replace(
            run, seed_number=0, has_lanes=False
        )
        if is_same and number in course.chain_of and crew.withdraw(number):
            reason = "not tried: another seed took too long, or ended its process"
            answer = broken(reason, task, course.comparison, course.cases)
            _answered(chains, crew, course, number, answer)


def _go_on(number: int, chain: Chain, answers: Answers | None, crew: Crew, course: _Course) -> None:
    try:
        tasks = next(chain) if answers is None else chain.send(answers)
    except StopIteration:
        return
    course.waiting[number] = [None] * len(tasks)
    for place, task in enumerate(tasks):
        asked = crew.ask(task)
        course.chain_of[asked], course.tasks[asked] = (number, place), task


def _with_forecasts(case: Case, bin_seconds: float) -> Case:
    """The same with forecasts, made once for all policies."""
    tests, tuning = (
        tuple(
            one if one.forecasts is not None
            else replace(one, forecasts=foreseen(one.workload, one.past, bin_seconds))
            for one in some
        )
        for some in (case.tests, case.tuning)
    )  # fmt: skip
    return Case(case.name, tests, tuning)


def _notes(cases: Sequence[Case]) -> tuple[str, ...]:
    notes = []
    for case in cases:
        left_out = case.tests[0].workload.left_out
        if left_out:
            notes.append(
                f"{case.name}: {left_out:,} requests without prompt or output size left out"
            )
    return tuple(notes)
