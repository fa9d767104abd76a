"""Profiles from tables of measurements: so many prompts of a size, so many sequences decoding.

Public benchmarks rarely tell request by request. They tell the time to the first token and for
each one after it, at a steady load. Both are sums of what a step contains, so a profile is found by
least squares with no term negative, and judged on the sizes and batches that were left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from controller.calibration.start import (
    CACHED,
    DECODING,
    FIXED,
    NAMES,
    PROMPT,
    PROMPT_SQUARED,
    REQUEST,
    SEQUENCE,
    SEQUENCE_SQUARED,
    step_of,
)
from controller.numbers import Floats
from controller.profile import FitError, Profile
from store.errors import ControllerError

_LEAST_POINTS = 8
_ROUNDS = 10
_FAR = 0.25
# A miss below this ratio weighs as much as this.
_LEAST_MISS = 0.02


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement at a steady load.

    Attributes:
        prompt_tokens: of each request.
        output_tokens: of each request.
        sequences: requests under way all the time.
        ttft_seconds: to the first token.
        tpot_seconds: for each one after it.
        burst_ratio: share of the requests that began together at the start. 1: all did, and
            decode together. Less: a request that ends is followed by the next, so that prompts
            of others fall between tokens.
    """

    prompt_tokens: int
    output_tokens: int
    sequences: int
    ttft_seconds: float
    tpot_seconds: float
    burst_ratio: float = 1.0

    @property
    def e2e_seconds(self) -> float:
        """To the last token."""
        return self.ttft_seconds + self.tpot_seconds * (self.output_tokens - 1)


def profile_of(points: Sequence[Point], like: Profile, source: str) -> Profile:
    """Fit to all points; the error is that of fits that did not see the points they are judged on.

    Args:
        points: at least 8.
        like: name, limits and cards.
        source: of the measurements, for people.

    Raises:
        ControllerError: too few points.
    """
    if len(points) < _LEAST_POINTS:
        raise ControllerError(
            f"{len(points)} measurements are too few for a profile",
            hint=f"at least {_LEAST_POINTS} are needed",
        )
    values = fitted(points, like)
    error = held_out(points, like, source)
    notes = like.notes
    if (error.ttft_median_ratio or 0.0) > _FAR:
        far = f"the time to the first token is {error.ttft_median_ratio:.0%} off in the median"
        notes = (*notes, f"{far}: not for objectives of TTFT")
    return replace(
        like, step=step_of(values), request_seconds=float(values[REQUEST]), error=error,
        source=source, notes=notes,
    )  # fmt: skip


def fitted(points: Sequence[Point], like: Profile) -> Floats:
    """(8,) parameters by `start.NAMES`: least absolute ratios, nearly, none of them negative."""
    from scipy.optimize import nnls

    rows = [_first_row(point, like) / point.ttft_seconds for point in points]
    rows += [_later_row(point) / point.tpot_seconds for point in points]
    table = np.array(rows)
    scale = np.maximum(np.abs(table).max(axis=0), 1e-30)
    table = table / scale
    weights = np.ones(len(table))
    found = np.zeros(table.shape[1])
    for _ in range(_ROUNDS):
        found, _ = nnls(table * weights[:, None], weights)
        weights = 1 / np.sqrt(np.maximum(np.abs(table @ found - 1), _LEAST_MISS))
    return np.asarray(found / scale, dtype=np.float64)


def told(values: Floats, point: Point, like: Profile) -> tuple[float, float]:
    """(TTFT, TPOT) by a parameter vector, seconds."""
    return float(_first_row(point, like) @ values), float(_later_row(point) @ values)


