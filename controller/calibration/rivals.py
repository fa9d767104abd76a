"""What is known without a simulator: the same rows, easier rules.

A profile that is not nearer than these has learnt nothing of queues.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from controller.calibration.recorded import Recorded, Times
from controller.numbers import Floats

_LEAST_SECONDS = 1e-6


def constant(seen: Recorded, asked: Recorded) -> Times:
    """Every request takes the usual time."""
    n = len(asked)
    return Times(*(np.full(n, _middle(one)) for one in _parts(seen.times)))


def constant_pace(seen: Recorded, asked: Recorded) -> Times:
    """The usual time to the first token, then the usual pace."""
    ttft, tpot = _middle(seen.times.ttft), _middle(seen.times.tpot)
    return _of_pace(np.full(len(asked), ttft), np.full(len(asked), tpot), asked)


def sizes(seen: Recorded, asked: Recorded) -> Times:
    """Lines through prompt and output sizes."""
    return _regressed(seen, asked, _sizes)


def sizes_and_company(seen: Recorded, asked: Recorded) -> Times:
    """And through how many requests were under way; only a recording tells that."""
    return _regressed(seen, asked, _sizes_and_company)


RIVALS: Mapping[str, Callable[[Recorded, Recorded], Times]] = {
    "constant": constant,
    "constant pace": constant_pace,
    "sizes": sizes,
    "sizes and company": sizes_and_company,
}


def _regressed(seen: Recorded, asked: Recorded, features: Callable[[Recorded], Floats]) -> Times:
    made = []
    for name in ("ttft", "tpot"):
        rows, real = features(seen), getattr(seen.times, name)
        known = np.isfinite(real) & (real > 0)
        made.append(np.maximum(features(asked) @ _line(rows[known], real[known]), 0.0))
    return _of_pace(made[0], made[1], asked)


def _line(rows: Floats, real: Floats) -> Floats:
    """Least absolute ratios, nearly: a few rounds of weights."""
    weights = 1 / np.maximum(real, _LEAST_SECONDS)
    found: Floats = np.zeros(rows.shape[1])
    for _ in range(8):
        solved = np.linalg.lstsq(rows * weights[:, None], real * weights, rcond=None)
        found = np.asarray(solved[0], dtype=np.float64)
        miss = np.abs(rows @ found - real) / np.maximum(real, _LEAST_SECONDS)
        weights = 1 / np.maximum(real, _LEAST_SECONDS) / np.sqrt(np.maximum(miss, 1e-3))
    return found


def _sizes(rows: Recorded) -> Floats:
    work = rows.workload
    return np.stack([np.ones(len(work)), work.prompt, work.output], axis=1).astype(np.float64)


def _sizes_and_company(rows: Recorded) -> Floats:
    return np.concatenate([_sizes(rows), under_way(rows)[:, None]], axis=1)


def under_way(rows: Recorded) -> Floats:
    """(n,) requests of the same replica that had arrived and not ended when each arrived."""
    found = np.zeros(len(rows))
    for number in np.unique(rows.replica):
        mine = np.flatnonzero(rows.replica == number)
        at = rows.workload.arrived[mine]
        ended = np.sort(at + rows.times.e2e[mine])
        found[mine] = np.arange(len(mine)) - np.searchsorted(ended, at, "right")
    return found


def _of_pace(ttft: Floats, tpot: Floats, asked: Recorded) -> Times:
    more = asked.workload.output - 1
    return Times(ttft, np.where(more > 0, tpot, np.nan), ttft + np.where(more > 0, tpot * more, 0))


def _parts(times: Times) -> tuple[Floats, Floats, Floats]:
    return times.ttft, times.tpot, times.e2e


def _middle(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
