"""The figures of cold starts: durations on GenTD26 and lambda_perf, pre-warming on ServeGen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from predictors import splits
from predictors.backtest import Cell, Told, cells_of
from predictors.base import AT, OUTCOME, Predictor
from predictors.cold_start import gentd26, lambda_perf
from predictors.cold_start.backtest_prewarm import prewarm
from predictors.cold_start.boosted import Boosted
from predictors.cold_start.duration import ColdStart
from predictors.cold_start.forest import ForestSettings
from predictors.cold_start.history import misses
from predictors.cold_start.judging import Result, as_made, as_served, fitted, pooled
from predictors.cold_start.rivals import PreviousLoad
from predictors.cold_start.serving import serving
from predictors.cold_start.spec import INSTANCE, MODEL
from predictors.scoring import pinball, skill
from store.errors import PredictorError

LEARN_SHARE = 0.7
METRICS = ("mae", "pinball", "coverage_q90", "coverage_80")
# What the fleet's operators asked for; None where only the rivals are shown.
TARGETS = {"base model": 2.0, "pipeline": 4.0, "LoRA": None, "ControlNet": None}
UNSEEN_TARGET = 2.6
FOLDS = 5
CACHE_KNOWN = "floor: hit or miss known"
# Months between learning and judging, as long as a model may go without training.
STALE_DAYS = 180


def backtest(data: Path, seed: int, quick: bool, told: Told) -> Iterator[Cell]:
    """Cells of every case; a missing data set is told and left out."""
    cases: dict[str, Callable[[Path, int, bool], Iterator[Cell]]] = {
        **{kind: partial(_last_part, kind=kind) for kind in gentd26.LOADS},
        "pipeline, parts known": partial(_last_part, kind="pipeline", are_parts_known=True),
        "telemetry of the same stamp": _same_stamp,
        "unseen containers": _unseen_containers,
        "functions": _functions,
        "new configurations": _new_configurations,
        "pre-warm": prewarm,
    }
    start = time.process_time()
    for number, (name, case) in enumerate(cases.items()):
        told(
            f"{name} ({number + 1} of {len(cases)}), {time.process_time() - start:.0f} s until now"
        )
        try:
            yield from case(data, seed, quick)
        except PredictorError as error:
            told(f"{error.message}; its figures are left out")


def ours(seed: int, quick: bool) -> ColdStart:
    """The predictor as it is judged."""
    return ColdStart(seed, ForestSettings(trees=15 if quick else 30))


def _last_part(
    data: Path, seed: int, quick: bool, kind: str, are_parts_known: bool = False
) -> Iterator[Cell]:
    if quick and kind != "base model":
        return
    rows = gentd26.rows(data, kind)
    case = f"GenTD26 {kind}, last 30 % of time"
    if are_parts_known:
        rows, case = gentd26.with_parts(data, rows), f"{case}, parts to load known"
    learn, judge = splits.by_time(rows, LEARN_SHARE)
    found: dict[str, Result] = {}
    for result, base in _duration(learn, judge, case, seed, quick):
        found[base.method] = result
        targets = _targets(TARGETS[kind]) if base.method == "ours" else {}
        yield from cells_of(result.scores, base, METRICS, targets)
    yield from _skills(found["ours"], found["previous load"], judge, case, seed)
    if kind == "base model":
        result = _knowing_the_cache(learn, judge, seed, quick)
        base = _cell(case, CACHE_KNOWN, seed, result, is_rival=True)
        yield from cells_of(result.scores, base, ("mae",))


def _skills(
    ours: Result, rival: Result, judge: pl.DataFrame, case: str, seed: int
) -> Iterator[Cell]:
    """1 - our pinball / the rival's; containers are drawn again as a whole."""
    real, who = judge[OUTCOME].to_numpy(), judge[INSTANCE].to_list()
    mine, theirs = (pinball(some.quantiles, real) for some in (ours, rival))
    found = skill(mine, theirs, blocks=who, keys=who, seed=seed)
    figures = (("skill", found.value), ("skill_low", found.low), ("skill_high", found.high),
               ("skill_worst_container", found.worst_value))  # fmt: skip
    for metric, value in figures:
        yield Cell("cold_start", case, "ours", metric, value, found.n, seed, sense="higher")


