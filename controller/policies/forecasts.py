"""One step ahead of a short series: the load predictors of Dynamo's planner, in numpy alone.

`arima` is an autoregression on levels or differences, fitted by least squares: no moving average
terms, no likelihood. The order is chosen once, when there are enough points, and kept; coefficients
are fitted anew each time. Where nothing but differences is left, (0, d, 0), it is fitted to log(1 +
x), as its source does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from controller.numbers import Floats

LEAST_POINTS, MOST_ORDER = 5, 3
PREDICTORS = ("constant", "arima", "kalman")
# Kalman, local linear trend: variances of level, trend and reading, and of what is known at first.
Q_LEVEL, Q_TREND, READING, AT_FIRST = 1.0, 0.1, 10.0, 1000.0


def without_idle(values: Sequence[float]) -> list[float]:
    """Leading zeros say that nothing was there yet."""
    first = next((n for n, value in enumerate(values) if value != 0), len(values))
    return list(values[first:])


def expected(
    name: str, values: Sequence[float], order: Mapping[str, Any] | None = None
) -> tuple[float, dict[str, Any] | None]:
    """(next value, at least 0; the order to remember).

    Args:
        name: one of `PREDICTORS`.
        values: finite, one each interval, oldest first.
        order: what was chosen before: {"p", "d", "log"}.
    """
    past = without_idle(values)
    kept = dict(order) if order else None
    if not past:
        return 0.0, kept
    if name == "constant" or len(past) < LEAST_POINTS:
        return past[-1], kept
    if name == "kalman":
        return max(kalman(past), 0.0), kept
    if len(set(past)) == 1:
        return past[-1], kept
    kept = kept or chosen(past)
    return max(_arima(past, kept), 0.0), kept


def kalman(values: Sequence[float]) -> float:
    """One step ahead by a local linear trend."""
    level, trend = values[0], 0.0
    p00, p01, p11 = AT_FIRST, 0.0, AT_FIRST
    for value in values[1:]:
        level += trend
        p00, p01, p11 = p00 + 2 * p01 + p11 + Q_LEVEL, p01 + p11, p11 + Q_TREND
        gain0, gain1 = p00 / (p00 + READING), p01 / (p00 + READING)
        miss = value - level
        level, trend = level + gain0 * miss, trend + gain1 * miss
        p11 -= gain1 * p01
        p00, p01 = (1 - gain0) * p00, (1 - gain0) * p01
    return level + trend


def chosen(values: Sequence[float]) -> dict[str, Any]:
    """The order with the lowest AIC; on log(1 + x) where it has no memory of its own."""
    order = _order(np.asarray(values, dtype=np.float64))
    if order["p"] == 0:
        order = {**_order(np.log1p(values)), "log": True}
    return order


def _order(values: Floats) -> dict[str, Any]:
    steps = np.diff(values)
    # A series that is calmer in its differences than in its levels wanders.
    d = int(float(steps.var()) < float(values.var()))
    series = steps if d else values
    most = max(min(MOST_ORDER, (len(series) - 2) // 2), 0)
    # All orders are judged on the same points.
    target = series[most:]
    found = []
    for p in range(most + 1):
        design = _design(series, p)[most - p :]
        miss = target - design @ _fitted(design, target)
        variance = max(float(miss @ miss) / len(target), 1e-12)
        found.append((len(target) * math.log(variance) + 2 * (p + 1), p))
    return {"p": min(found)[1], "d": d, "log": False}


def _arima(values: Sequence[float], order: Mapping[str, Any]) -> float:
    raw: Floats = np.asarray(values, dtype=np.float64)
    series: Floats = np.log1p(raw) if order["log"] else raw
    steps = np.diff(series) if order["d"] else series
    p = min(int(order["p"]), max((len(steps) - 1) // 2, 0))
    weights = _fitted(_design(steps, p), steps[p:])
    latest = np.concatenate([[1.0], steps[len(steps) - p :][::-1]])
    ahead = float(latest @ weights) + (float(series[-1]) if order["d"] else 0.0)
    # A fit on few points can point anywhere: it stays within twice what was seen.
    if order["log"]:
        ahead = math.expm1(min(ahead, 700.0))
    return min(ahead, 2 * float(raw.max()))


def _design(series: Floats, p: int) -> Floats:
    """(n - p, 1 + p): one, then the p values before."""
    n = len(series) - p
    columns = [np.ones(n), *(series[p - lag : p - lag + n] for lag in range(1, p + 1))]
    return np.stack(columns, axis=1)


def _fitted(design: Floats, target: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(design, target, rcond=None)[0], dtype=np.float64)
