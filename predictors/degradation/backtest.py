"""Figures of the degradation predictor and of every rival, on interferers and loads never seen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors import splits
from predictors.backtest import Cell, Told
from predictors.base import OUTCOME, Prediction, Predictor
from predictors.degradation import data, laboratory, vllm_logs
from predictors.degradation.model import Degradation, DegradationAhead
from predictors.degradation.rivals import CONSTANT, CONSTANT_AHEAD, Constant
from predictors.distribution import Floats, Quantiles
from predictors.scoring import score
from predictors.serving import Served
from store.errors import PredictorError

OURS = "blend of transformer and extra trees"
TREES = ("forest", "extra", "boosted")
SHARED_TREES = ("shared extra", "shared boosted")
NAMES = {
    "blend": OURS,
    "small": "transformer, ours",
    "paper": "transformer, paper, system branch of width 1",
    "wide": "transformer, paper, system branch of width 64",
    "forest": "random forest",
    "extra": "extra trees",
    "boosted": "gradient boosting",
    "sharing": "sharing of cores alone",
    "shared extra": "extra trees on what sharing leaves",
    "shared boosted": "gradient boosting on what sharing leaves",
}
# The published sizes cost most and are asked once a split; the others are averaged over members.
SINGLE = ("paper", "wide")
TARGET_POINTS = 11.5
LAB_POINTS, LAB_GAIN_RATIO = 8.0, 0.2
LAB_FILE = Path("servescope_lab") / "interference.parquet"
LAB_SAMPLE = Path(__file__).parent / "sample" / "interference.parquet"
BATCH_ROWS = 20
# Samples of one execution are alike: one in so many is judged.
NEIGHBOURS = 3
Split = tuple[str, pl.DataFrame, pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Case:
    """One set of splits, and who is judged on it.

    Attributes:
        name: data and split, in words.
        splits: (what is left out, rows to learn from, rows to judge on).
        methods: of `model.METHODS`, or "constant".
        target: what ours should reach, in points of P; None where nothing is asked.
        make: the predictor's class.
        is_thorough: whether ours is widened by groups left out and averaged over its members, as
            it is served; elsewhere that would only cost time.
        gain: by which ours should beat the best tree of each split, as a share; or None.
    """

    name: str
    splits: Sequence[Split]
    methods: Sequence[str]
    target: float | None = None
    make: type[Degradation] = Degradation
    is_thorough: bool = False
    gain: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What a method made of one split."""

    left_out: str
    quantiles: Quantiles
    real: Floats
    weight: Floats
    seconds: float

    @property
    def points(self) -> float:
        """Mean absolute error of the median, in hundredths of P."""
        error = np.abs(self.quantiles.at(0.5) - self.real)
        return 100 * float(np.average(error, weights=self.weight))


def backtest(data: Path, seed: int, quick: bool, told: Told) -> Iterator[Cell]:
    """Cells as they are done; a missing data set is told and left out.

    Args:
        data: folder with `ml_interference`, `burstgpt_vllm_logs` and `servescope_lab`.
        seed: of everything random.
        quick: a part of the rows, one network instead of several, no published sizes.
        told: is handed one line about what is done or left out.
    """
    for of in (_interference, _vllm_logs, _laboratory):
        try:
            cases = of(data, quick)
        except PredictorError as error:
            told(f"degradation: left out, {error.message} ({error.where})")
            continue
        for case in cases:
            told(f"degradation: {case.name}")
            yield from _case(case, seed, quick)


def _interference(folder: Path, quick: bool) -> Iterator[Case]:
    samples = data.interference(folder / "ml_interference" / "interference.parquet")
    return _interference_cases(samples, quick)


def _interference_cases(samples: pl.DataFrame, quick: bool) -> Iterator[Case]:
    whole = data.executions(samples)
    networks = ("small", "lstm", "tcn") if quick else ("small", "paper", "wide", "lstm", "tcn")
    every = ("blend", *networks, *TREES, "ridge", "constant")
    unseen = _thinned(splits.leave_one_out(whole, "group"), 4 if quick else 1)
    yield Case(
        "interference, unseen interferer, whole executions",
        unseen,
        every,
        TARGET_POINTS,
        is_thorough=True,
    )
    if not quick:
        few = ("blend", "small", *TREES, "ridge", "constant")
        both = list(_unseen_interferer_and_load(whole))
        yield Case("interference, unseen interferer at unseen loads", both, few)
    fewer = ("blend", *TREES, "constant")
    for name, rows in (
        ("one sample", data.trailing(samples, 1)),
        ("last 8 samples", data.trailing(samples)),
    ):
        part = _thinned(splits.leave_one_out(rows, "group"), 24 if quick else 6, NEIGHBOURS)
        yield Case(f"interference, unseen interferer, {name}", part, fewer)
    ahead = data.trailing(samples, 5, data.AHEAD_STEPS)
    part = _thinned(splits.leave_one_out(ahead, "group"), 24 if quick else 6, NEIGHBOURS)
    name = "interference, unseen interferer, next 30 s from last 60 s"
    yield Case(name, part, fewer, make=DegradationAhead)


