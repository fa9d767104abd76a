"""Samples of any set of metrics over a stretch of time, as one row and as arrays.

A row carries its own metric names, so rows of hosts that expose different metrics lie in one frame.
A metric is named `who.what_unit`, where who is

* `self`: the instance that is asked about,
* `neighbour`: the mean over those that share its host,
* `host`: the whole machine, the instance included,
* `load`: what is asked of the instance (`load.offered_per_s`) and what it gets done
  (`load.achieved_per_s`).

Other names are taken as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.distribution import Floats
from store.errors import PredictorError

METRICS, WINDOW, STEP = "metrics", "window", "step_seconds"
# Longer executions are averaged down: attention costs the square of the steps.
MOST_STEPS = 120


@dataclass(frozen=True, slots=True)
class Windows:
    """n stretches of at most t steps of m metrics.

    Attributes:
        names: of the metrics, m.
        values: (n, t, m); NaN is unknown, and everything from a row's length on.
        lengths: (n,) steps that were there.
        stale: (n,) steps after the last of them in which nothing was told.
    """

    names: tuple[str, ...]
    values: Floats
    lengths: npt.NDArray[np.int64]
    stale: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def steps(self) -> npt.NDArray[np.bool_]:
        """(n, t) whether the step was there."""
        return np.arange(self.values.shape[1])[None, :] < self.lengths[:, None]

    def take(self, rows: npt.ArrayLike) -> Windows:
        """The rows that an index or a mask names."""
        chosen = np.asarray(rows)
        return Windows(self.names, self.values[chosen], self.lengths[chosen], self.stale[chosen])


def pack(
    names: Sequence[str], stretches: Iterable[npt.ArrayLike], step_seconds: float
) -> pl.DataFrame:
    """The columns `metrics`, `window` and `step_seconds` of some rows.

    Args:
        names: of the metrics, without spaces.
        stretches: one (t, m) array a row, oldest step first.
        step_seconds: between two steps.

    Raises:
        PredictorError: a name has a space in it, or a stretch another number of metrics.
    """
    odd = [name for name in names if not name or " " in name]
    if odd:
        raise PredictorError(f"metric names hold no spaces: {odd[0]!r}", hint="use `who.what_unit`")
    flat = []
    for stretch in stretches:
        steps = np.asarray(stretch, dtype=np.float64)
        if steps.ndim != 2 or steps.shape[1] != len(names):
            raise PredictorError(
                f"a stretch of shape {steps.shape} does not hold {len(names)} metrics",
                hint="one row a step, one column a metric",
            )
        flat.append(steps.ravel())
    return pl.DataFrame(
        {WINDOW: flat}, schema={WINDOW: pl.List(pl.Float64)}, strict=False
    ).with_columns(pl.lit(" ".join(names)).alias(METRICS), pl.lit(float(step_seconds)).alias(STEP))


def unpack(
    rows: pl.DataFrame, names: Sequence[str] | None = None, most_steps: int = MOST_STEPS
) -> Windows:
    """The windows of `rows`.

    Args:
        rows: with the columns `metrics` and `window`. A window that does not fit its names counts
            as empty; a number that is not finite as unknown.
        names: metrics to give, others are left out; by default all that occur, sorted.
        most_steps: longer windows are averaged down to this many steps.
    """
    sets = rows[METRICS].cast(pl.String).fill_null("").to_list()
    known = tuple(sorted({name for some in set(sets) for name in some.split()}))
    asked = tuple(names) if names is not None else known
    place = {name: number for number, name in enumerate(asked)}
    columns = {some: [place.get(name, -1) for name in some.split()] for some in set(sets)}
    found = [
        _steps(flat, columns[some], len(asked), most_steps)
        for flat, some in zip(rows[WINDOW].to_list(), sets, strict=True)
    ]
    lengths = np.array([len(steps) for steps, _ in found], np.int64)
    stale = np.array([after for _, after in found], np.int64)
    longest = max(int(lengths.max(initial=0)), 1)
    values = np.full((len(found), longest, len(asked)), np.nan)
    for number, (steps, _) in enumerate(found):
        values[number, : len(steps)] = steps
    return Windows(asked, values, lengths, stale)


def _steps(
    flat: list[float | None] | None, columns: list[int], metrics: int, most_steps: int
) -> tuple[Floats, int]:
    """(t, m) known steps of a row, and how many follow in which nothing was told."""
    if not flat or not columns or len(flat) % len(columns):
        return np.empty((0, metrics)), 0
    given = np.array(flat, dtype=np.float64).reshape(-1, len(columns))
    given[~np.isfinite(given)] = np.nan
    given = pooled(given, most_steps)
    steps = np.full((len(given), metrics), np.nan)
    for source, target in enumerate(columns):
        if target >= 0:
            steps[:, target] = given[:, source]
    known = np.isfinite(steps).any(axis=1)
    # Steps without a single number at either end say nothing, not even how long it took.
    if not known.any():
        return steps[:0], len(steps)
    after = int(known[::-1].argmax())
    return steps[known.argmax() : len(known) - after], after


def pooled(given: Floats, most_steps: int) -> Floats:
    """(t, m) averaged down to at most so many steps, by what is known in each part."""
    if len(given) <= most_steps:
        return given
    edges = np.linspace(0, len(given), most_steps + 1).astype(int)[:-1]
    known = np.isfinite(given)
    total = np.add.reduceat(np.where(known, given, 0.0), edges, axis=0)
    count = np.add.reduceat(known.astype(np.float64), edges, axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
