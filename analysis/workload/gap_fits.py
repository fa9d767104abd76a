"""Which distribution the gaps between arrivals follow, how well, and when no answer is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.workload.arrivals import ClockCheck, Floats, Stamps, ascending
from analysis.workload.sums import dot

# A fit that misses the empirical distribution by more than this anywhere would mislead whoever
# plans with it.
LARGEST_KS_DISTANCE = 0.1
FEWEST_GAPS = 30
# So few that all that is made of them stays in a processor's cache: a fifth of the time.
_CHUNK = 1 << 15
_STRETCH = 32
_NEWTON_STEPS = 60
_TOLERANCE = 1e-10
FAMILIES = ("exponential", "gamma", "weibull")

FITS_SCHEMA = {
    "family": pl.String,
    "shape": pl.Float64,
    "scale_seconds": pl.Float64,
    "ks_distance": pl.Float64,
    "log_likelihood": pl.Float64,
    "accepted": pl.Boolean,
    "why": pl.String,
}


@dataclass(frozen=True, slots=True)
class GapFit:
    """A family fitted to gaps by maximum likelihood.

    Attributes:
        family: "exponential", "gamma" or "weibull".
        shape: k or c; 1 for exponential. None when nothing was fitted; likewise the others.
        scale_seconds: the scale that goes with it.
        ks_distance: largest vertical distance between fitted and empirical distribution.
        log_likelihood: of the gaps under the fit, natural logarithm.
        accepted: whether it may be used.
        why: one line: why not, or what was left out.
    """

    family: str
    shape: float | None = None
    scale_seconds: float | None = None
    ks_distance: float | None = None
    log_likelihood: float | None = None
    accepted: bool = False
    why: str | None = None


def fit_gaps(gaps: Floats, clock: ClockCheck) -> list[GapFit]:
    """Fit every family, or refuse all of them with the reason.

    Gaps of exactly zero lie below the clock's resolution; their logarithm does not exist, so under
    a fine clock they are left out and counted in `why`.

    Args:
        gaps: seconds, >= 0, any order.
        clock: what `check_clock` says of the same stream.
    """
    reason = clock.why if clock.quantised else None
    positive = gaps[gaps > 0]
    if reason is None and positive.size < FEWEST_GAPS:
        reason = f"only {positive.size} gaps; a fit needs {FEWEST_GAPS}"
    if reason is None and float(positive.max()) <= float(positive.min()) * (1 + 1e-9):
        reason = "all gaps are equal: there is no spread to fit"
    if reason is not None:
        return [GapFit(family, why=reason) for family in FAMILIES]
    dropped = gaps.size - positive.size
    positive = ascending(positive)
    logs = np.log(positive)
    return [
        _judge(*_exponential(positive), positive, dropped),
        _judge(*_gamma(positive, logs), positive, dropped),
        _judge(*_weibull(positive, logs), positive, dropped),
    ]


def fits_frame(fits: list[GapFit]) -> pl.DataFrame:
    """The fits as rows, with the columns of `FITS_SCHEMA`."""
    rows = [tuple(getattr(fit, name) for name in FITS_SCHEMA) for fit in fits]
    return pl.DataFrame(rows, schema=FITS_SCHEMA, orient="row")


Fitted = tuple[str, float, float, float, Callable[[Floats], Floats]]


def _judge(
    family: str,
    shape: float,
    scale: float,
    log_likelihood: float,
    cdf: Callable[[Floats], Floats],
    ordered: Floats,
    dropped: int,
) -> GapFit:
    distance = ks_distance(ordered, cdf)
    accepted = distance <= LARGEST_KS_DISTANCE
    notes = []
    if not accepted:
        notes.append(f"does not fit: KS distance {distance:.3f} is above {LARGEST_KS_DISTANCE:g}")
    if dropped:
        notes.append(f"{dropped:,} gaps of zero are below the clock's resolution and left out")
    why = "; ".join(notes) or None
    return GapFit(family, shape, scale, distance, log_likelihood, accepted, why)


def ks_distance(ordered: Floats, cdf: Callable[[Floats], Floats]) -> float:
    """Kolmogorov-Smirnov distance between a sorted sample and a continuous distribution.

    Both only ever rise, so their values at the ends of a stretch bound the distance inside it: the
    model is asked for every value only where that bound is above what was found already.
    """
    size = ordered.size
    ends = np.append(np.arange(0, size - 1, _STRETCH), size - 1)
    model = cdf(ordered[ends])
    largest = _distance(model, ends, size)
    # No point of a stretch can be further apart than its ends allow.
    bounds = np.maximum(model[1:] - ends[:-1] / size, (ends[1:] + 1) / size - model[:-1])
    inside = np.flatnonzero(np.repeat(bounds > largest, np.diff(ends)))
    return max(largest, _distance(cdf(ordered[inside]), inside, size)) if inside.size else largest


def _distance(model: Floats, places: Stamps, size: int) -> float:
    """Largest distance of the model from the steps of the sample at some of its places."""
    below, above = model - places / size, (places + 1) / size - model
    return max(0.0, float(below.max()), float(above.max()))


def _exponential(gaps: Floats) -> Fitted:
    mean = float(gaps.mean())
    log_likelihood = -gaps.size * (math.log(mean) + 1)
    return "exponential", 1.0, mean, log_likelihood, lambda x: -np.expm1(-x / mean)


def _gamma(gaps: Floats, logs: Floats) -> Fitted:
    """Newton on ln k - digamma(k) = ln(mean) - mean(ln), from Minka's start value.

    Source: T. Minka, Estimating a Gamma distribution (2002).
    """
    from scipy import special

    mean, mean_log = float(gaps.mean()), float(logs.mean())
    target = math.log(mean) - mean_log
    shape = (3 - target + math.sqrt((target - 3) ** 2 + 24 * target)) / (12 * target)
    for _ in range(_NEWTON_STEPS):
        error = math.log(shape) - float(special.digamma(shape)) - target
        slope = 1 / shape - float(special.polygamma(1, shape))
        step = error / slope
        # Halving keeps the iterate positive where the full step would cross zero.
        shape = shape - step if step < shape else shape / 2
        if abs(step) <= _TOLERANCE * shape:
            break
    scale = mean / shape
    log_likelihood = gaps.size * (
        (shape - 1) * mean_log - shape - shape * math.log(scale) - math.lgamma(shape)
    )
    return "gamma", shape, scale, log_likelihood, lambda x: special.gammainc(shape, x / scale)


def _weibull(gaps: Floats, logs: Floats) -> Fitted:
    shape, scale = weibull_mle(logs)
    mean_log = float(logs.mean())
    log_likelihood = gaps.size * (
        math.log(shape) - shape * math.log(scale) + (shape - 1) * mean_log - 1
    )
    return "weibull", shape, scale, log_likelihood, lambda x: -np.expm1(-((x / scale) ** shape))


def weibull_mle(logs: Floats, weights: Floats | None = None) -> tuple[float, float]:
    """Shape and scale by Newton on 1/c + mean(ln) - sum(x^c ln) / sum(x^c) = 0.

    Args:
        logs: natural logarithms of the sample, ascending, with some spread.
        weights: how often each occurs; None = once.

    Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions 1, chapter 21.
    """
    mean_log = float(np.average(logs, weights=weights))
    spread = math.sqrt(float(np.average((logs - mean_log) ** 2, weights=weights)))
    size = float(logs.size if weights is None else weights.sum())
    shape = math.pi / (math.sqrt(6) * spread)
    top = float(logs[-1])  # powers are taken relative to the largest value, so none overflows
    for _ in range(_NEWTON_STEPS):
        zeroth, first, second = _power_sums(logs, weights, shape, top)
        ratio = first / zeroth
        error = 1 / shape + mean_log - top - ratio
        slope = -1 / shape**2 - (second / zeroth - ratio**2)
        step = error / slope
        shape = shape - step if step < shape else shape / 2
        if abs(step) <= _TOLERANCE * shape:
            break
    zeroth, _, _ = _power_sums(logs, weights, shape, top)
    return shape, math.exp(top + math.log(zeroth / size) / shape)


def _power_sums(
    logs: Floats, weights: Floats | None, shape: float, top: float
) -> tuple[float, float, float]:
    """Sums of w, w·d and w·d² with d = ln x - top and w = exp(shape·d) times the weight."""
    zeroth = first = second = 0.0
    for start in range(0, logs.size, _CHUNK):
        distance = logs[start : start + _CHUNK] - top
        power = np.exp(shape * distance)
        if weights is not None:
            power *= weights[start : start + _CHUNK]
        zeroth += float(power.sum())
        power *= distance
        first += float(power.sum())
        second += dot(power, distance)
    return zeroth, first, second
