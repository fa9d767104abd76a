"""Scores of length predictions against all samples of a prompt, and the noise floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from predictors.conformal import ConformalSettings, Key, OnlineConformal
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.length.bins import Lengths
from predictors.scoring import Scores, kendall_tau, score

CAP_TOKENS = 4096
# Ranking ten samples of forty thousand pairs costs minutes and tells the same as a part of them.
_RANKED = 20_000


def judged(quantiles: Quantiles, samples: Floats, seed: int = 0) -> Scores:
    """Scores of n predictions against (n, s) samples each."""
    each = quantiles.take(np.repeat(np.arange(len(quantiles)), samples.shape[1]))
    found = score(each, samples.ravel(), cap=CAP_TOKENS, with_tau=False)
    random = np.random.default_rng(seed)
    rows = random.permutation(len(samples))[:_RANKED]
    real = samples[rows, random.integers(0, samples.shape[1], len(rows))]
    return replace(found, kendall_tau=kendall_tau(quantiles.at(0.5)[rows], real))


def rank_tau(lengths: Lengths, samples: Floats, seed: int = 0) -> float:
    """Kendall's tau of the rank score against one sample of each pair."""
    random = np.random.default_rng(seed)
    rows = random.permutation(len(samples))[:_RANKED]
    real = samples[rows, random.integers(0, samples.shape[1], len(rows))]
    return kendall_tau(lengths.rank()[rows], real)


def floor(samples: Floats, seed: int = 0) -> Scores:
    """Each sample predicted from the others of its prompt and model: the ceiling of all methods."""
    n, count = samples.shape
    out = np.empty((n, count, len(LEVELS)))
    for number in range(count):
        others = np.delete(samples, number, axis=1)
        out[:, number] = np.quantile(others, LEVELS, axis=1).T
    made = Quantiles.of(LEVELS, out.reshape(n * count, -1))
    found = score(made, samples.ravel(), cap=CAP_TOKENS, with_tau=False)
    random = np.random.default_rng(seed)
    rows = random.permutation(n * count)[:_RANKED]
    return replace(found, kendall_tau=kendall_tau(made.at(0.5)[rows], samples.ravel()[rows]))


def ends_within_auc(lengths: Lengths, samples: Floats, given: float, horizon: float) -> float:
    """How well P(ends within `horizon` | more than `given` out) tells those that did.

    Area under the ROC curve over all samples that were still being written; ties count half.
    """
    from scipy.stats import rankdata

    chance = np.repeat(lengths.ends_within(given, horizon), samples.shape[1])
    real = samples.ravel()
    running = real > given
    ended = real[running] <= given + horizon
    ranks = rankdata(chance[running])
    positive, negative = int(ended.sum()), int((~ended).sum())
    if not positive or not negative:
        return float("nan")
    total = ranks[ended].sum() - positive * (positive + 1) / 2
    return float(total / (positive * negative))


def coverage_online(
    quantiles: Quantiles,
    keys: Sequence[Key],
    outcomes: Floats,
    seed: int,
    first: int = 100,
    settings: ConformalSettings | None = None,
) -> tuple[float, float]:
    """(raw, corrected) share of outcomes at or below the 0.9 quantile, after `first` requests.

    Requests come one by one in random order, and each teaches the correction before the next.
    """
    order = np.random.default_rng(seed).permutation(len(outcomes))
    tracker = OnlineConformal(quantiles.levels, True, settings)
    covered, raw = [], []
    for number, row in enumerate(order.tolist()):
        one, key = quantiles.take([row]), [keys[row]]
        corrected, _ = tracker.correct(one, key)
        if number >= first:
            raw.append(outcomes[row] <= one.at(0.9)[0])
            covered.append(outcomes[row] <= corrected.at(0.9)[0])
        tracker.observe(one, key, outcomes[row : row + 1])
    return float(np.mean(raw)), float(np.mean(covered))
