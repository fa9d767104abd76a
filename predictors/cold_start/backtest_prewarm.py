"""Pre-warming judged on clients of ServeGen: cold starts at equal idle time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from predictors.backtest import Cell
from predictors.base import AT, OUTCOME
from predictors.cold_start import servegen
from predictors.cold_start.activity import CLIENT, MODEL
from predictors.cold_start.busy import Busy
from predictors.cold_start.prewarm import (
    Bools,
    Judged,
    cold_at_idle,
    hybrid_histogram,
    judge,
    keep_alive,
    should_be_warm,
    threshold_at_idle,
)  # fmt: skip
from predictors.distribution import Floats

CASE = "ServeGen pre-warm, last 4/14 of time"
IDLE_RATIO = 0.24
COLD_TARGET = 0.0095
WORTHS = (9, 19, 49)
KEPT_WINDOWS = (1, 3, 6, 12, 36)
HISTOGRAM_ENDS = (0.75, 0.9, 0.99)


def prewarm(data: Path, seed: int, quick: bool) -> Iterator[Cell]:
    """Keep-alive and hybrid histogram as points, ours at their idle shares and at 24 %."""
    learn, judged = servegen.rows(data)
    busy = judged[OUTCOME].to_numpy() > 0.5
    kept = [
        (f"keep-alive {10 * windows} min", _kept(learn, judged, windows))
        for windows in KEPT_WINDOWS
    ]
    histograms = [
        (f"hybrid histogram to p{100 * end:.0f}", _histogram(learn, judged, end))
        for end in HISTOGRAM_ENDS
    ]
    for name, warm in (*kept, *histograms):
        yield from _points(name, judge(warm, busy), len(busy), seed, is_rival=True)
    start = time.process_time()
    champion = _trained(learn, seed, quick)
    spent = time.process_time() - start
    likely = champion.probabilities(judged)
    best = cold_at_idle(likely, busy, IDLE_RATIO)
    yield _cell(
        "ours at 24 % idle", "cold_ratio", best.cold_ratio, len(busy), seed, COLD_TARGET, spent
    )
    # The operator cannot know the threshold in advance: this one was read off the rows learnt from.
    chosen = _threshold(learn, seed, quick)
    yield from _points(
        "ours, threshold chosen before", judge(likely >= chosen, busy), len(busy), seed
    )
    for worth in WORTHS:
        warm = should_be_warm(likely, worth, 1.0)
        method = f"ours, a cold start worth {worth} idle windows"
        yield from _points(method, judge(warm, busy), len(busy), seed)
    yield from _beside(likely, busy, kept, seed)


def _beside(
    likely: Floats, busy: Bools, kept: list[tuple[str, Bools]], seed: int
) -> Iterator[Cell]:
    """How far ours lies above the keep-alive curve where it is worst; below 0: nowhere."""
    worst = -math.inf
    for name, warm in kept:
        point = judge(warm, busy)
        same = cold_at_idle(likely, busy, point.idle_ratio)
        worst = max(worst, same.cold_ratio - point.cold_ratio)
        method = f"ours at the idle of {name}"
        yield _cell(method, "cold_ratio", same.cold_ratio, len(busy), seed, point.cold_ratio)
    yield _cell("ours", "most_above_keep_alive", worst, len(busy), seed, 0.0)


def _threshold(learn: pl.DataFrame, seed: int, quick: bool) -> float:
    cut = learn[AT].min() + (learn[AT].max() - learn[AT].min()) * 0.8  # type: ignore[operator]
    early = learn.filter(pl.col(AT) <= cut)
    late = learn.filter((pl.col(AT) > cut) & pl.col(servegen.IS_ALIVE))
    other = _trained(early, seed, quick)
    return threshold_at_idle(other.probabilities(late), late[OUTCOME].to_numpy() > 0.5, IDLE_RATIO)


def _trained(rows: pl.DataFrame, seed: int, quick: bool) -> Busy:
    made = Busy(seed, 1, 80) if quick else Busy(seed)
    made.fit(rows.gather_every(4) if quick else rows)
    return made


def _kept(learn: pl.DataFrame, judged: pl.DataFrame, windows: int) -> Bools:
    return _of_rows(learn, judged, lambda busy: keep_alive(busy, windows))


def _histogram(learn: pl.DataFrame, judged: pl.DataFrame, end: float) -> Bools:
    return _of_rows(learn, judged, lambda busy: hybrid_histogram(busy, high=end))


def _of_rows(learn: pl.DataFrame, judged: pl.DataFrame, policy: Callable[[Bools], Bools]) -> Bools:
    """What a policy that sees whole histories decided for each judged row, in their order."""
    both = pl.concat([learn, judged]).select(MODEL, CLIENT, AT, OUTCOME)
    parts = []
    for part in both.sort(AT).partition_by(MODEL, CLIENT):
        busy = part[OUTCOME].to_numpy()[:, None] > 0.5
        parts.append(part.with_columns(pl.Series("warm", policy(busy)[:, 0])))
    decided = pl.concat(parts).select(MODEL, CLIENT, AT, "warm")
    keys = [MODEL, CLIENT, AT]
    warm = judged.select(keys).join(decided, on=keys, how="left", maintain_order="left")
    return warm["warm"].to_numpy().astype(np.bool_)


def _points(
    method: str, found: Judged, n: int, seed: int, is_rival: bool = False
) -> Iterator[Cell]:
    for metric in ("cold_ratio", "idle_ratio"):
        yield Cell(
            "cold_start", CASE, method, metric, getattr(found, metric), n, seed, is_rival=is_rival
        )


def _cell(
    method: str,
    metric: str,
    value: float,
    n: int,
    seed: int,
    target: float,
    spent: float = math.nan,
) -> Cell:
    return Cell("cold_start", CASE, method, metric, value, n, seed, target, seconds=spent)
