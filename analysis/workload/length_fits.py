"""Which family describes the lengths, and how badly; the empirical curve is always kept beside."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.workload.gap_fits import LARGEST_KS_DISTANCE, weibull_mle
from analysis.workload.lengths import Floats, Lengths, ecdf, quantile
from analysis.workload.sums import dot

FEWEST_REQUESTS = 30
FEWEST_TAIL_REQUESTS = 50
_TAIL_QUANTILES = np.linspace(0.5, 0.99, 50)
_LARGEST_ZIPF_SUPPORT = 2_000_000
_BISECTIONS = 60
FAMILIES = ("lognormal", "exponential", "weibull", "pareto_tail", "zipf")
FITS_SCHEMA = {
    "family": pl.String,
    "parameters": pl.String,
    "ks_distance": pl.Float64,
    "accepted": pl.Boolean,
    "why": pl.String,
}


@dataclass(frozen=True, slots=True)
class LengthFit:
    """A family fitted to lengths.

    Attributes:
        family: one of `FAMILIES`.
        parameters: "name=value" pairs for people; empty when nothing was fitted.
        ks_distance: largest vertical distance to the empirical distribution (of the tail, for
            pareto_tail); None when nothing was fitted.
        accepted: KS distance at most 0.1.
        why: one line: why not, or which part it describes.
    """

    family: str
    parameters: str
    ks_distance: float | None
    accepted: bool
    why: str | None


def fit_lengths(lengths: Lengths) -> list[LengthFit]:
    """Fit every family to the lengths above zero, or refuse all with the reason."""
    positive = lengths.positive()
    reason = None
    if positive.requests < FEWEST_REQUESTS:
        reason = f"only {positive.requests} requests; a fit needs {FEWEST_REQUESTS}"
    elif positive.values.size < 2:
        reason = "all lengths are equal: there is no spread to fit"
    if reason is not None:
        return [LengthFit(family, "", None, accepted=False, why=reason) for family in FAMILIES]
    return [
        _lognormal(positive),
        _exponential(positive),
        _weibull(positive),
        _pareto_tail(positive),
        _zipf(positive),
    ]


def fits_frame(fits: list[LengthFit]) -> pl.DataFrame:
    """The fits as rows: family, parameters, ks_distance, accepted, why."""
    rows = [tuple(getattr(fit, name) for name in FITS_SCHEMA) for fit in fits]
    return pl.DataFrame(rows, schema=FITS_SCHEMA, orient="row")


def _judge(family: str, parameters: str, distance: float, note: str | None = None) -> LengthFit:
    accepted = distance <= LARGEST_KS_DISTANCE
    refusal = f"does not fit: KS distance {distance:.3f} is above {LARGEST_KS_DISTANCE:g}"
    parts = [part for part in (None if accepted else refusal, note) if part]
    return LengthFit(family, parameters, distance, accepted, "; ".join(parts) or None)


def _distance(lengths: Lengths, model: Floats) -> float:
    """KS distance of a continuous model, given as its distribution at each distinct value."""
    above = ecdf(lengths)
    below = np.concatenate(([0.0], above[:-1]))
    return float(max(np.max(above - model), np.max(model - below)))


def _log_moments(lengths: Lengths) -> tuple[float, float]:
    logs = np.log(lengths.values)
    mu = float(np.average(logs, weights=lengths.counts))
    return mu, math.sqrt(float(np.average((logs - mu) ** 2, weights=lengths.counts)))


def _lognormal(lengths: Lengths) -> LengthFit:
    from scipy import special

    mu, sigma = _log_moments(lengths)
    model = special.ndtr((np.log(lengths.values) - mu) / sigma)
    return _judge("lognormal", f"mu={mu:.4g} sigma={sigma:.4g}", _distance(lengths, model))


def _exponential(lengths: Lengths) -> LengthFit:
    average = float(np.average(lengths.values, weights=lengths.counts))
    model = -np.expm1(-lengths.values / average)
    return _judge("exponential", f"mean_tokens={average:.5g}", _distance(lengths, model))


def _weibull(lengths: Lengths) -> LengthFit:
    shape, scale = weibull_mle(np.log(lengths.values), lengths.counts.astype(np.float64))
    model = -np.expm1(-((lengths.values / scale) ** shape))
    parameters = f"shape={shape:.4g} scale_tokens={scale:.5g}"
    return _judge("weibull", parameters, _distance(lengths, model))


def _pareto_tail(lengths: Lengths) -> LengthFit:
    """A power law above the threshold, of those tried, from which it fits best.

    Source: Clauset, Shalizi & Newman, Power-law distributions in empirical data (2009), section 3.
    """
    best: tuple[float, float, int, int] | None = None
    for threshold in sorted({int(quantile(lengths, q) or 1) for q in _TAIL_QUANTILES}):
        kept = lengths.values >= max(1, threshold)
        tail = Lengths(lengths.values[kept], lengths.counts[kept])
        if tail.requests < FEWEST_TAIL_REQUESTS or tail.values.size < 3:
            continue
        low = int(tail.values[0])
        # Half a token below: lengths are whole numbers, the law is continuous.
        logs = np.log(tail.values / (low - 0.5))
        exponent = 1 + tail.requests / dot(logs, tail.counts)
        model = 1 - ((tail.values + 0.5) / (low - 0.5)) ** (1 - exponent)
        distance = float(np.max(np.abs(ecdf(tail) - model)))
        if best is None or distance < best[0]:
            best = (distance, exponent, low, tail.requests)
    if best is None:
        why = f"no tail with {FEWEST_TAIL_REQUESTS} requests and three lengths"
        return LengthFit("pareto_tail", "", None, accepted=False, why=why)
    distance, exponent, low, requests = best
    note = f"describes the {requests:,} requests of {low:,} tokens and more only"
    return _judge("pareto_tail", f"exponent={exponent:.4g} from_tokens={low}", distance, note)


def _zipf(lengths: Lengths) -> LengthFit:
    """P(x) proportional to x^-s on 1..largest; s by maximum likelihood (matches the mean log)."""
    largest = int(lengths.values[-1])
    if largest > _LARGEST_ZIPF_SUPPORT:
        why = f"not tried: lengths up to {largest:,} exceed {_LARGEST_ZIPF_SUPPORT:,} tokens"
        return LengthFit("zipf", "", None, accepted=False, why=why)
    logs = np.log(np.arange(1, largest + 1))
    target = float(np.average(np.log(lengths.values), weights=lengths.counts))
    low, high = 0.0, 20.0
    for _ in range(_BISECTIONS):
        exponent = (low + high) / 2
        weight = np.exp(-exponent * logs)
        low, high = (
            (exponent, high) if dot(weight, logs) / weight.sum() > target else (low, exponent)
        )
    model = np.cumsum(weight) / weight.sum()
    at = ecdf(lengths)
    # A discrete model differs most at a value or just before the next one.
    before_next = np.append(lengths.values[1:], largest + 1) - 1
    distance = max(
        np.max(np.abs(at - model[lengths.values - 1])), np.max(np.abs(at - model[before_next - 1]))
    )
    return _judge("zipf", f"exponent={exponent:.4g} largest_tokens={largest}", float(distance))
