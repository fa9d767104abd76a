"""The figures of response lengths: CASTILLO's texts, traces without texts, speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from predictors import splits
from predictors.backtest import Cell, Told, cells_of
from predictors.distribution import LEVELS, Quantiles
from predictors.length import castillo, rivals
from predictors.length.backtest_metadata import metadata
from predictors.length.backtest_speed import speed
from predictors.length.bins import Lengths
from predictors.length.histogram import LengthHistogram
from predictors.length.judging import coverage_online, ends_within_auc, floor, judged, rank_tau
from predictors.length.network import Recipe
from predictors.length.spec import KEYS, PROMPT
from predictors.length.text import TextLength, TextSettings
from predictors.scoring import Scores
from predictors.serving import keys_of

METRICS = ("mae", "mae_capped", "kendall_tau", "pinball", "coverage_q90", "coverage_80", "width_80")
TARGETS = {"mae": 165.0, "kendall_tau": 0.56, "pinball": 64.0, "coverage_q90": 0.90}
# P(ends within 128 tokens): at arrival, and when so many are out.
HORIZON_TOKENS = 128
AUC_TARGETS = {0: 0.90, 64: None, 256: 0.80}
# Two of five folds are judged, 40 % of the prompts: all five would take half an hour more.
FOLDS, JUDGED_FOLDS = 5, 2
# Of the many fits of the drift case, where only coverage is judged.
_DRIFT = Recipe(networks=1, passes=10)
_QUICK, _QUICK_PROMPTS = Recipe(networks=2, passes=10), 1200


def backtest(data: Path, seed: int, quick: bool, told: Told) -> Iterator[Cell]:
    """Cells of every case; a missing data set is told and left out."""
    if all((data / name).exists() for name in castillo.FILES):
        found = castillo.pairs(data)
        if quick:
            found = _part(found, seed)
        wider = None if quick else castillo.wider_rows(data)
        if wider is None and not quick:
            told(f"length: no {castillo.WIDER}: fewer prompts to learn words from")
        yield from _unseen_prompts(found, wider, seed, quick)
        yield from _left_out_sets(found, wider, seed, quick)
        yield from speed(found, seed)
    else:
        told(f"length: {' or '.join(castillo.FILES)} is missing; figures from text are left out")
    yield from metadata(data, seed, quick, told)


def settings_of(seed: int, recipe: Recipe) -> TextSettings:
    """As an operator would train it: the temperature is chosen on prompts of the learnt folds."""
    return TextSettings(recipe=recipe, seed=seed)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a method said to the judged pairs of a fold."""

    quantiles: Quantiles
    seconds: float
    lengths: Lengths | None = None


def _part(found: pl.DataFrame, seed: int) -> pl.DataFrame:
    prompts = found[PROMPT].unique().sort()
    return found.filter(
        pl.col(PROMPT).is_in(prompts.sample(min(_QUICK_PROMPTS, len(prompts)), seed=seed).to_list())
    )


def _unseen_prompts(
    found: pl.DataFrame, wider: pl.DataFrame | None, seed: int, quick: bool
) -> Iterator[Cell]:
    folds = list(splits.by_group(found, PROMPT, FOLDS, seed))[: 1 if quick else JUDGED_FOLDS]
    answers: dict[str, list[_Answer]] = {}
    for learn, judge in folds:
        for method, answer in _methods(learn, judge, wider, seed, quick):
            answers.setdefault(method, []).append(answer)
    judge = pl.concat([judge for _, judge in folds])
    samples = castillo.samples_of(judge)
    mixed = judge[castillo.IS_MIXED].to_numpy()
    for case, rows in _cases(mixed):
        base = Cell("length", case, "", "", 0.0, 0, seed, is_rival=True)
        for method, parts in answers.items():
            made = _joined(parts)
            seconds = sum(part.seconds for part in parts)
            scores = judged(made.quantiles.take(rows), samples[rows], seed)
            yield from _scored(replace(base, method=method, seconds=seconds), scores)
            if made.lengths is not None:
                yield from _ending(base, method, made.lengths.take(rows), samples[rows])
        yield from _scored(replace(base, method="floor: the other 9 samples"), floor(samples[rows]))


