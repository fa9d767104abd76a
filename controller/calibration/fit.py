"""A profile that makes the simulator repeat recorded rows: least squares on its own output.

The simulated replica gets the recorded arrivals; what differs from the recorded TTFT, TPOT and E2E
is made small. Ratios count, and a few odd requests do not decide (soft L1). Deterministic: no dice,
and a number of simulations that is bounded beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from controller.calibration.limits import TOKEN_BUDGET, Limits
from controller.calibration.recorded import Recorded, Times
from controller.calibration.simulated import simulate
from controller.calibration.start import (
    CACHED,
    DECODING,
    FIXED,
    NAMES,
    PROMPT,
    PROMPT_SQUARED,
    REQUEST,
    SEQUENCE,
    SEQUENCE_SQUARED,
    first_guess,
    step_of,
)
from controller.numbers import Floats
from controller.profile import Profile

Told = Callable[[float], None]

BUDGETS = (256, 512, 2048, 8192)
# A miss beyond this ratio counts by its size, not its square.
_SOFT_RATIO = 0.1
# E2E is what is asked for; its parts keep it honest.
_WEIGHTS = {"e2e": 1.0, "ttft": 0.6, "tpot": 0.6}
# What never ended in the simulation counts as this far off.
_LOST = 5.0
# Measured times are no finer than this.
_FLOOR_SECONDS = 2e-3
_DIFFERENCE = 0.02
# Of the kinds of batching that are looked at, so many are fitted further.
_CLOSER = 2
_USUAL, _CLEARLY = (True, TOKEN_BUDGET), 1.1


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How much is spent on a fit.

    Attributes:
        most_rows: latest rows that are fitted to.
        look_rounds: rounds of least squares for every kind of batching.
        rounds: for the best of them.
        polish: simulations of the last, derivative-free search.
    """

    most_rows: int = 4000
    look_rounds: int = 6
    rounds: int = 20
    polish: int = 200


