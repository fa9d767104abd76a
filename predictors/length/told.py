"""What single words tell of a length: ridge regression over the terms of all views.

The directions of a view never see a length, so a rare word that decides one ("one-sentence")
drowns in them. Here each term has weights of its own for a few numbers of a prompt: how long its
answers are for their model, how many end early or late, and in what models disagree about it.
Prompts that are learnt from get answers of fits that left them out, or a network would trust what
it is told far too much.

Sources: Hoerl, Kennard (1970), Ridge Regression, Technometrics 12(1); Wolpert (1992), Stacked
Generalization, Neural Networks 5(2).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.length.bins import COUNT, LOG_EDGES
from predictors.length.features import TextFeatures
from predictors.length.network import Examples, Matrix
from predictors.length.tokens import cut, words
from predictors.length.views import weighed

# P(length <= these) are told, beside the mean logarithm.
_LIMITS = (32, 128, 384, 640)
# Directions in which models disagree, from prompts that so many of them answered.
_DISAGREEMENTS, _LEAST_MODELS = 3, 4
_FOLDS = 10
# How much the terms of each view count, and how strongly their weights are drawn to 0.
_SHARES = {"body": 1.0, "head": 0.7, "tail": 0.5}
_STRENGTH = 1.0
_MOST_STEPS, _PRECISION = 60, 1e-4


@dataclass(frozen=True, slots=True)
class Targets:
    """What is learnt of p prompts.

    Attributes:
        values: (p, k) spread by about 1.
        weight: (p, k) how much each counts; 0 where it is unknown.
    """

    values: Matrix
    weight: Matrix


def taught(
    features: TextFeatures, prompts: Sequence[str], examples: Examples
) -> tuple[TextFeatures, Matrix]:
    """Features that also tell what the terms say, and (p, k) of it for the learnt prompts.

    Args:
        features: fitted on these prompts.
        prompts: at least one, as in `examples`.
        examples: of these prompts.
    """
    if not features.views:
        return features, np.zeros((len(prompts), 0), np.float32)
    counts = _counted(features, prompts)
    targets = _targets(examples, len(prompts))
    marks = np.array([zlib.crc32(text.encode("utf-8", "replace")) % _FOLDS for text in prompts])
    told = np.zeros_like(targets.values)
    for fold in np.unique(marks):
        inside = marks == fold
        table, bias = _ridge(counts[~inside], _taken(targets, ~inside))
        told[inside] = counts[inside] @ table + bias
    table, bias = _ridge(counts, targets)
    return _with_terms(features, table, bias), told


def _counted(features: TextFeatures, prompts: Sequence[str]) -> Any:
    """(p, terms of all views) sparse weights of the terms."""
    from scipy import sparse

    found = words([cut(prompt) for prompt in prompts])
    parts = []
    for view in features.views:
        n = len(prompts)
        text, term, weight = weighed(*view.cut.grams(found), view.known, view.rarity, n)
        weight = weight * np.float32(np.sqrt(_SHARES[view.cut.name]))
        parts.append(sparse.csr_matrix((weight, (text, term)), shape=(n, len(view.known))))
    return sparse.hstack(parts).tocsr().astype(np.float32)


def _with_terms(features: TextFeatures, table: Matrix, bias: Matrix) -> TextFeatures:
    views, start = [], 0
    for view in features.views:
        end = start + len(view.known)
        views.append(view.telling(table[start:end] * np.sqrt(_SHARES[view.cut.name])))
        start = end
    return replace(features, views=tuple(views), told=bias)


def _targets(examples: Examples, prompts: int) -> Targets:
    stats = _statistics(examples)
    number = int(examples.model.max()) + 1
    rest = stats - _means(stats, examples.model, number)[examples.model]
    common = _means(rest, examples.prompt, prompts)
    own = np.zeros((prompts, number))
    own[examples.prompt, examples.model] = rest[:, 0] - common[examples.prompt, 0]
    # A prompt that one sample was seen of counts about half as much as one of many.
    heft = np.bincount(examples.prompt, examples.weight, prompts)
    weight = np.repeat((heft / (heft + 1))[:, None], common.shape[1], axis=1)
    many = np.bincount(examples.prompt, minlength=prompts) >= _LEAST_MODELS
    apart = _disagreements(own, many)
    values = np.hstack([common, apart])
    known = np.repeat(many.astype(np.float64)[:, None], apart.shape[1], axis=1)
    weight = np.hstack([weight, known])
    spread = np.sqrt((weight * values**2).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-9))
    # What is the same for all prompts teaches nothing and must not be blown up.
    values = values / np.where(spread > 1e-6, spread, 1.0)
    return Targets(values.astype(np.float32), weight.astype(np.float32))


def _means(
    values: npt.NDArray[np.float64], owner: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.float64]:
    """(count, k) mean of the rows of each owner; 0 where there are none."""
    sums = np.stack([np.bincount(owner, column, count) for column in values.T], axis=1)
    rows = np.bincount(owner, minlength=count).astype(np.float64)
    return np.asarray(sums / np.maximum(rows, 1.0)[:, None], dtype=np.float64)


def _statistics(examples: Examples) -> npt.NDArray[np.float64]:
    """(m, 5) mean logarithm of the lengths of a pair, and its shares up to the limits."""
    everyone = (examples.ended + examples.cut).sum(axis=0) + 1e-6
    # An answer that was cut in a bin ended there or later, as all answers tell.
    beyond = np.triu(np.tile(everyone, (COUNT, 1)))
    seen = examples.ended + examples.cut @ (beyond / beyond.sum(axis=1, keepdims=True))
    low, wide = LOG_EDGES[:-1], np.diff(LOG_EDGES)
    within = [np.clip((np.log(limit) - low) / wide, 0, 1) for limit in _LIMITS]
    return np.asarray(seen @ np.stack([low + wide / 2, *within], axis=1), dtype=np.float64)


def _disagreements(own: npt.NDArray[np.float64], many: npt.NDArray[np.bool_]) -> Any:
    """(p, at most 3) how far models differ on a prompt, in the directions they differ most."""
    if many.sum() < 10 * own.shape[1]:
        return np.zeros((len(own), 0))
    _, _, directions = np.linalg.svd(own[many], full_matrices=False)
    return np.where(many[:, None], own @ directions[:_DISAGREEMENTS].T, 0.0)


def _taken(targets: Targets, rows: npt.NDArray[np.bool_]) -> Targets:
    return Targets(targets.values[rows], targets.weight[rows])


def _ridge(counts: Any, targets: Targets) -> tuple[Matrix, Matrix]:
    """((terms, k), (k,)) weights and intercepts, by conjugate gradients, all targets at once."""
    values, weight = targets.values, targets.weight
    bias = (weight * values).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-9)
    turned = counts.T.tocsr()
    rest = turned @ (weight * (values - bias))
    table, step = np.zeros_like(rest), rest.copy()
    left = (rest * rest).sum(axis=0)
    enough = _PRECISION * left
    for _ in range(_MOST_STEPS):
        if (left <= enough).all():
            break
        push = turned @ (weight * (counts @ step)) + np.float32(_STRENGTH) * step
        far = left / np.maximum((step * push).sum(axis=0), 1e-20)
        table += far * step
        rest -= far * push
        before, left = left, (rest * rest).sum(axis=0)
        step = rest + left / np.maximum(before, 1e-20) * step
    return np.asarray(table, np.float32), np.asarray(bias, np.float32)
