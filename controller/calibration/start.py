"""A first guess of a step's seconds without simulating: what overlapped whom, and least squares.

Seconds are sums of contents, and none of them is negative:

    a prompt that nobody else's met    TTFT = request + fixed + prompt + prompt^2
    decoding                           n steps (fixed + once + sequences + sequences^2 + cached)
                                       + the prompts that were computed meanwhile

Relative errors count, so each equation is divided by what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controller.calibration.recorded import Recorded
from controller.numbers import Floats
from controller.profile import StepTimes

Index = npt.NDArray[np.int64]

# Of a parameter vector: request_seconds, then the terms of a step.
NAMES = (
    "request_seconds", "fixed_seconds", "prompt_token_seconds", "prompt_token_squared_seconds",
    "sequence_seconds", "sequence_squared_seconds", "cached_token_seconds", "decoding_seconds",
)  # fmt: skip
REQUEST, FIXED, PROMPT, PROMPT_SQUARED, SEQUENCE, SEQUENCE_SQUARED, CACHED, DECODING = range(8)
_LEAST_TOKENS = 4
_LEAST_SECONDS = 1e-6


@dataclass(frozen=True, slots=True)
class Company:
    """Who else was there while n requests decoded: means over that time, (n,) each.

    Attributes:
        sequences: that decoded, itself included.
        squared: mean square of that.
        cached: tokens in the cache.
        prompts: prompt tokens computed.
        is_alone: nobody else's prompt was under way during its own.
    """

    sequences: Floats
    squared: Floats
    cached: Floats
    prompts: Floats
    is_alone: npt.NDArray[np.bool_]


def first_guess(recorded: Recorded, replicas: int = 1) -> Floats:
    """(8,) parameters by `NAMES`.

    Args:
        recorded: rows to fit.
        replicas: that shared the work, where nobody said who served whom.
    """
    from scipy.optimize import nnls

    met = company(recorded, replicas)
    work, times = recorded.workload, recorded.times
    prompt, steps = work.prompt.astype(np.float64), work.output.astype(np.float64) - 1
    alone = (
        met.is_alone if met.is_alone.sum() >= len(NAMES) else times.ttft <= np.median(times.ttft)
    )
    first = np.zeros((int(alone.sum()), len(NAMES)))
    first[:, REQUEST] = first[:, FIXED] = 1.0
    first[:, PROMPT], first[:, PROMPT_SQUARED] = prompt[alone], prompt[alone] ** 2
    long = (steps >= _LEAST_TOKENS) & (times.e2e > times.ttft)
    after = np.zeros((int(long.sum()), len(NAMES)))
    n = steps[long]
    after[:, FIXED] = after[:, DECODING] = n
    after[:, SEQUENCE] = n * met.sequences[long]
    after[:, SEQUENCE_SQUARED], after[:, CACHED] = n * met.squared[long], n * met.cached[long]
    after[:, PROMPT] = met.prompts[long]
    seconds = np.concatenate([times.ttft[alone], (times.e2e - times.ttft)[long]])
    rows = np.concatenate([first, after]) / np.maximum(seconds, _LEAST_SECONDS)[:, None]
    scale = np.maximum(np.abs(rows).max(axis=0, initial=0.0), 1e-30)
    found, _ = nnls(rows / scale, np.ones(len(rows)))
    return _alive(found / scale, times.tpot)


def _alive(values: Floats, tpot: Floats) -> Floats:
    """A step of one sequence takes time, whatever least squares say."""
    if values[[FIXED, SEQUENCE, DECODING]].sum() <= _LEAST_SECONDS:
        known = tpot[np.isfinite(tpot) & (tpot > 0)]
        values[FIXED] = float(np.quantile(known, 0.1)) if len(known) else 0.01
    return np.asarray(values, dtype=np.float64)


def company(recorded: Recorded, replicas: int = 1) -> Company:
    """What overlapped, replica by replica; without knowing whose, a share of the whole."""
    n = len(recorded)
    sequences, squared, cached, prompts = (np.zeros(n) for _ in range(4))
    parts = Company(sequences, squared, cached, prompts, np.zeros(n, dtype=bool))
    placed = recorded.is_placed
    numbers = recorded.replica if placed else np.zeros(n, np.int32)
    share = 1.0 if placed else 1.0 / max(replicas, 1)
    for number in np.unique(numbers):
        rows = np.flatnonzero(numbers == number)
        arrived = recorded.workload.arrived[rows]
        first = arrived + recorded.times.ttft[rows]
        end = arrived + recorded.times.e2e[rows]
        _while_decoding(parts, recorded, rows, share, (first, end))
        parts.is_alone[rows] = _alone(arrived, first, end, share)
    return parts


def _while_decoding(
    parts: Company, recorded: Recorded, rows: Index, share: float, span: tuple[Floats, Floats]
) -> None:
    """Fill in means from the first to the last token of each."""
    first, end = span
    prompt, output = (
        getattr(recorded.workload, name)[rows].astype(float) for name in ("prompt", "output")
    )
    order = np.argsort(first)
    began, totals = first[order], _running_sum(prompt[order])
    until, since = np.searchsorted(began, end, "left"), np.searchsorted(began, first, "right")
    parts.prompts[rows] = np.maximum(totals[until] - totals[since], 0.0) * share
    parts.sequences[rows] = parts.squared[rows] = 1.0
    parts.cached[rows] = prompt
    edges = np.unique(np.concatenate([first, end]))
    if len(edges) < 2:
        return
    running, cached = _levels(edges, first, end, prompt + output / 2)
    running = np.maximum(running * share, 1.0)
    low, high = np.searchsorted(edges, first), np.searchsorted(edges, end)
    long = high > low
    seconds = np.maximum(edges[high] - edges[low], 1e-12)
    levels = running, running**2, cached * share
    for target, level in zip((parts.sequences, parts.squared, parts.cached), levels, strict=True):
        total = _running_sum(level * np.diff(edges))
        target[rows[long]] = ((total[high] - total[low]) / seconds)[long]


def _alone(arrived: Floats, first: Floats, end: Floats, share: float) -> npt.NDArray[np.bool_]:
    """Who met nobody on the way to its first token."""
    began = np.sort(first)
    done = np.searchsorted(began, arrived, "right")
    prompts = np.searchsorted(np.sort(arrived), first, "left") - done
    decoding = done - np.searchsorted(np.sort(end), arrived, "right")
    return np.asarray((prompts <= 1) & (decoding * share < 1))


def _levels(edges: Floats, first: Floats, end: Floats, tokens: Floats) -> tuple[Floats, Floats]:
    """(requests that decode, tokens they hold) between neighbouring edges."""
    at, until = np.searchsorted(edges, first), np.searchsorted(edges, end)
    made = []
    for weight in (np.ones(len(first)), tokens):
        change = np.bincount(at, weight, len(edges)) - np.bincount(until, weight, len(edges))
        made.append(np.cumsum(change)[:-1])
    return made[0], made[1]


def _running_sum(values: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values)])


def step_of(values: Floats) -> StepTimes:
    """The step of a parameter vector."""
    return StepTimes(**{name: float(values[at]) for at, name in enumerate(NAMES) if at != REQUEST})
