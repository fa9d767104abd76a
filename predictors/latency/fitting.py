"""The six numbers of an engine from finished requests, around what is known of its kind.

Four kinds of evidence, each as a ratio, each robust: first tokens and paces (the whole physics),
measured steps (batch terms) and batches of a busy engine (the budget). What the rows do not tell
stays at the prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictors.distribution import Floats
from predictors.latency.engine import BUDGET, Fleet, Groups, mean_step_seconds, step_seconds, wait
from predictors.latency.features import State

LEAST = np.log([1e-4, 1e-4, 1e-7, 1e-8, 1e-12, 32.0])
MOST = np.log([2.0, 2.0, 0.5, 0.01, 1e-4, 1e6])
# A factor e away from the prior costs as much as this many first tokens a factor 1.2 off.
_PRIOR_WEIGHT = 0.5
_WAIT_SCALE, _STEP_SCALE, _BUDGET_SCALE = 0.2, 0.1, 0.05
_BUDGET_WEIGHT = 2.0
# More rows cost time and move nothing.
MOST_ROWS = 1000
MOST_PACES = 150
# Parameters need no more digits than the rows give them.
_NEAR = 1e-4
# The pace of a few tokens is mostly the clock's noise.
LEAST_TOKENS = 8.0
# A batch is held back by the budget rather than by the slots when this far below them.
_UNBOUND_RATIO = 0.97
# Fewer may wait for a moment only; a limit shows in many rows.
_BUSY_WAITING, _LEAST_BUSY = 2, 20


@dataclass(frozen=True, slots=True)
class Evidence:
    """Rows of one group: completed state, group number of each, and what was measured (n,).

    Attributes:
        state: completed.
        group: number of each row's group.
        ttft: seconds; NaN unknown.
        tpot: seconds; NaN unknown.
        tokens: output tokens of the row; NaN unknown.
    """

    state: State
    group: Groups
    ttft: Floats
    tpot: Floats
    tokens: Floats

    def take(self, rows: object) -> Evidence:
        """The rows that an index or a mask names."""
        at = np.asarray(rows)
        parts = self.group[at], self.ttft[at], self.tpot[at], self.tokens[at]
        return Evidence(self.state.take(at), *parts)


def engine_of(evidence: Evidence, fleet: Fleet, prior: Floats, start: Floats) -> Floats:
    """(6,) logs of the parameters of one engine.

    Args:
        evidence: finished requests.
        fleet: curves and usual sizes; its parameters are not read.
        prior: (6,) logs to stay near.
        start: (6,) logs to start from; the same as the prior where nothing is known.
    """
    from scipy.optimize import least_squares

    rows = _thinned(evidence, MOST_ROWS)
    waits = rows.take(np.isfinite(rows.ttft) & (rows.ttft > 0))
    paced = np.isfinite(rows.tpot) & (rows.tpot > 0) & (rows.tokens > LEAST_TOKENS)
    paces = _thinned(rows.take(paced), MOST_PACES)
    steps, budgets = _measured(rows.state)

    def misses(logs: Floats) -> Floats:
        parts = [(logs - prior) * _PRIOR_WEIGHT]
        if len(waits.ttft):
            every = np.tile(logs, (len(waits.ttft), 1))
            told = wait(every, waits.state, fleet.lives, waits.group).seconds
            parts.append(_soft(np.log(told / waits.ttft), _WAIT_SCALE))
        if len(paces.tpot):
            every = np.tile(logs, (len(paces.tpot), 1))
            told = mean_step_seconds(every, paces.state, fleet, paces.group, paces.tokens)
            parts.append(_soft(np.log(told / paces.tpot), _WAIT_SCALE))
        if len(steps):
            told = step_seconds(np.tile(logs, (len(steps), 1)), *steps[:, :3].T)
            parts.append(_soft(np.log(told / steps[:, 3]), _STEP_SCALE))
        if len(budgets):
            parts.append(_BUDGET_WEIGHT * _soft(np.log(budgets) - logs[BUDGET], _BUDGET_SCALE))
        return np.concatenate(parts)

    start = np.clip(start, LEAST + 1e-6, MOST - 1e-6)
    found = least_squares(
        misses, start, bounds=(LEAST, MOST), max_nfev=30, ftol=_NEAR, xtol=_NEAR, gtol=_NEAR
    )
    return np.asarray(found.x, dtype=np.float64)


def slots_of(state: State) -> float:
    """Slots that rows show: told by the engine, or where the batch stops growing; NaN unknown."""
    told = state.slots[np.isfinite(state.slots)]
    if len(told):
        return float(np.median(told))
    return _plateau(state, _known(state.scraped_running, state.running), 0.99, 0.2)


def capacity_of(state: State) -> float:
    """Tokens of the cache that rows show: told, or where it stops growing; infinite unknown."""
    told = state.capacity[np.isfinite(state.capacity)]
    if len(told):
        return float(np.median(told))
    shown = _plateau(state, state.context, 0.88, 0.6)
    return shown if np.isfinite(shown) else float("inf")


def _plateau(state: State, level: Floats, near: float, share: float) -> float:
    """Where `level` stops while requests wait: a limit, if it is often near; NaN otherwise."""
    busy = (_known(state.scraped_waiting, state.waiting) > _BUSY_WAITING) & (level > 0)
    if busy.sum() < _LEAST_BUSY:
        return float("nan")
    most = float(np.quantile(level[busy], 0.98))
    return most if (level[busy] >= near * most).mean() > share else float("nan")


def _known(one: Floats, other: Floats) -> Floats:
    return np.where(np.isnan(one), other, one)


def _measured(state: State) -> tuple[Floats, Floats]:
    """(steps with batch, prefill, context and seconds; batches in tokens of a busy engine)."""
    seen = np.isfinite(state.step) & (state.scraped_running > 0)
    prefill = np.nan_to_num(state.prompt_rate) * np.nan_to_num(state.step)
    # The cache was scraped with the step; without it the present context is near enough.
    used = state.usage * state.capacity
    context = np.where(np.isfinite(used), used, state.context)
    steps = np.stack([state.scraped_running, prefill, context, state.step], axis=1)[seen]
    busy = seen & (state.scraped_waiting > _BUSY_WAITING) & (prefill > 0)
    busy &= state.scraped_running < _UNBOUND_RATIO * state.slots
    return steps, (state.scraped_running + prefill)[busy]


def _soft(misses: Floats, scale: float) -> Floats:
    # Square root of the soft L1 loss, so that a few odd rows do not decide.
    bent = np.sqrt(2 * (np.sqrt(1 + (misses / scale) ** 2) - 1)) * scale
    return np.asarray(np.sign(misses) * bent, dtype=np.float64)


def _thinned(evidence: Evidence, most: int) -> Evidence:
    n = len(evidence.ttft)
    if n <= most:
        return evidence
    return evidence.take(np.unique(np.linspace(0, n - 1, most).astype(np.int64)))