def _cases(mixed: np.ndarray) -> list[tuple[str, np.ndarray]]:
    every = np.flatnonzero(np.ones(len(mixed), np.bool_))
    return [
        ("CASTILLO, unseen prompts", every),
        ("CASTILLO, unseen prompts of all seven sets", np.flatnonzero(mixed)),
    ]


def _methods(
    learn: pl.DataFrame, judge: pl.DataFrame, wider: pl.DataFrame | None, seed: int, quick: bool
) -> Iterator[tuple[str, _Answer]]:
    rows = castillo.learning_rows(learn)
    simple: dict[str, Callable[[], LengthHistogram]] = {
        "constant": rivals.constant,
        "history of the model": rivals.by_model,
        "history of model and route": rivals.by_model_and_route,
    }
    for method, make in simple.items():
        start = time.process_time()
        rival = make()
        rival.fit(rows)
        made = rival.lengths(rival.spec.frame(judge))
        yield method, _Answer(made.quantiles(), time.process_time() - start, made)
    start = time.process_time()
    trees = rivals.surface_trees(rows, judge, seed)
    yield "boosted trees on the surface", _Answer(trees, time.process_time() - start)
    start = time.process_time()
    lengths = _fitted(learn, wider, settings_of(seed, _QUICK if quick else Recipe())).lengths(judge)
    yield "ours", _Answer(lengths.quantiles(), time.process_time() - start, lengths)


def _fitted(learn: pl.DataFrame, wider: pl.DataFrame | None, settings: TextSettings) -> TextLength:
    rows = castillo.learning_rows(learn)
    if wider is not None:
        rows = pl.concat([wider, rows.select(wider.columns)])
    made = TextLength(settings)
    made.fit(rows)
    return made


def _joined(parts: list[_Answer]) -> _Answer:
    values = np.concatenate([part.quantiles.values for part in parts])
    known = [part.lengths for part in parts if part.lengths is not None]
    lengths = None
    if len(known) == len(parts):
        shares = np.concatenate([one.shares for one in known])
        lengths = Lengths(shares, np.concatenate([one.most for one in known]))
    return _Answer(Quantiles(np.asarray(LEVELS), values), 0.0, lengths)


def _scored(base: Cell, scores: Scores) -> Iterator[Cell]:
    is_ours = base.method == "ours"
    targets = TARGETS if is_ours else {}
    yield from cells_of(scores, replace(base, is_rival=not is_ours), METRICS, targets)


def _ending(base: Cell, method: str, lengths: Lengths, samples: np.ndarray) -> Iterator[Cell]:
    tau = rank_tau(lengths, samples, base.seed)
    told = replace(base, method=method, is_rival=method != "ours", sense="higher")
    yield replace(told, metric="kendall_tau_of_rank", value=tau, n=samples.size)
    for given, target in AUC_TARGETS.items():
        is_ours = method == "ours"
        yield replace(
            base,
            method=method,
            metric=f"auc_ends_within_{HORIZON_TOKENS}_at_{given}",
            value=ends_within_auc(lengths, samples, given, HORIZON_TOKENS),
            n=int((samples > given).sum()),
            target=target if is_ours else None,
            sense="higher",
            is_rival=not is_ours,
        )


def _left_out_sets(
    found: pl.DataFrame, wider: pl.DataFrame | None, seed: int, quick: bool
) -> Iterator[Cell]:
    sets = list(splits.leave_one_out(found, KEYS[1]))
    for name, learn, judge in sets[: 1 if quick else len(sets)]:
        start = time.process_time()
        model = _fitted(learn, wider, replace(settings_of(seed, _DRIFT), trees=0))
        made = model.lengths(judge).quantiles()
        samples = castillo.samples_of(judge)
        keys = keys_of(model.spec, judge)
        raw, corrected = coverage_online(made, keys, castillo.one_of(samples, seed), seed)
        scores = judged(made, samples, seed)
        base = Cell("length", f"CASTILLO, {name} left out", "ours", "mae", scores.mae, scores.n)
        base = replace(base, seed=seed, seconds=time.process_time() - start)
        yield base
        yield replace(base, metric="kendall_tau", value=scores.kendall_tau, sense="higher")
        judged_rows = judge.height - 100
        yield replace(base, metric="coverage_q90_raw", value=raw, n=judged_rows)
        yield replace(
            base,
            metric="coverage_q90",
            value=corrected,
            n=judged_rows,
            target=0.90,
            sense="near",
            tolerance=0.02,
        )
