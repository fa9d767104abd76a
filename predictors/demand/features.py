"""What can be said about a series from its last windows, free of its scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictors.demand.windows import DAY, HISTORY, STEPS
from predictors.distribution import Floats

Small = npt.NDArray[np.float32]
_CHUNK = 4096
_LAGS = (*range(13), 15, 18, 24, 36)
_MEANS = (3, 6, 12, 36, 72, DAY, HISTORY)
_SPREADS = (6, 12, 36, DAY)
_RANGES = (6, 36, DAY)
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Features:
    """Features of n questions.

    Attributes:
        table: (n, f) numbers without unit.
        last: (n,) the newest known value, in the unit of the series.
        scale: (n,) what differences are divided by, > 0.
        is_known: (n,) whether any window was seen.
        age_windows: (n,) windows since the newest one that was seen; NaN without any.
    """

    table: Small
    last: Floats
    scale: Floats
    is_known: npt.NDArray[np.bool_]
    age_windows: Floats


def features_of(recent: Floats, fleet: Floats, seconds_of_day: Floats) -> Features:
    """Features of each question.

    Args:
        recent: (n, `HISTORY`) of the series, newest last, NaN unknown.
        fleet: (n, `HISTORY`) of the whole model.
        seconds_of_day: (n,) when the newest window ended; NaN unknown.
    """
    parts = [
        _chunk(recent[i : i + _CHUNK], fleet[i : i + _CHUNK], seconds_of_day[i : i + _CHUNK])
        for i in range(0, max(len(recent), 1), _CHUNK)
    ]
    tables, lasts, scales, known, ages = zip(*parts, strict=True)
    return Features(*(np.concatenate(part) for part in (tables, lasts, scales, known, ages)))


def filled(values: Floats) -> Floats:
    """(n, w) with each unknown window as the last known one before it, or the first known."""
    seen = np.isfinite(values)
    place = np.where(seen, np.arange(values.shape[1]), -1)
    place = np.maximum.accumulate(place, axis=1)
    first = np.argmax(seen, axis=1)
    place = np.where(place < 0, first[:, None], place)
    made = np.take_along_axis(values, place, axis=1)
    made[~seen.any(axis=1)] = 0.0
    return made


def _chunk(
    recent: Floats, fleet: Floats, seconds: Floats
) -> tuple[Small, Floats, Floats, npt.NDArray[np.bool_], Floats]:
    seen = np.isfinite(recent)
    series, whole = filled(recent), filled(fleet)
    sums = np.cumsum(np.pad(series, ((0, 0), (1, 0))), axis=1)
    scale = 0.5 * _mean(sums, 6) + 0.5 * _mean(sums, DAY)
    scale = np.where(scale > 0, scale, np.maximum(series.max(axis=1), 1e-3)) + 1e-6
    own = [column / scale for column in _sizes(series, sums)]
    columns = own + _shapes(series, seen) + _fleet(series, whole) + _clock(seconds)
    columns += [np.log10(scale)]
    table = np.stack(columns, axis=1).astype(np.float32)
    known = np.asarray(seen.any(axis=1))
    age = np.argmax(seen[:, ::-1], axis=1).astype(np.float64)
    return table, series[:, -1].copy(), scale, known, np.where(known, age, np.nan)


def _mean(sums: Floats, width: int, before: int = 0) -> Floats:
    end = sums.shape[1] - 1 - before
    start = max(end - width, 0)
    return np.asarray((sums[:, end] - sums[:, start]) / (end - start))


def _sizes(series: Floats, sums: Floats) -> list[Floats]:
    """Columns in the unit of the series."""
    columns = [series[:, -1 - lag] for lag in _LAGS]
    columns += [_mean(sums, width) for width in _MEANS]
    changes = np.abs(np.diff(series, axis=1))
    for width in _SPREADS:
        columns += [series[:, -width:].std(axis=1), changes[:, -width:].mean(axis=1)]
    for width in _RANGES:
        columns += [series[:, -width:].max(axis=1), series[:, -width:].min(axis=1)]
    # A day ago: the windows that are asked about, one by one, and the hour before them.
    columns += [series[:, -1 - DAY + step] for step in range(STEPS + 1)]
    columns += [_mean(sums, 6, DAY), _mean(sums, 6, DAY - 6)]
    columns += [_mean(sums, 6, 2 * DAY), _mean(sums, 6, 2 * DAY - 6)]
    columns.append(_smoothed(series[:, -36:], 0.3))
    return columns


def _smoothed(series: Floats, share: float) -> Floats:
    weight = share * (1 - share) ** np.arange(series.shape[1])[::-1]
    return np.asarray(series @ (weight / weight.sum()))


def _shapes(series: Floats, seen: npt.NDArray[np.bool_]) -> list[Floats]:
    last = series[:, -1:]
    columns = []
    for width in _RANGES:
        part = series[:, -width:]
        columns += [(part == 0).mean(axis=1), (part <= last).mean(axis=1)]
    columns += [seen[:, -3:].sum(axis=1), seen.mean(axis=1)]
    return [np.asarray(column, dtype=np.float64) for column in columns]


def _fleet(series: Floats, whole: Floats) -> list[Floats]:
    now = whole[:, -1]
    columns = [now / np.maximum(whole[:, -1 - lag], _TINY) for lag in (1, 3, 12)]
    a_day_ago = np.maximum(whole[:, -1 - DAY], _TINY)
    columns += [whole[:, -1 - DAY + step] / a_day_ago for step in (3, 6)]
    columns.append(series[:, -1] / np.maximum(now, _TINY))
    return [np.clip(column, 0.0, 100.0) for column in columns]


def _clock(seconds: Floats) -> list[Floats]:
    turn = 2 * np.pi * seconds / 86_400
    known = np.isfinite(turn)
    turn = np.where(known, turn, 0.0)
    waves = [np.sin(turn), np.cos(turn), np.sin(2 * turn), np.cos(2 * turn)]
    waves += [np.sin(24 * turn), np.cos(24 * turn)]
    return [np.where(known, wave, 0.0) for wave in waves]
