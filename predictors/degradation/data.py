"""Public measurements of interference as rows: what the back-test learns from and judges on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from analysis.host_signals import ACHIEVED, OFFERED
from predictors.base import AT, OUTCOME
from predictors.degradation.windows import pack
from predictors.distribution import Floats
from store.errors import PredictorError

STEP_SECONDS = 13.0
APART_SECONDS = 30
TRAILING_STEPS = 8
AHEAD_STEPS = 2

_INTERFERENCE = {
    "acme_web_cpu_pct": "self.web_cpu_pct",
    "acme_db_cpu_pct": "self.db_cpu_pct",
    "host_cpu_pct": "host.cpu_pct",
    "request_rate_per_s": ACHIEVED,
    "sessions_per_s": OFFERED,
}
OFFERED_PLACE = list(_INTERFERENCE.values()).index(OFFERED)


def interference(path: Path) -> pl.DataFrame:
    """The samples of `ml_interference`, in the order of time, with P as `outcome`.

    Returns:
        `group` (the neighbour), `at`, `execution`, `place` (of the sample in its execution), the
        metrics under our names, `outcome`. An execution is one run of the load generator: its
        samples follow each other at one load setting and one setting of the neighbour, which only
        part executions here and are no features.

        Memory use is left out: it grows with the age of the database, whatever the neighbour
        does, and so tells the time.

    Raises:
        PredictorError: the file is not there or has other columns.
    """
    raw = read(path)
    alone = raw.filter(pl.col("interference_wkld_intensity") == 0)
    setting = ["neighbour", "httperf_period_s"]
    ideal = alone.group_by(setting).agg(pl.col("total_time_ms").median().alias("ideal"))
    ratio = (pl.col("ideal") / pl.col("total_time_ms")).clip(0, 1)
    rows = raw.join(ideal, on=setting, how="left").sort("neighbour", "time_s")
    new = pl.any_horizontal(
        pl.col("time_s").diff().fill_null(10**9).abs() > APART_SECONDS,
        *[
            pl.col(name) != pl.col(name).shift(1)
            for name in (*setting, "interference_wkld_intensity")
        ],
    )
    return rows.with_columns(
        pl.col("neighbour").alias("group"),
        pl.from_epoch("time_s", time_unit="s").cast(pl.Datetime("us")).alias(AT),
        new.fill_null(value=True).cum_sum().alias("execution"),
        (1 / pl.col("httperf_period_s")).alias("sessions_per_s"),
        ratio.alias(OUTCOME),
    ).select(
        *("group", AT, "execution", pl.int_range(pl.len()).over("execution").alias("place")),
        *[pl.col(old).cast(pl.Float64).alias(new) for old, new in _INTERFERENCE.items()],
        OUTCOME,
    )


def executions(samples: pl.DataFrame) -> pl.DataFrame:
    """One row an execution, with `samples` in it as `weight`.

    The first sample of an execution covers the time before it started and is left out where there
    is another.
    """
    stretches, outcomes, groups, times, weights = [], [], [], [], []
    for part in samples.partition_by("execution", maintain_order=True):
        values = part.select(_INTERFERENCE.values()).to_numpy()
        stretches.append(values[1:] if len(values) > 1 else values)
        outcomes.append(part[OUTCOME][0])
        groups.append(part["group"][0])
        times.append(part[AT][-1])
        weights.append(part.height)
    return _rows(stretches, outcomes, groups, times).with_columns(
        pl.Series("weight", weights, pl.Float64)
    )


def trailing(samples: pl.DataFrame, steps: int = TRAILING_STEPS, ahead: int = 0) -> pl.DataFrame:
    """One row a sample: what could be known at that instant, from the `steps` samples until then.

    The window reaches back across a change of the neighbour, but not across a gap. With `steps=1`
    it is the sample alone, as published baselines have it.

    Args:
        samples: as `interference` gives them.
        steps: at most so many.
        ahead: 0 for the P of this sample, else the mean P of so many samples after it; rows
            without them are left out.
    """
    stretches, outcomes, groups, times = [], [], [], []
    for part in samples.partition_by("group", maintain_order=True):
        values = part.select(_INTERFERENCE.values()).to_numpy()
        real = part[OUTCOME].to_numpy()
        gaps = part[AT].diff().dt.total_seconds().fill_null(10**9).to_numpy() > APART_SECONDS
        stretch = np.cumsum(gaps)
        for here in range(len(values)):
            further = slice(here + 1, here + 1 + ahead) if ahead else slice(here, here + 1)
            if (stretch[further] == stretch[here]).sum() < max(ahead, 1):
                continue
            start = max(here - steps + 1, int(np.searchsorted(stretch, stretch[here])))
            stretches.append(values[start : here + 1])
            outcomes.append(float(real[further].mean()))
            groups.append(part["group"][here])
            times.append(part[AT][here])
    return _rows(stretches, outcomes, groups, times)


def read(path: Path) -> pl.DataFrame:
    """A Parquet file of measurements.

    Raises:
        PredictorError: it cannot be read.
    """
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise PredictorError(
            f"no measurements can be read here: {error}".splitlines()[0], where=str(path)
        ) from error


def _rows(
    stretches: Sequence[Floats],
    outcomes: Sequence[float],
    groups: Sequence[str],
    times: Sequence[object],
) -> pl.DataFrame:
    return pack(tuple(_INTERFERENCE.values()), stretches, STEP_SECONDS).with_columns(
        pl.Series(OUTCOME, outcomes, pl.Float64),
        pl.Series("group", groups, pl.String),
        pl.Series("application", groups, pl.String),
        pl.Series(AT, times, pl.Datetime("us")),
    )
