"""What telemetry said before a load was asked for: levels, recent range, and activity since."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from predictors.base import AT
from predictors.cold_start.spec import INSTANCE, SIGNAL_SHAPES
from predictors.distribution import Floats

WINDOW_SECONDS = 1140.0
_VALUE = "value"


def with_signals(
    rows: pl.DataFrame,
    samples: Mapping[str, pl.DataFrame],
    lag_seconds: float,
    key: str = INSTANCE,
    window_seconds: float = WINDOW_SECONDS,
) -> pl.DataFrame:
    """`rows` with the columns `TELEMETRY` of `spec` for each signal of `samples`.

    Args:
        rows: `at`, `key`, and `own_gap_seconds` where it is known.
        samples: signal -> frame of `key`, `at`, `value`; samples are stamped when they end.
        lag_seconds: samples newer than this before `at` are not looked at.
        key: whose samples they are.
        window_seconds: how far back the range looks.
    """
    for signal, frame in samples.items():
        found = _described(rows, frame, lag_seconds, key, window_seconds)
        names = [f"{signal}_{shape}" for shape in SIGNAL_SHAPES]
        rows = rows.drop([name for name in names if name in rows.columns])
        rows = rows.hstack(pl.DataFrame(found, schema=dict.fromkeys(names, pl.Float64)))
    return rows


def _described(
    rows: pl.DataFrame, samples: pl.DataFrame, lag: float, key: str, window: float
) -> Floats:
    series = _by_key(samples, key)
    at = rows[AT].dt.epoch("us").to_numpy() / 1e6
    gaps = (
        rows["own_gap_seconds"].fill_null(np.nan).to_numpy()
        if "own_gap_seconds" in rows.columns
        else np.full(rows.height, np.nan)
    )
    made = np.full((rows.height, len(SIGNAL_SHAPES)), np.nan)
    names = rows[key].cast(pl.String).fill_null("").to_list()
    for number, name in enumerate(names):
        if name in series:
            made[number] = _of_row(
                *series[name], at[number] - lag, window, at[number], gaps[number]
            )
    return made


def _of_row(
    times: Floats, values: Floats, until: float, window: float, now: float, gap: float
) -> list[float]:
    end = int(np.searchsorted(times, until, side="right"))
    begin = int(np.searchsorted(times, until - window, side="right"))
    some = values[begin:end]
    if not len(some):
        return [np.nan] * 5 + [0.0, np.nan, 0.0 if np.isfinite(gap) else np.nan]
    since = end - int(np.searchsorted(times, now - gap)) if np.isfinite(gap) else np.nan
    second = float(some[-2]) if len(some) > 1 else np.nan
    return [float(some[-1]), second, float(some.mean()), float(some.min()), float(some.max()),
            float(len(some)), now - float(times[end - 1]), max(float(since), 0.0)]  # fmt: skip


def _by_key(samples: pl.DataFrame, key: str) -> dict[str, tuple[Floats, Floats]]:
    known = samples.drop_nulls([key, _VALUE]).sort(key, AT)
    found = {}
    for (name,), part in known.group_by([key], maintain_order=True):
        times = part[AT].dt.epoch("us").to_numpy() / 1e6
        found[str(name)] = (times, part[_VALUE].cast(pl.Float64).to_numpy())
    return found
