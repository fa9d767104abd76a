"""The next window of an indicator, by a pool of experts that are weighed as outcomes arrive.

Some indicators of a machine stand still, some jump between a few values without memory, some
follow the clock. No single model fits all of them, so each expert answers with a sample of
equally likely values, and the pool gives each the weight that its latest losses earn.

Sources: Cesa-Bianchi and Lugosi (2006), Prediction, Learning, and Games, chapter 2 (exponential
weights); Gneiting and Raftery (2007), Strictly Proper Scoring Rules (CRPS of a sample).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictors.demand.windows import DAY
from predictors.distribution import Floats, Quantiles

SAMPLES = 50
_MIDDLES = (np.arange(SAMPLES) + 0.5) / SAMPLES
_LEVEL_WINDOWS = (36, DAY, 3 * DAY, 7 * DAY)
_CHANGE_WINDOWS = (36, 2 * DAY)
_LAGS = (1, 2, 3, 4, 5, 6, 12, 18, 36, 72, 143, 144, 145, 288, 1008)
_MEANS = (6, 18, 72, 144, 432, 1008)
EXPERTS = (
    *(f"last {width} values" for width in _LEVEL_WINDOWS),
    *(f"last value + last {width} changes" for width in _CHANGE_WINDOWS),
    "boosted level",
    "boosted change",
)

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How experts are weighed.

    Attributes:
        memory: share of a loss that is left a window later.
        sharpness: how much more the better expert counts: weights fall by exp(-sharpness * x)
            where x is by how much an expert's loss is above the best, as a ratio.
        rounds: of boosting; 0 leaves the boosted experts out.
        seed: of everything random.
    """

    memory: float = 0.99
    sharpness: float = 20.0
    rounds: int = 60
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Pooled:
    """Answers for n windows of one indicator.

    Attributes:
        values: (n, m) possible values.
        weights: (n, m) how likely each is; rows sum to 1.
        trust: (n, e) weight of each expert.
    """

    values: Floats
    weights: Floats
    trust: Floats

    def mean(self) -> Floats:
        """(n,) expected values."""
        return np.asarray((self.values * self.weights).sum(axis=1))

    def crps(self, outcomes: Floats) -> Floats:
        """(n,) continuous ranked probability score."""
        return crps(self.values, self.weights, outcomes)

    def quantiles(self, levels: Floats) -> Quantiles:
        """The same as quantiles at `levels`."""
        order = np.argsort(self.values, axis=1)
        values = np.take_along_axis(self.values, order, axis=1)
        grown = np.cumsum(np.take_along_axis(self.weights, order, axis=1), axis=1)
        places = [(grown < level - 1e-12).sum(axis=1) for level in levels]
        last = values.shape[1] - 1
        picked = [values[np.arange(len(values)), np.minimum(place, last)] for place in places]
        return Quantiles.of(levels, np.stack(picked, axis=1))


def answers(
    table: Floats,
    number: int,
    clock: Floats,
    learn_until: int,
    places: Places,
    settings: PoolSettings,
) -> Floats:
    """(n, experts, `SAMPLES`): what each expert says about each asked window.

    Each looks only at windows before the asked one.

    Args:
        table: (t, k) all indicators on one grid.
        number: the column that is asked about.
        clock: (t,) seconds of the day of each window.
        learn_until: boosted experts learn from the windows before this one.
        places: (n,) numbers of the asked windows, each at least 1.
        settings: how the boosted ones learn.
    """
    series = table[:, number]
    last = np.concatenate([series[:1], series[:-1]])
    made = [past(series, places, width) for width in _LEVEL_WINDOWS]
    made += [
        last[places][:, None] + past(series - last, places, width) for width in _CHANGE_WINDOWS
    ]
    if settings.rounds and learn_until > 2 * DAY:
        columns = _columns(table, number, clock)
        for base in (np.zeros_like(last), last):
            said = base + _boosted(columns, series - base, learn_until, settings)
            made.append(said[places][:, None] + past(series - said, places, 3 * DAY))
    return np.stack(made, axis=1)


