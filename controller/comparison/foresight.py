"""Forecasts of the request rate as the live system would have had them, made inside a replay.

Live, demand is forecast every five minutes for the next hour, from windows of ten minutes; where
fewer than 200 of them are known to learn from, as in the first days of a fleet and in nearly every
replay, the last known window answers, spread by the changes that were seen. The same predictor
makes the same forecasts here, each from what had arrived by then and nothing else. They depend on
arrivals alone: they are made once for all policies, and their skill is told.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from controller import observation as seen
from controller.numbers import Floats
from controller.observation import ForecastView
from controller.simulator.fleet import FleetModel
from controller.simulator.workload import Workload

if TYPE_CHECKING:
    from predictors.demand.rivals import LastValue

EVERY_SECONDS = 300.0
# Changes of more windows than this say nothing new each time: then it learns once an hour.
OFTEN_WINDOWS, SELDOM_SECONDS = 100, 3600.0
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the store's times have no zone
_MODEL = "replay"


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Forecasts of one segment.

    Attributes:
        made: (m,) seconds of the segment at which each was made, rising.
        levels: (l,) of the quantiles.
        values: (m, windows, l) requests a second of the next windows.
        window_seconds: length of a window.
        skill: share of the pinball loss saved ten minutes ahead, against the quantiles of all
            windows known by then; NaN unknown.
        coverage_q90: share of the outcomes at or below the 0.9 quantile; NaN unknown.
        seconds: that making them took.
    """

    made: Floats
    levels: Floats
    values: Floats
    window_seconds: float
    skill: float = math.nan
    coverage_q90: float = math.nan
    seconds: float = 0.0

    def __call__(self, fleet: FleetModel, pool: str, at: float) -> tuple[ForecastView, ...]:
        """What is expected at a time: the newest forecast by then, of the whole stream.

        As live, each pool that serves the stream is handed all of it.
        """
        place = int(np.searchsorted(self.made, at + 1e-9)) - 1
        if place < 0:
            return ()
        levels, age = tuple(self.levels.tolist()), at - float(self.made[place])
        return tuple(
            ForecastView(
                seen.REQUESTS_PER_SECOND, self.window_seconds * step, levels, tuple(row), age
            )
            for step, row in enumerate(self.values[place].tolist(), 1)
        )

    def told(self) -> dict[str, float | None]:
        """How many there are and how good: count, skill, coverage_q90, seconds."""
        return {
            "count": float(len(self.made)),
            "skill": None if math.isnan(self.skill) else self.skill,
            "coverage_q90": None if math.isnan(self.coverage_q90) else self.coverage_q90,
            "seconds": round(self.seconds, 3),
        }


def foreseen(workload: Workload, past: tuple[float, ...], bin_seconds: float) -> Foreseen:
    """All forecasts of a segment, each from what came before it.

    Args:
        workload: from second 0.
        past: requests a second of each bin before that, oldest first.
        bin_seconds: length of a bin; a window is a whole number of them.
    """
    from predictors.demand.windows import STEPS, WINDOW_SECONDS
    from predictors.distribution import LEVELS

    began = time.process_time()
    counts = np.concatenate([np.array(past) * bin_seconds, _counted(workload, bin_seconds)])
    total = np.concatenate([[0.0], np.cumsum(counts)])
    width, first = round(WINDOW_SECONDS / bin_seconds), len(past)
    made, values, known_by = [], [], []
    model, learnt_at = None, -math.inf
    for at in np.arange(0.0, workload.seconds + 1e-9, EVERY_SECONDS):
        windows = _windows(total, first + round(at / bin_seconds), width)
        if len(windows) < 2:
            continue
        every = EVERY_SECONDS if len(windows) < OFTEN_WINDOWS else SELDOM_SECONDS
        if model is None or at - learnt_at >= every:
            model, learnt_at = _learnt(windows), at
        made.append(at)
        values.append(_asked(model, windows))
        known_by.append(windows)
    found = np.array(values).reshape(len(made), STEPS, len(LEVELS))
    levels = np.array(LEVELS)
    come = [_outcome(total, first + round(at / bin_seconds), width) for at in made]
    skill, coverage = _judged(found[:, 0], levels, known_by, np.array(come))
    return Foreseen(
        np.array(made), levels, found, float(WINDOW_SECONDS), skill, coverage,
        time.process_time() - began,
    )  # fmt: skip


def _counted(workload: Workload, bin_seconds: float) -> Floats:
    """Arrivals of each whole bin."""
    edges = np.arange(0.0, workload.seconds + 1e-9, bin_seconds)
    if len(edges) < 2:
        return np.zeros(0)
    return np.histogram(workload.arrived, edges)[0].astype(np.float64)


def _windows(total: Floats, end: int, width: int) -> Floats:
    """Requests a second (up to a scale) of whole windows that end at bin `end`, oldest first."""
    from predictors.demand.windows import HISTORY, WINDOW_SECONDS

    end = min(end, len(total) - 1)
    many = min(end // width, 2 * HISTORY)
    places = end - width * np.arange(many, -1, -1)
    return np.asarray(np.diff(total[places]) / WINDOW_SECONDS)


def _outcome(total: Floats, at: int, width: int) -> float:
    """The rate of the window that begins at a bin; NaN where it does not end in the segment."""
    from predictors.demand.windows import WINDOW_SECONDS

    if at + width >= len(total):
        return math.nan
    return float(total[at + width] - total[at]) / WINDOW_SECONDS


def _learnt(windows: Floats) -> LastValue:
    """The predictor, fitted on all that is known."""
    from predictors.demand.rivals import LastValue
    from predictors.demand.windows import TOTAL, Series, rows_of

    series = Series(_MODEL, TOTAL, windows, windows)
    model = LastValue()
    model.fit(rows_of([series], {(_MODEL, TOTAL): range(len(windows) - 1)}, _EPOCH))
    return model


def _asked(model: LastValue, windows: Floats) -> Floats:
    """(windows ahead, levels)."""
    from predictors.demand.windows import TOTAL, Series, rows_of
    from predictors.distribution import LEVELS

    series = Series(_MODEL, TOTAL, windows, windows)
    rows = rows_of([series], {(_MODEL, TOTAL): (len(windows) - 1,)}, _EPOCH)
    quantiles = model.predict(rows).quantiles
    return np.stack([np.asarray(quantiles.at(level)) for level in LEVELS], axis=1)


def _judged(
    values: Floats, levels: Floats, known: list[Floats], outcomes: Floats
) -> tuple[float, float]:
    """(skill against all windows known by then, share at or below the 0.9 quantile)."""
    has_come = np.isfinite(outcomes)
    if not has_come.any():
        return math.nan, math.nan
    real = outcomes[has_come][:, None]
    usual = np.array([np.quantile(some, levels) for some in known])[has_come]
    ours, theirs = (_pinball(said, real, levels) for said in (values[has_come], usual))
    high = values[has_come][:, int(np.searchsorted(levels, 0.9 - 1e-9))]
    skill = 1 - ours / theirs if theirs > 0 else math.nan
    return float(skill), float((real[:, 0] <= high).mean())


def _pinball(said: Floats, real: Floats, levels: Floats) -> float:
    short = real - said
    return float(np.maximum(levels * short, (levels - 1) * short).sum())
