"""HARMONY's benchmark: eleven indicators of a container, the next ten minutes, scaled to 0..1.

Protocol of its code: each indicator is scaled by its range in the first 70 % of the rows, models
are fitted on them, and judged on the last 20 %, one window ahead, in the order of the file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from predictors.backtest import Cell, Told
from predictors.demand.attention import AttentionSettings, attended
from predictors.demand.pool import SAMPLES, Places, PoolSettings, answers, crps, past, pooled
from predictors.demand.windows import DAY
from predictors.distribution import Floats

FILE = "harmony_fisher/containers.parquet"
OURS = "pool of experts"
WITH_ATTENTION = "pool with attention"
# From result_Fisher.txt of the published code: the best look-back of each container, (MSE, CRPS).
PUBLISHED = {
    1: (0.05457, 0.10936),
    2: (0.04260, 0.07945),
    3: (0.05190, 0.11030),
    4: (0.06120, 0.12212),
    5: (0.04303, 0.10192),
    6: (0.03951, 0.07643),
    7: (0.06075, 0.11232),
    8: (0.01611, 0.03546),
    9: (0.03563, 0.08605),
    10: (0.04690, 0.09901),
}
MSE_TARGET, CRPS_TARGET = 0.045, 0.070
_BLOCK_IO = ("blkio_async_bytes", "blkio_read_bytes")


@dataclass(frozen=True, slots=True)
class Container:
    """One container, scaled.

    Attributes:
        number: of the container.
        names: (k,) of the indicators.
        table: (t, k).
        clock: (t,) seconds of the day.
        learn_until: first row that must not be learnt from.
        judged: rows that are judged.
    """

    number: int
    names: tuple[str, ...]
    table: Floats
    clock: Floats
    learn_until: int
    judged: Places


Errors = dict[str, tuple[Floats, Floats]]


def containers(path: Path) -> list[Container]:
    """All containers of the file, each scaled by its own first 70 %."""
    rows = pl.read_parquet(path)
    names = tuple(name for name in rows.columns if name not in ("container", "time"))
    made = []
    for number in rows["container"].unique().sort().to_list():
        part = rows.filter(pl.col("container") == number)
        raw = part.select(names).to_numpy().astype(np.float64)
        until, last = int(len(raw) * 0.7), int(len(raw) * 0.2)
        low, high = raw[:until].min(axis=0), raw[:until].max(axis=0)
        table = (raw - low) / np.where(high > low, high - low, 1.0)
        clock = (part["time"].dt.epoch("s") % 86_400).cast(pl.Float64).to_numpy()
        made.append(
            Container(number, names, table, clock, until, np.arange(len(raw) - last, len(raw)))
        )
    return made


def backtest(data: Path, seed: int, quick: bool, told: Told) -> Iterator[Cell]:
    """Cells of the benchmark; a missing file is told."""
    path = data / FILE
    if not path.is_file():
        told(f"demand: {FILE} is not in the data folder, so HARMONY's benchmark is left out")
        return
    found = containers(path)[: 2 if quick else None]
    everything: dict[str, list[tuple[float, float]]] = {}
    seconds: dict[str, float] = {}
    for container in found:
        for method, (mse, score, spent) in _judged(container, seed, quick).items():
            everything.setdefault(method, []).append((mse, score))
            seconds[method] = seconds.get(method, 0.0) + spent
        told(f"demand: container {container.number} of HARMONY's benchmark is done")
    n = sum(len(container.judged) for container in found)
    case = f"harmony_fisher, {len(found)} containers, next window, its protocol"
    for method, scores in everything.items():
        mse, score = np.mean(scores, axis=0)
        ours = method == OURS
        base = Cell("demand", case, method, "", math.nan, n, seed, is_rival=not ours)
        base = replace(base, seconds=seconds[method])
        yield replace(base, metric="mse", value=float(mse), target=MSE_TARGET if ours else None)
        yield replace(base, metric="crps", value=float(score), target=CRPS_TARGET if ours else None)


def _judged(container: Container, seed: int, quick: bool) -> dict[str, tuple[float, float, float]]:
    """(MSE, CRPS, seconds) of every method on one container."""
    made: dict[str, tuple[float, float, float]] = {}
    for name, method in (("last value", _last_value), ("ridge on lags", _ridge)):
        start = time.process_time()
        said = method(container)
        made[name] = (*_scores(container, said), time.process_time() - start)
    if container.number in PUBLISHED:
        made["HARMONY (published)"] = (*PUBLISHED[container.number], math.nan)
    start = time.process_time()
    settings = PoolSettings(seed=seed)
    asked = np.arange(container.learn_until, container.judged[-1] + 1)
    said = np.stack(
        [
            answers(container.table, k, container.clock, container.learn_until, asked, settings)
            for k in range(len(container.names))
        ]
    )
    made[OURS] = (*_pool_scores(container, said, asked, settings), time.process_time() - start)
    made["best expert in hindsight (oracle)"] = (*_oracle(container, said, asked), math.nan)
    made["block I/O alone (noise floor)"] = (_floor(container), math.nan, math.nan)
    if not quick:
        made |= _with_attention(container, said, asked, settings)
    return made


def _with_attention(
    container: Container, said: Floats, asked: Places, settings: PoolSettings
) -> dict[str, tuple[float, float, float]]:
    start = time.process_time()
    shape = AttentionSettings(seed=settings.seed)
    drawn = attended(container.table, container.learn_until, asked, shape).transpose(1, 0, 2)
    spent = time.process_time() - start
    alone = drawn[:, -len(container.judged) :]
    both = np.concatenate([said, drawn[:, :, None]], axis=2)
    return {
        "attention over indicators": (*_scores(container, alone), spent),
        WITH_ATTENTION: (*_pool_scores(container, both, asked, settings), math.nan),
    }


def _scores(container: Container, said: Floats) -> tuple[float, float]:
    """(MSE of the mean, CRPS) of (k, n, samples), over all indicators."""
    equal = np.full(said.shape[1:], 1 / said.shape[2])
    real = container.table[container.judged].T
    error = [(one.mean(axis=1) - y) ** 2 for one, y in zip(said, real, strict=True)]
    score = [crps(one, equal, y) for one, y in zip(said, real, strict=True)]
    return float(np.mean(error)), float(np.mean(score))


def _pool_scores(
    container: Container, said: Floats, asked: Places, settings: PoolSettings
) -> tuple[float, float]:
    last, errors, scores = len(container.judged), [], []
    for number, one in enumerate(said):
        real = container.table[asked, number]
        made = pooled(one, real, settings)
        errors.append(((made.mean() - real) ** 2)[-last:])
        scores.append(made.crps(real)[-last:])
    return float(np.mean(errors)), float(np.mean(scores))


def _oracle(container: Container, said: Floats, asked: Places) -> tuple[float, float]:
    last = len(container.judged)
    equal = np.full((last, SAMPLES), 1 / SAMPLES)
    errors, scores = [], []
    for number, one in enumerate(said[:, -last:]):
        real = container.table[container.judged, number]
        experts = range(one.shape[1])
        errors.append(min(((one[:, e].mean(axis=1) - real) ** 2).mean() for e in experts))
        scores.append(min(crps(one[:, e], equal, real).mean() for e in experts))
    del asked
    return float(np.mean(errors)), float(np.mean(scores))


def _floor(container: Container) -> float:
    """What two indicators cost at least, as a share of the mean over all of them.

    Block I/O is read from one of several devices at random: draws without memory, whose variance
    nobody can predict away.
    """
    places = [container.names.index(name) for name in _BLOCK_IO if name in container.names]
    judged = container.table[container.judged][:, places]
    # A day is short enough for the level to stand still.
    days = np.array_split(judged, max(len(judged) // DAY, 1))
    within = np.mean([day.var(axis=0).sum() * len(day) for day in days]) * len(days) / len(judged)
    return float(within / len(container.names))


def _last_value(container: Container) -> Floats:
    made = []
    for series in container.table.T:
        last = np.concatenate([series[:1], series[:-1]])
        changes = past(series - last, container.judged[:1] * 0 + container.learn_until, 10_000)
        made.append(last[container.judged][:, None] + changes)
    return np.stack(made)


def _ridge(container: Container) -> Floats:
    from sklearn.linear_model import Ridge

    table, until = container.table, container.learn_until
    lags = (1, 2, 3, 4, 5, 6, DAY)
    columns = np.hstack([table[DAY - lag : len(table) - lag] for lag in lags])
    model = Ridge(1.0).fit(columns[: until - DAY], table[DAY:until])
    said = model.predict(columns)
    left = table[DAY:until] - said[: until - DAY]
    spread = np.quantile(left, (np.arange(SAMPLES) + 0.5) / SAMPLES, axis=0)
    judged = said[container.judged - DAY]
    return np.asarray(judged.T[:, :, None] + spread.T[:, None, :])
