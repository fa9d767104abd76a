"""Numbers of a view document in the few letters that a terminal has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from store.units import percent_text, seconds_text

UNKNOWN = "-"
_BARS = "▁▂▃▄▅▆▇█"


def number(value: float | None) -> str:
    """Three digits that matter, short thousands; a dash where it is unknown."""
    if value is None:
        return UNKNOWN
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if suffix == 'k' else limit):.3g}{suffix}"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def seconds(value: float | None) -> str:
    """A duration; a dash where it is unknown."""
    return UNKNOWN if value is None else seconds_text(value)


def percent(value: float | None, digits: int = 1) -> str:
    """A share; a dash where it is unknown."""
    return UNKNOWN if value is None else percent_text(value, digits)


def times(value: float | None) -> str:
    """A burn; a dash where it is unknown."""
    return UNKNOWN if value is None else f"{value:.3g}x"


def interval(low: float | None, high: float | None) -> str:
    """A latency between two edges: "320 ms", "500 ms-1 s", "<= 300 ms" or ">= 60 s"."""
    if low is None and high is None:
        return UNKNOWN
    if not low:
        return f"<= {seconds_text(high)}"
    if high is None:
        return f">= {seconds_text(low)}"
    left, right = seconds_text(low), seconds_text(high)
    return left if left == right else f"{left}-{right}"


def between(row: Mapping[str, Any], name: str) -> str:
    """The interval of `name` in a row."""
    return interval(row.get(f"{name}_low"), row.get(f"{name}_high"))


def spark(values: Sequence[float | None], width: int = 16) -> str:
    """The last values as bars from 0 to the largest; a blank where one is unknown."""
    last = list(values)[-width:]
    most = max((value for value in last if value is not None), default=0.0)
    return "".join(_bar(value, most) for value in last)


def _bar(value: float | None, most: float) -> str:
    if value is None:
        return " "
    place = round(value / most * (len(_BARS) - 1)) if most > 0 else 0
    return _BARS[min(max(place, 0), len(_BARS) - 1)]
