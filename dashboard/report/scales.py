"""Axes: round numbers from 0, and round times in a zone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_TIME_STEPS = (
    60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
    1_209_600, 2_592_000,
)  # fmt: skip
MOST_TIMES = 8


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of an axis: where, and what stands beside it."""

    at: float
    text: str


def instant(text: str) -> datetime:
    """A time as views tell it, aware; without an offset it is UTC."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def round_steps(low: float, high: float, most: int = 4) -> list[float]:
    """Round numbers from `low` to the first at or above `high`, at most about `most` steps.

    Args:
        low: 0, or less where values lie below.
        high: above `low`.
        most: steps.
    """
    step = _round_up((high - low) / most)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _round_up(step: float) -> float:
    size = 10.0 ** math.floor(math.log10(step))
    return next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= step * 0.999)


def time_ticks(start: datetime, end: datetime, zone: ZoneInfo, *, dated: bool = True) -> list[Tick]:
    """Round times between two, seconds since the epoch; at most `MOST_TIMES`.

    Args:
        start: aware.
        end: aware, later.
        zone: whose midnight and hours are round.
        dated: False for trace time, whose dates mean nothing: days are counted.
    """
    length = (end - start).total_seconds()
    step = next((one for one in _TIME_STEPS if length / one <= MOST_TIMES), _TIME_STEPS[-1])
    local = start.astimezone(zone).replace(tzinfo=None)
    origin = datetime(1970, 1, 5) if step >= 604_800 else datetime(1970, 1, 1)  # noqa: DTZ001
    number = -(-int((local - origin).total_seconds()) // step)
    ticks: list[Tick] = []
    while True:
        wall = origin + timedelta(seconds=number * step)
        at = wall.replace(tzinfo=zone)
        if at >= end:
            return ticks
        if at >= start:
            ticks.append(Tick(at.timestamp(), _time_text(wall, step, dated=dated)))
        number += 1


def _time_text(wall: datetime, step: int, *, dated: bool) -> str:
    day = f"{wall:%-d %b}" if dated else f"day {(wall - datetime(1970, 1, 1)).days + 1}"  # noqa: DTZ001
    if step >= 86_400:
        return day
    return day if wall.hour == wall.minute == 0 else f"{wall:%H:%M}"