def _vllm_logs(folder: Path, quick: bool) -> Iterator[Case]:
    rows = vllm_logs.requests(folder / "burstgpt_vllm_logs")
    methods = ("blend", *(() if quick else ("lstm", "tcn")), *TREES, "ridge", "constant")
    between = pl.col("event") % 2 == 0
    later = pl.col("event") < rows["event"].n_unique() // 2
    return iter(
        [
            Case(f"vLLM logs, unseen load, {name}", list(_other_requests(rows, learnt)), methods)
            for name, learnt in (("requests in between", between), ("later requests", later))
        ]
    )


def _laboratory(folder: Path, quick: bool) -> Iterator[Case]:
    """Own measurements: programs of families never seen, six times."""
    file = folder / LAB_FILE
    if not file.exists() and LAB_SAMPLE.exists():
        file = LAB_SAMPLE  # what comes with the package
    return _laboratory_cases(laboratory.seconds(file), quick)


def _laboratory_cases(rows: pl.DataFrame, quick: bool) -> Iterator[Case]:
    networks = ("small", *(() if quick else ("lstm", "tcn")))
    methods = ("blend", *networks, "sharing", *SHARED_TREES, *TREES, "ridge", "constant")
    for name, made in (
        ("whole runs", laboratory.executions(rows)),
        ("windows of 8 s", laboratory.windows(rows, 8, 4)),
    ):
        parts = list(laboratory.unseen_programs(made, 2 if quick else 6))
        target = LAB_POINTS if name == "whole runs" else None
        gain = None if target is None else LAB_GAIN_RATIO
        yield Case(
            f"laboratory, unseen programs, {name}",
            parts,
            methods,
            target,
            is_thorough=target is not None,
            gain=gain,
        )


def _thinned(parts: Iterator[Split], every: int, judged_every: int = 1) -> list[Split]:
    return [
        (name, learnt.gather_every(every), judged.gather_every(judged_every))
        for name, learnt, judged in parts
    ]


def _unseen_interferer_and_load(rows: pl.DataFrame) -> Iterator[Split]:
    """Six splits: an interferer and half of the loads are only judged, the rest is learnt."""
    offered = pl.col("window").list.get(data.OFFERED_PLACE)
    levels = rows.select(offered.unique().sort()).to_series().to_list()
    for name, learnt, judged in splits.leave_one_out(rows, "group"):
        for number in (0, 1):
            inside = offered.is_in(levels[number::2])
            yield f"{name}, loads {number + 1}", learnt.filter(~inside), judged.filter(inside)


def _other_requests(rows: pl.DataFrame, learnt: pl.Expr) -> Iterator[Split]:
    for name, others, judged in splits.leave_one_out(rows, "group"):
        yield name, others.filter(learnt), judged.filter(~learnt)


def _case(case: Case, seed: int, quick: bool) -> Iterator[Cell]:
    found: dict[str, list[Judged]] = {}
    for method in case.methods:
        answers = found[method] = []
        for split in case.splits:
            fitted, judged = _judge(case, method, split, seed, quick)
            answers.append(judged)
            if method == "blend" and (case.is_thorough or case.make is DegradationAhead):
                yield from _served(case, fitted, split, seed)
        yield from _cells(case, method, answers, seed)
    yield from _paired(case, found, seed)


def _judge(
    case: Case,
    method: str,
    split: Split,
    seed: int,
    quick: bool,
) -> tuple[Predictor, Judged]:
    left_out, learnt, judged = split
    start = time.process_time()
    predictor = _made(case, method, seed, quick)
    predictor.fit(learnt)
    made: Prediction = predictor.predict(judged)
    seconds = time.process_time() - start
    real = judged[OUTCOME].to_numpy()
    weight = judged["weight"].to_numpy() if "weight" in judged.columns else np.ones(len(real))
    return predictor, Judged(left_out, made.quantiles, real, weight, seconds)