def _duration(
    learn: pl.DataFrame, judge: pl.DataFrame, case: str, seed: int, quick: bool
) -> Iterator[tuple[Result, Cell]]:
    rivals: list[tuple[str, Callable[[], Predictor]]] = [
        ("previous load", PreviousLoad),
        ("median of last ten", lambda: PreviousLoad("own_median_log")),
        ("boosted trees", lambda: Boosted(seed, 40 if quick else 80)),
    ]
    if "alike_median_log" in learn.columns:
        rivals.append(("median of last ten alike", lambda: PreviousLoad("alike_median_log")))
    for name, make in rivals:
        result = as_made(*_made(make, learn, judge))
        yield result, _cell(case, name, seed, result, is_rival=True)
    champion, spent = fitted(lambda: ours(seed, quick), learn)
    raw = as_made(champion, judge, spent)
    yield raw, _cell(case, "ours, uncorrected", seed, raw)
    rival, _ = fitted(PreviousLoad, learn)
    served = as_served(champion, rival, judge, serving(1.0), spent)
    yield served, _cell(case, "ours", seed, served)


def _made(
    make: Callable[[], Predictor], learn: pl.DataFrame, judge: pl.DataFrame
) -> tuple[Predictor, pl.DataFrame, float]:
    predictor, spent = fitted(make, learn)
    return predictor, judge, spent


def _knowing_the_cache(learn: pl.DataFrame, judge: pl.DataFrame, seed: int, quick: bool) -> Result:
    """Ours when told whether the load will be slow for its container: no one can know that."""
    both = pl.concat([learn, judge])
    told = pl.col(OUTCOME).log().map_batches(_was_miss, return_dtype=pl.Float64)
    marked = both.with_columns(told.over(INSTANCE).alias("is_weights_cached"))
    champion, spent = fitted(lambda: ours(seed, quick), marked.head(learn.height))
    return as_made(champion, marked.tail(judge.height), spent)


def _was_miss(logs: pl.Series) -> pl.Series:
    return pl.Series(1.0 - misses(logs.to_numpy()).astype(np.float64))


def _same_stamp(data: Path, seed: int, quick: bool) -> Iterator[Cell]:
    """With samples of the load's own stamp: what looking into the load would seem to gain."""
    if quick:
        return
    learn, judge = splits.by_time(gentd26.rows(data, "base model", 0.0), LEARN_SHARE)
    champion, spent = fitted(lambda: ours(seed, quick), learn)
    result = as_made(champion, judge, spent)
    case = "GenTD26 base model, last 30 % of time"
    method = "leak: telemetry of the load's own stamp"
    yield from cells_of(result.scores, _cell(case, method, seed, result, is_rival=True), ("mae",))


def _unseen_containers(data: Path, seed: int, quick: bool) -> Iterator[Cell]:
    case = "GenTD26 base model, unseen containers"
    rows = gentd26.rows(data, "base model")
    found: dict[str, dict[int, tuple[Result, pl.DataFrame]]] = {}
    for fold, (learn, judge) in enumerate(splits.by_group(rows, INSTANCE, FOLDS, seed)):
        if quick and fold:
            break
        judge = judge.sort(AT)
        for result, base in _duration(learn, judge, case, seed, quick):
            found.setdefault(base.method, {})[fold] = (result, judge)
        floor = _knowing_the_cache(learn, judge, seed, quick)
        found.setdefault(CACHE_KNOWN, {})[fold] = (floor, judge)
    for method, parts in found.items():
        result = pooled(parts)
        base = _cell(case, method, seed, result, is_rival=not method.startswith("ours"))
        targets = _targets(UNSEEN_TARGET) if method == "ours" else {}
        metrics = ("mae",) if method == CACHE_KNOWN else METRICS
        yield from cells_of(result.scores, base, metrics, targets)


