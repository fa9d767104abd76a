"""What text prediction has to beat: constants, histories, and trees over the surface alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from predictors.base import CENSORED, OUTCOME
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.length.features import raw_surface
from predictors.length.histogram import HistogramSettings, LengthHistogram
from predictors.length.spec import HISTOGRAM_SPEC, INPUT, KEYS, PROMPT
from predictors.length.tokens import cut, words

# Rows count alike in a back-test: its rows have no order.
_ALL = HistogramSettings(memory_rows=10**9)


def constant() -> LengthHistogram:
    """The same answer to everything."""
    return LengthHistogram(replace(HISTOGRAM_SPEC, keys=()), _ALL)


def by_model() -> LengthHistogram:
    """The history of the model."""
    return LengthHistogram(replace(HISTOGRAM_SPEC, keys=KEYS[:1]), _ALL)


def by_model_and_route() -> LengthHistogram:
    """The history of the model on the route: the published simple rival."""
    return LengthHistogram(HISTOGRAM_SPEC, _ALL)


def surface_trees(learn: pl.DataFrame, judge: pl.DataFrame, seed: int) -> Quantiles:
    """Boosted quantiles over the surface of the prompt and the model.

    Args:
        learn: rows with outcomes; one of each prompt and model is learnt, as published.
        judge: rows to answer.
        seed: of the choice and of the trees.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    known = learn.filter(~pl.col(CENSORED)) if CENSORED in learn.columns else learn
    one = known.sample(fraction=1.0, shuffle=True, seed=seed).unique([PROMPT, KEYS[0]])
    models = sorted(one[KEYS[0]].unique().to_list())
    inputs, asked = _columns(one, models), _columns(judge, models)
    real = np.log1p(one[OUTCOME].to_numpy())
    values = []
    for level in LEVELS:
        trees = HistGradientBoostingRegressor(
            loss="quantile", quantile=level, max_iter=80, max_leaf_nodes=15, random_state=seed
        )
        values.append(np.expm1(trees.fit(inputs, real).predict(asked)))
    return Quantiles.of(LEVELS, np.maximum(np.stack(values, axis=1), 0.0))


def _columns(rows: pl.DataFrame, models: list[str]) -> Floats:
    prompts = rows[PROMPT].fill_null("").to_list()
    place = {text: number for number, text in enumerate(dict.fromkeys(prompts))}
    texts = [cut(text) for text in place]
    sizes = np.full(len(texts), np.nan)
    for text, size in zip(prompts, rows[INPUT].fill_null(np.nan).to_list(), strict=True):
        sizes[place[text]] = size
    seen = raw_surface(texts, words(texts), [len(text) for text in place], sizes)
    model = np.array([[name == known for known in models] for name in rows[KEYS[0]]], np.float64)
    return np.hstack([seen[[place[text] for text in prompts]], model])