def _made(case: Case, method: str, seed: int, quick: bool) -> Predictor:
    if method == "constant":
        return _constant(case.make)
    training: Any = None
    if quick or method in SINGLE or not case.is_thorough:
        from predictors.degradation.training import Training

        training = Training(members=1)
    is_quick = method != "blend" or not case.is_thorough
    return case.make(method, seed, training, is_quick=is_quick)


def _constant(of: type[Degradation]) -> Constant:
    return Constant(CONSTANT_AHEAD if of is DegradationAhead else CONSTANT)


def _cells(case: Case, method: str, answers: Sequence[Judged], seed: int) -> Iterator[Cell]:
    cell = partial(
        Cell,
        predictor="degradation",
        method=NAMES.get(method, method),
        seed=seed,
        is_rival=method not in ("blend", "small"),
    )
    for one in answers:
        yield cell(
            case=f"{case.name}: {one.left_out}",
            metric="mae_points",
            value=one.points,
            n=len(one.real),
            seconds=one.seconds,
        )
    rows = sum(len(one.real) for one in answers)
    scores = [score(one.quantiles, one.real, with_tau=False) for one in answers]
    mean: Callable[[list[float]], float] = lambda values: math.fsum(values) / len(values)  # noqa: E731
    figures = {
        "mae_points": mean([one.points for one in answers]),
        "pinball_points": mean([100 * one.pinball for one in scores]),
        "coverage_q90": mean([one.coverage_q90 for one in scores]),
    }
    for metric, value in figures.items():
        asked = case.target if metric == "mae_points" and method == "blend" else None
        yield cell(
            case=f"{case.name}: mean",
            metric=metric,
            value=value,
            n=rows,
            target=asked,
            seconds=sum(one.seconds for one in answers),
        )


def _served(case: Case, fitted: Predictor, split: Split, seed: int) -> Iterator[Cell]:
    """The coverage of what is served: corrected by outcomes as they come in."""
    left_out, learnt, judged = split
    rival = _constant(case.make)
    rival.fit(learnt)
    served = Served(fitted, rival)
    order = judged.sort("at") if "at" in judged.columns else judged
    covered, fallback = [], []
    for part in order.iter_slices(BATCH_ROWS):
        real = part[OUTCOME].to_numpy()
        answer = served.predict(part)
        covered.append(real <= answer.prediction.quantiles.at(0.9))
        fallback.append(answer.prediction.was_fallback)
        served.observe(part, answer, real)
    for metric, parts in (("coverage_q90", covered), ("fallback_ratio", fallback)):
        asked = 0.9 if metric == "coverage_q90" and case.target is not None else None
        yield Cell(
            predictor="degradation",
            case=f"{case.name}: {left_out}",
            method=f"{OURS}, served",
            metric=metric,
            value=float(np.concatenate(parts).mean()),
            n=judged.height,
            seed=seed,
            target=asked,
            sense="near",
            tolerance=0.02,
        )


def _paired(case: Case, found: dict[str, list[Judged]], seed: int) -> Iterator[Cell]:
    """Ours against the best tree of each split, on the same rows."""
    trees = [method for method in TREES if method in found]
    if "blend" not in found or not trees:
        return
    ours = _points(found["blend"])
    best = np.min([_points(found[method]) for method in trees], axis=0)
    cell = partial(
        Cell, predictor="degradation", case=f"{case.name}: paired", seed=seed, n=len(ours)
    )
    yield cell(
        method="best tree of each split",
        metric="mae_points",
        value=float(best.mean()),
        is_rival=True,
    )
    yield cell(
        method=OURS,
        metric="gain_over_best_tree_ratio",
        value=1 - float(ours.mean() / best.mean()),
        target=case.gain,
        sense="higher",
    )
    yield cell(
        method=OURS, metric="splits_won_ratio", value=float((ours < best).mean()), sense="higher"
    )
    shared = [method for method in SHARED_TREES if method in found]
    if shared:
        given = np.min([_points(found[method]) for method in shared], axis=0)
        yield cell(
            method="best tree of each split, on what sharing leaves",
            metric="mae_points",
            value=float(given.mean()),
            is_rival=True,
        )
    if len(ours) >= 6:
        from scipy.stats import wilcoxon

        told = wilcoxon(ours, best, alternative="less")
        yield cell(method=OURS, metric="wilcoxon_p", value=float(told.pvalue))


def _points(answers: Sequence[Judged]) -> npt.NDArray[np.float64]:
    return np.array([one.points for one in answers])
