"""Short histories in a policy's memory: lists of [at, value], oldest first."""

from __future__ import annotations

from collections.abc import Sequence

Point = Sequence[float]
History = Sequence[Point]


def added(history: History, at: float, value: float, seconds: float) -> list[list[float]]:
    """`history` with one more point, without those older than `seconds`."""
    kept = [[float(t), float(v)] for t, v in history if at - t <= seconds and t <= at]
    return [*kept, [float(at), float(value)]]


def within(history: History, at: float, seconds: float) -> list[float]:
    """Values of the last `seconds`, the edge with them."""
    return [float(value) for time, value in history if at - time <= seconds]


def newer(history: History, at: float, seconds: float) -> list[float]:
    """Values of the last `seconds`, without the edge; of no seconds there are none."""
    return [float(value) for time, value in history if at - time < seconds]


def mean(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return sum(values) / len(values) if values else None