@dataclass(frozen=True, slots=True)
class Fit:
    """What came of it.

    Attributes:
        profile: fitted, without a name or an error yet.
        loss: mean soft miss on the rows that it was fitted to.
        simulations: that it took.
        tried: (is_chunked, token budget, loss) of each kind of batching.
    """

    profile: Profile
    loss: float
    simulations: int
    tried: tuple[tuple[bool, int, float], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class _Found:
    """Parameters, with how prompts share steps: (is_chunked, token budget)."""

    values: Floats
    loss: float
    kind: tuple[bool, int]


class _Search:
    """One fit under way; counts what it spends.

    Args:
        rows: to fit to.
        limits: of a replica.
        replicas: behind one router where nobody said who served whom.
        told: progress.
        budget: simulations that are planned.
    """

    def __init__(
        self, rows: Recorded, limits: Limits, replicas: int, told: Told | None, budget: int
    ) -> None:
        self.rows, self.limits, self.replicas = rows, limits, replicas
        self.spent = 0
        self._told, self._budget = told, budget
        self._real = _logs(rows.times)

    def profile(self, values: Floats, is_chunked: bool, budget: int) -> Profile:
        """Of a parameter vector."""
        return Profile(
            "fit", step_of(values), request_seconds=float(values[REQUEST]), token_budget=budget,
            sequences=self.limits.sequences, cache_tokens=self.limits.cache_tokens,
            is_chunked=is_chunked,
        )  # fmt: skip

    def misses(self, values: Floats, is_chunked: bool, budget: int) -> Floats:
        """(3n,) weighted logarithms of simulated over real."""
        self.spent += 1
        if self._told is not None:
            self._told(min(self.spent / self._budget, 1.0))
        times = simulate(self.rows, self.profile(values, is_chunked, budget), self.replicas)
        parts = []
        for name, simulated in _logs(times).items():
            miss = np.nan_to_num(simulated - self._real[name], nan=_LOST)
            miss[~np.isfinite(self._real[name])] = 0.0
            parts.append(_WEIGHTS[name] * np.clip(miss, -_LOST, _LOST))
        return np.concatenate(parts)

    def loss(self, misses: Floats) -> float:
        """Mean of the soft misses."""
        ratio = misses / _SOFT_RATIO
        return float((np.sqrt(1 + ratio * ratio) - 1).mean() * _SOFT_RATIO)


def fit(
    recorded: Recorded,
    limits: Limits,
    replicas: int = 1,
    settings: FitSettings | None = None,
    told: Told | None = None,
) -> Fit:
    """Find the step's seconds, and how prompts share steps where nobody told.

    Args:
        recorded: rows to fit to.
        limits: of a replica; what is None there is found.
        replicas: where nobody said who served whom.
        settings: how much is spent.
        told: called with the share that is done.
    """
    spend = settings or FitSettings()
    rows = recorded.last(spend.most_rows)
    kinds = list(_kinds(limits))
    each = len(NAMES) + 1
    closer = min(len(kinds), _CLOSER)
    planned = (len(kinds) * spend.look_rounds + closer * spend.rounds) * each + spend.polish
    search = _Search(rows, limits, replicas, told, planned)
    start = first_guess(rows, replicas)
    scale = _scales(rows, start)
    rounds = spend.look_rounds if len(kinds) > 1 else 1
    tried = [_descended(search, start, scale, kind, rounds) for kind in kinds]
    nearest = sorted(tried, key=_handicapped)[:_CLOSER]
    ended = [_descended(search, one.values, scale, one.kind, spend.rounds) for one in nearest]
    best = _polished(search, min(ended, key=_handicapped), scale, spend.polish)
    return Fit(
        search.profile(best.values, *best.kind),
        best.loss,
        search.spent,
        tuple((*one.kind, one.loss) for one in tried),
    )


def _handicapped(one: _Found) -> float:
    """The usual way of batching unless another one is clearly nearer."""
    return one.loss * (1.0 if one.kind == _USUAL else _CLEARLY)


def _kinds(limits: Limits) -> Iterator[tuple[bool, int]]:
    budgets = BUDGETS if limits.token_budget is None else (limits.token_budget,)
    if limits.is_chunked is not False:
        yield from ((True, budget) for budget in budgets if budget > 1)
    if limits.is_chunked is not True:
        yield False, max(TOKEN_BUDGET, max(budgets)) if limits.token_budget is None else budgets[0]


def _descended(
    search: _Search, start: Floats, scale: Floats, kind: tuple[bool, int], rounds: int
) -> _Found:
    """Least squares from a start; the best it saw, which is never worse than the start."""
    from scipy.optimize import least_squares

    best = _Found(start, search.loss(search.misses(start, *kind)), kind)

    def misses(scaled: Floats) -> Floats:
        nonlocal best
        values = scaled * scale
        found = search.misses(values, *kind)
        loss = search.loss(found)
        if loss < best.loss:
            best = _Found(values, loss, kind)
        return found

    # Off the edge, where every direction is open.
    inside = np.maximum(start / scale, 1e-3)
    least_squares(
        misses, inside, bounds=(0.0, np.inf), loss="soft_l1", f_scale=_SOFT_RATIO,
        diff_step=_DIFFERENCE, max_nfev=rounds, xtol=1e-3, ftol=1e-4,
    )  # fmt: skip
    return best


def _polished(search: _Search, start: _Found, scale: Floats, most: int) -> _Found:
    """Without derivatives: who waits for whom changes in jumps."""
    from scipy.optimize import minimize

    if most < 1:
        return start
    begin = np.sqrt(start.values / scale)
    simplex = np.tile(begin, (len(begin) + 1, 1))
    for at in range(len(begin)):
        simplex[at + 1, at] = begin[at] * 1.1 if begin[at] > 0.05 else begin[at] + 0.1
    found = minimize(
        lambda roots: search.loss(search.misses(roots**2 * scale, *start.kind)), begin,
        method="Nelder-Mead",
        options={"maxfev": most, "initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-6},
    )  # fmt: skip
    if found.fun >= start.loss:
        return start
    return _Found(found.x**2 * scale, float(found.fun), start.kind)


def _scales(rows: Recorded, start: Floats) -> Floats:
    """(8,) what each parameter would be if it alone made up a tenth of a usual time."""
    work, times = rows.workload, rows.times
    known = times.tpot[np.isfinite(times.tpot)]
    step = 0.1 * float(np.median(known)) if len(known) else 1e-3
    first = 0.1 * float(np.median(times.ttft))
    prompt = max(float(np.median(work.prompt)), 1.0)
    typical = np.zeros(len(NAMES))
    typical[REQUEST], typical[FIXED], typical[DECODING] = first, step, step
    typical[PROMPT], typical[PROMPT_SQUARED] = first / prompt, first / prompt**2
    typical[SEQUENCE], typical[SEQUENCE_SQUARED] = step / 4, step / 64
    typical[CACHED] = step / (4 * prompt)
    return np.maximum(np.maximum(start, typical), 1e-15)


def _logs(times: Times) -> dict[str, Floats]:
    with np.errstate(invalid="ignore"):
        return {
            name: np.log(np.maximum(getattr(times, name), _FLOOR_SECONDS))
            for name in ("e2e", "ttft", "tpot")
        }