def _functions(data: Path, seed: int, quick: bool) -> Iterator[Cell]:
    case = "lambda_perf inits, last 30 % of time"
    rows = lambda_perf.initialisations(lambda_perf.days(data, 30 if quick else 150, seed))
    learn, judge = splits.by_time(rows, LEARN_SHARE)
    stale = judge[AT].min() - pl.duration(days=STALE_DAYS)
    learn = _thinned(learn.filter(pl.col(AT) < stale), 8_000 if quick else 20_000, seed)
    judge = _thinned(judge, 3_000 if quick else 30_000, seed)
    usual = float(np.median(learn[OUTCOME].to_numpy()))
    month = judge[lambda_perf.MONTH_MEDIAN].fill_null(usual)
    yield _error(case, "30-day median", seed, month, judge)
    yield _error(case, "floor: median of the same day", seed, judge["day_median_seconds"], judge)
    champion, spent = fitted(lambda: ours(seed, quick), learn)
    rival, _ = fitted(lambda: PreviousLoad("own_median_log"), learn)
    raw = as_made(champion, judge, spent)
    yield from cells_of(raw.scores, _cell(case, "ours, uncorrected", seed, raw), METRICS)
    result = as_served(champion, rival, judge, serving(0.01, 0.01, 0.05), spent)
    targets = {"mae": _mae(month, judge), "coverage_q90": 0.9}
    yield from cells_of(result.scores, _cell(case, "ours", seed, result), METRICS, targets)


def _new_configurations(data: Path, seed: int, quick: bool) -> Iterator[Cell]:
    """Families of runtimes left out of the training, from their fourth start on."""
    case = "lambda_perf, unseen runtime family, after 3 starts"
    rows = lambda_perf.first_starts(lambda_perf.days(data, 60 if quick else 600, seed))
    found: dict[int, tuple[Result, pl.DataFrame]] = {}
    for fold, (learn, judge) in enumerate(splits.by_group(rows, MODEL, FOLDS, seed)):
        champion, spent = fitted(lambda: ours(seed, True), _thinned(learn, 8_000, seed))
        after = judge.filter(pl.col("own_loads") >= 3)
        found[fold] = (as_made(champion, after, spent), after)
    result = pooled(found)
    real = np.concatenate([judge[OUTCOME].to_numpy() for _, judge in found.values()])
    before = np.exp(
        np.concatenate([judge["own_last_log"].to_numpy() for _, judge in found.values()])
    )
    metric = "mape"
    ape = float(np.mean(np.abs(result.quantiles.at(0.5) - real) / real))
    rival = float(np.mean(np.abs(before - real) / real))
    yield Cell("cold_start", case, "previous start", metric, rival, len(real), seed, is_rival=True)
    spent = result.seconds
    yield Cell("cold_start", case, "ours", metric, ape, len(real), seed, 0.30, seconds=spent)


def _thinned(rows: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """Whole instants stay whole where they can; order by time stays."""
    if rows.height <= most:
        return rows
    return rows.sample(most, seed=seed).sort(AT, maintain_order=True)


def _error(case: str, method: str, seed: int, middle: pl.Series, judge: pl.DataFrame) -> Cell:
    mae = _mae(middle, judge)
    return Cell("cold_start", case, method, "mae", mae, judge.height, seed, is_rival=True)


def _mae(middle: pl.Series, judge: pl.DataFrame) -> float:
    return float((middle - judge[OUTCOME]).abs().mean() or math.nan)  # type: ignore[arg-type]


def _targets(mae: float | None) -> dict[str, float]:
    return {} if mae is None else {"mae": mae, "coverage_q90": 0.9}


def _cell(case: str, method: str, seed: int, result: Result, is_rival: bool = False) -> Cell:
    return Cell("cold_start", case, method, "", math.nan, 0, seed, is_rival=is_rival,
                seconds=result.seconds)  # fmt: skip
