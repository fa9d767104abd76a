"""What one row of the signal catalogue says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True)
class Signal:
    """One row of the catalogue.

    Args:
        name: canonical name, unit included where there is one.
        kind: `gauge` (now), `counter` (cumulative since the engine started) or `histogram`
            (cumulative buckets).
        unit: unit of a value; for a histogram the unit of what is observed.
        meaning: one sentence for people.
        low: smallest possible value, or observed value for a histogram; None = no lower bound.
        high: largest possible value; None = no upper bound.
        labels: label names a series of this signal may carry besides `model`.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    low: float | None = 0.0
    high: float | None = None
    labels: tuple[str, ...] = ()

    def accepts(self, value: float) -> bool:
        """Whether `value` is a finite number inside the valid range."""
        if value != value or value in (float("inf"), float("-inf")):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
