"""Numbers in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile

# Clocks without a date are kept from 1970-01-01.
_FIRST_DATED_YEAR = 1990


def number_text(value: float) -> str:
    """Three significant digits below a hundred, whole and separated above: 0.0136, 16.4, 1,155."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def factor_text(value: float) -> str:
    """How many times as much, for people: "10x", "2.4x"."""
    return f"{value:,.0f}x" if value >= 10 else f"{value:.2g}x"


def time_text(at: datetime) -> str:
    """A time: with its date, or "day 3 09:12:05" of the trace where the clock has none."""
    if at.year >= _FIRST_DATED_YEAR:
        return f"{at:%Y-%m-%d %H:%M:%S}"
    day = (at - datetime(1970, 1, 1, tzinfo=at.tzinfo)).days + 1
    return f"day {day} {at:%H:%M:%S}"


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names without the beginning they all share, up to a dash: azure-2023-code becomes code."""
    letters = zip(*names, strict=False)
    shared = "".join(same[0] for same in takewhile(lambda same: len(set(same)) == 1, letters))
    cut = shared.rfind("-") + 1 if len(names) > 1 else 0
    return {name: name[cut:] or name for name in names}
