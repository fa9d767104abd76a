"""Cost against attainment: which settings are beaten by none, which one to take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Point:
    """A setting and what it came to.

    Attributes:
        parameters: of the policy.
        gpu_hours: less is better.
        attainment_ratio: more is better.
    """

    parameters: dict[str, Any]
    gpu_hours: float
    attainment_ratio: float


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats in both, the cheapest first; of equal ones the first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p.gpu_hours, -p.attainment_ratio)):
        if not found or point.attainment_ratio > found[-1].attainment_ratio:
            found.append(point)
    return found


def chosen(points: Sequence[Point], attainment_ratio: float) -> Point | None:
    """The cheapest that keeps the objective; else the one that misses it least."""
    kept = [point for point in points if point.attainment_ratio >= attainment_ratio]
    if kept:
        return min(kept, key=lambda p: (p.gpu_hours, -p.attainment_ratio))
    return max(points, key=lambda p: (p.attainment_ratio, -p.gpu_hours), default=None)


def first_that(values: Sequence[T], is_enough: Callable[[T], bool]) -> T:
    """The first of rising values that is enough, the last when none is; asks log2(n) times.

    Args:
        values: at least one; if one is enough, those after it are.
        is_enough: asked for single values.
    """
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if is_enough(values[middle]):
            high = middle
        else:
            low = middle + 1
    return values[low]
