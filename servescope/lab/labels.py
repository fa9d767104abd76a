"""What a victim lost: the time its pieces take alone, over the time they took.

A trace repeats a few kinds of pieces, so each kind's time alone is a mean over many. Over any
stretch of time, P = sum of what its pieces would have taken alone / time they were under way, where
a piece across an edge counts by the part that lies inside. Pauses between pieces do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
PIECE, START, END, FIRST, AMOUNT = range(5)


@dataclass(frozen=True, slots=True)
class Ideal:
    """Seconds alone, by piece; NaN where it was never done alone.

    Attributes:
        whole: until a piece is done.
        first: until its first part.
    """

    whole: Floats
    first: Floats


@dataclass(frozen=True, slots=True)
class Loss:
    """By stretch of time; NaN where nothing was under way.

    Attributes:
        ratio: P, above 1 where it was faster than alone.
        first_ratio: the same of the time until the first part.
        busy_seconds: summed over what was under way at once.
        amount: what was made.
        pieces: parts of pieces done.
    """

    ratio: Floats
    first_ratio: Floats
    busy_seconds: Floats
    amount: Floats
    pieces: Floats


def ideal(runs: Sequence[Floats], pieces: int) -> Ideal:
    """Mean times of runs alone.

    Args:
        runs: their events, (n, 5) each.
        pieces: how many kinds there are.
    """
    events = np.concatenate([run.reshape(-1, 5) for run in runs]) if runs else np.empty((0, 5))
    kind = events[:, PIECE].astype(int)
    return Ideal(
        _means(kind, events[:, END] - events[:, START], pieces),
        _means(kind, events[:, FIRST] - events[:, START], pieces),
    )


def loss(events: Floats, alone: Ideal, starts: Floats, ends: Floats) -> Loss:
    """What was lost in each stretch.

    Args:
        events: (n, 5) of a run.
        alone: times alone.
        starts: (m,) monotonic seconds.
        ends: (m,) likewise.
    """
    events = events.reshape(-1, 5)
    events = events[np.isfinite(alone.whole[events[:, PIECE].astype(int)])]
    kind = events[:, PIECE].astype(int)
    start, end = events[:, START, None], events[:, END, None]
    inside = np.clip(np.minimum(end, ends) - np.maximum(start, starts), 0.0, None)  # (n, m)
    share = inside / np.maximum(end - start, 1e-9)
    busy = inside.sum(axis=0)
    began = (start >= starts) & (start < ends)
    first = events[:, FIRST] - events[:, START]
    told = np.isfinite(first) & np.isfinite(alone.first[kind])
    waited = (began * np.where(told, first, 0.0)[:, None]).sum(axis=0)
    expected = (began * np.where(told, alone.first[kind], 0.0)[:, None]).sum(axis=0)
    return Loss(
        ratio=_ratio((share * alone.whole[kind][:, None]).sum(axis=0), busy),
        first_ratio=_ratio(expected, waited),
        busy_seconds=busy,
        amount=(share * events[:, AMOUNT, None]).sum(axis=0),
        pieces=share.sum(axis=0),
    )


def overall(events: Floats, alone: Ideal, start: float, end: float) -> Loss:
    """The same of one stretch."""
    return loss(events, alone, np.array([start]), np.array([end]))


def _means(kind: npt.NDArray[Any], values: Floats, pieces: int) -> Floats:
    known = np.isfinite(values)
    counts = np.bincount(kind[known], minlength=pieces)
    sums = np.bincount(kind[known], values[known], minlength=pieces)
    return _ratio(sums.astype(np.float64), counts.astype(np.float64))


def _ratio(part: Floats, whole: Floats) -> Floats:
    found = np.full(len(whole), np.nan)
    np.divide(part, whole, out=found, where=whole > 0)
    return found
