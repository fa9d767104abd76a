"""What is looked at: signals of places, sampled together, and when one of them went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Role = Literal["limit", "stock", "flow", "load", "outcome"]

# Samples this many usual steps apart do not follow each other.
GAP_STEPS = 3.0
# A reference is as long as the fault and this many steps more, where they are there.
REFERENCE_STEPS = 60


@dataclass(frozen=True, slots=True)
class Signal:
    """One column of a table.

    Attributes:
        place: whose it is: an instance, a card, a machine, a service.
        name: what it tells, unique at its place.
        kind: signals of one kind have one unit and can be compared between places.
        role: "limit" (throttling, faults), "stock" (what fills up: memory, cache), "flow" (what is
            used while it runs: processor, bandwidth, power), "load" (what is asked for) or
            "outcome" (what requests feel: latency, errors).
        harm: 1 when rising hurts, -1 when falling hurts, 0 when either may.
        ceiling: value without any harm, of a share such as availability; None for all others.
        counted_by: name of the signal at the same place with the number of events behind each
            sample of a mean or share; None where that is unknown or makes no sense.
        is_additive: whether value x events adds up over places (means and shares do, quantiles do
            not).
        unit: a change as large as this is half of what can be; None takes the usual level of its
            kind.
    """

    place: str
    name: str
    kind: str
    role: Role = "flow"
    harm: int = 1
    ceiling: float | None = None
    counted_by: str | None = None
    is_additive: bool = False
    unit: float | None = None

    @property
    def key(self) -> str:
        """Unique in a table."""
        return f"{self.place}|{self.name}"


@dataclass(frozen=True)
class Case:
    """A table of samples in which one signal went wrong.

    Attributes:
        signals: the columns.
        times: (n,) seconds, rising; gaps are allowed.
        values: (n, columns); NaN where nothing was sampled.
        target: column of what went wrong.
        onset: first row of the fault; the fault lasts to the last row.
    """

    signals: Sequence[Signal]
    times: Floats
    values: Floats
    target: int
    onset: int

    @cached_property
    def oriented(self) -> Floats:
        """(n, columns) in which more is more harm, except where harm is 0: those as they are."""
        columns = [_oriented(s, self.values[:, i]) for i, s in enumerate(self.signals)]
        return np.column_stack(columns)

    @cached_property
    def step_seconds(self) -> float:
        """The usual distance of two samples."""
        return float(np.median(np.diff(self.times)))

    @cached_property
    def reference_start(self) -> int:
        """First row of what was sampled without a gap right before the onset; onset if nothing."""
        row, most = self.onset, len(self.times) - self.onset + REFERENCE_STEPS
        near = GAP_STEPS * self.step_seconds
        while row > 0 and self.onset - row < most and self.times[row] - self.times[row - 1] <= near:
            row -= 1
        return row

    def column(self, place: str, name: str) -> int | None:
        """Where a signal stands; None when it is not in the table."""
        return self._places.get((place, name))

    @cached_property
    def _places(self) -> dict[tuple[str, str], int]:
        return {(s.place, s.name): i for i, s in enumerate(self.signals)}


def _oriented(signal: Signal, values: Floats) -> Floats:
    if signal.ceiling is not None:
        return signal.ceiling - values
    return -values if signal.harm < 0 else values