def held_out(points: Sequence[Point], like: Profile, source: str) -> FitError:
    """Each prompt size, each output size and each batch left out once, and judged."""
    misses: list[tuple[float, float, float]] = []
    for kept, judged in _folds(points):
        values = fitted(kept, like)
        for point in judged:
            ttft, tpot = told(values, point, like)
            e2e = ttft + tpot * (point.output_tokens - 1)
            misses.append(
                (
                    abs(ttft / point.ttft_seconds - 1),
                    abs(tpot / point.tpot_seconds - 1),
                    abs(e2e / point.e2e_seconds - 1),
                )
            )
    ttfts, tpots, e2es = np.array(misses).T
    return FitError(
        median_ratio=float(np.median(e2es)),
        p99_ratio=float(np.quantile(e2es, 0.99)),
        rows=len(misses),
        source=f"{source}, sizes and batches left out in turn",
        ttft_median_ratio=float(np.median(ttfts)),
        ttft_p99_ratio=float(np.quantile(ttfts, 0.99)),
        tpot_median_ratio=float(np.median(tpots)),
        tpot_p99_ratio=float(np.quantile(tpots, 0.99)),
        rival_median_ratio=_rival(points),
        p95_ratio=float(np.quantile(e2es, 0.95)),
        ttft_p95_ratio=float(np.quantile(ttfts, 0.95)),
        tpot_p95_ratio=float(np.quantile(tpots, 0.95)),
    )


def _folds(points: Sequence[Point]) -> Iterator[tuple[list[Point], list[Point]]]:
    for name in ("prompt_tokens", "output_tokens", "sequences"):
        levels = sorted({getattr(point, name) for point in points})
        for level in levels:
            judged = [point for point in points if getattr(point, name) == level]
            kept = [point for point in points if getattr(point, name) != level]
            # What is most of the data cannot be left out: nothing would tell the other terms.
            if len(kept) >= max(_LEAST_POINTS, len(points) // 2):
                yield kept, judged


def _rival(points: Sequence[Point]) -> float:
    """Median error of the usual TTFT and pace, of the points that were kept."""
    misses = []
    for kept, judged in _folds(points):
        ttft = float(np.median([point.ttft_seconds for point in kept]))
        tpot = float(np.median([point.tpot_seconds for point in kept]))
        misses += [
            abs((ttft + tpot * (point.output_tokens - 1)) / point.e2e_seconds - 1)
            for point in judged
        ]
    return float(np.median(misses))


def _first_row(point: Point, like: Profile) -> Floats:
    """What stands before the first token."""
    burst = _burst_row(point, like)
    if point.burst_ratio >= 1:
        return burst
    # It comes in the middle of a step of the others, and shares the next ones with them.
    steps = max(np.ceil(point.prompt_tokens / like.token_budget), 1.0) + 0.5
    steady = _alone(point) + steps * _decoding(point)
    # On average half of those that begin together stand before one.
    mixed = point.burst_ratio * (burst + _alone(point)) / 2 + (1 - point.burst_ratio) * steady
    return np.asarray(mixed, dtype=np.float64)


def _burst_row(point: Point, like: Profile) -> Floats:
    """Until all prompts that begin together are computed, whole prompts to a step."""
    row = np.zeros(len(NAMES))
    together = max(like.token_budget // point.prompt_tokens, 1)
    full, rest = divmod(point.sequences, together)
    for count in [together] * full + ([rest] if rest else []):
        row += _prompts(count * point.prompt_tokens)
    row[REQUEST] = point.sequences
    return row


def _alone(point: Point) -> Floats:
    row = _prompts(point.prompt_tokens)
    row[FIXED], row[REQUEST] = 0.0, 1.0
    return row


def _prompts(tokens: float) -> Floats:
    row = np.zeros(len(NAMES))
    row[FIXED], row[PROMPT], row[PROMPT_SQUARED] = 1.0, tokens, tokens * tokens
    return row


def _decoding(point: Point) -> Floats:
    row = np.zeros(len(NAMES))
    row[FIXED] = row[DECODING] = 1.0
    row[SEQUENCE], row[SEQUENCE_SQUARED] = point.sequences, point.sequences**2
    row[CACHED] = point.sequences * (point.prompt_tokens + point.output_tokens / 2)
    return row


def _later_row(point: Point) -> Floats:
    """A step that decodes; in a closed loop others' prompts fall between, so many to an answer."""
    row = _decoding(point)
    if point.burst_ratio < 1:
        share = (point.sequences - 1) / point.output_tokens
        row[PROMPT] = share * point.prompt_tokens
        row[PROMPT_SQUARED] = share * point.prompt_tokens**2
        row[REQUEST] = share
    return row