def pooled(said: Floats, outcomes: Floats, settings: PoolSettings) -> Pooled:
    """Weigh the experts window by window, each by its losses before that window.

    Args:
        said: (n, e, s) as `answers` gives it, oldest first.
        outcomes: (n,) what came; NaN teaches nothing.
        settings: how fast trust moves.
    """
    n, experts, size = said.shape
    equal = np.full((n, size), 1 / size)
    losses = np.stack([crps(said[:, e], equal, outcomes) for e in range(experts)], axis=1)
    trust = _trust(np.nan_to_num(losses, nan=0.0), settings)
    weights = np.repeat(trust / size, size, axis=1)
    return Pooled(said.reshape(n, -1), weights, trust)


def crps(values: Floats, weights: Floats, outcomes: Floats) -> Floats:
    """(n,) E|X - y| - E|X - X'| / 2 of weighted samples; NaN where the outcome is."""
    order = np.argsort(values, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    weights = np.take_along_axis(weights, order, axis=1)
    grown = np.cumsum(weights, axis=1)
    near = (weights * np.abs(values - outcomes[:, None])).sum(axis=1)
    return np.asarray(near - (weights * values * (2 * grown - weights - 1)).sum(axis=1))


def past(series: Floats, places: Places, width: int) -> Floats:
    """(n, `SAMPLES`) evenly spread order statistics of the `width` values before each place."""
    padded = np.concatenate([np.full(width, np.nan), series])
    windows = np.sort(padded[places[:, None] + np.arange(width)], axis=1)
    known = np.maximum(np.isfinite(windows).sum(axis=1), 1)
    chosen = np.minimum((_MIDDLES[None] * known[:, None]).astype(np.int64), known[:, None] - 1)
    return np.asarray(np.nan_to_num(np.take_along_axis(windows, chosen, axis=1)))


def _trust(losses: Floats, settings: PoolSettings) -> Floats:
    n, experts = losses.shape
    before = np.zeros_like(losses)
    kept = np.zeros(experts)
    for number in range(n):
        before[number] = kept
        kept = settings.memory * kept + losses[number]
    best = before.min(axis=1, keepdims=True)
    excess = np.divide(before - best, best, out=np.zeros_like(before), where=best > 1e-12)
    # An expert that made no error at all leaves no room for one that did.
    excess = np.where((best <= 1e-12) & (before > 1e-12), np.inf, excess)
    weights = np.exp(-settings.sharpness * excess)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _columns(table: Floats, number: int, clock: Floats) -> Floats:
    t, k = table.shape
    series = table[:, number]
    columns = [_lagged(series, lag) for lag in _LAGS]
    columns += [_lagged(table[:, other], 1) for other in range(k) if other != number]
    sums = np.concatenate([[0.0], np.cumsum(series)])
    now = np.arange(t)
    for width in _MEANS:
        start = np.maximum(now - width, 0)
        columns.append((sums[now] - sums[start]) / np.maximum(now - start, 1))
    turn = 2 * np.pi * clock / 86_400
    columns += [clock % 3600, clock, np.sin(turn), np.cos(turn)]
    return np.stack(columns, axis=1)


def _lagged(series: Floats, lag: int) -> Floats:
    made = np.full(len(series), np.nan)
    made[lag:] = series[:-lag]
    return made


def _boosted(columns: Floats, goal: Floats, until: int, settings: PoolSettings) -> Floats:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        max_iter=settings.rounds,
        learning_rate=0.06,
        max_leaf_nodes=8,
        min_samples_leaf=40,
        l2_regularization=5.0,
        random_state=settings.seed,
    )
    # A lag longer than the rows to learn from is unknown in all of them.
    columns = columns[:, np.isfinite(columns[DAY:until]).any(axis=0)]
    model.fit(columns[DAY:until], goal[DAY:until])
    return np.asarray(model.predict(columns), dtype=np.float64)
