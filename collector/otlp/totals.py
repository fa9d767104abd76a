"""Running totals of series: deltas are added up, and a restart that hides in the numbers is shown.

The store holds cumulative values, and a restart is a drop. A sender of deltas is given a total that
starts at 0 when this process does: after a restart of ours it drops, which reads as what it is. A
sender of cumulative values tells of its restart by a new start time; when it has already counted
past the old value there is no drop to be seen, so a zero at the start is put before it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from collector.otlp.buckets import Buckets
from collector.otlp.model import DELTA
from collector.otlp.names import Labels

Key = tuple[str, str, Labels]  # target, name, labels

MOST_SERIES = 200_000


@dataclass(frozen=True, slots=True)
class Value:
    """A counter's value, or a histogram with its buckets.

    Attributes:
        count: the counter's value, or observations of a histogram.
        total: sum of the observations; None when the sender does not tell.
        buckets: cumulative, by edge.
    """

    count: float
    total: float | None = None
    buckets: Buckets = ()

    def plus(self, other: Value) -> Value:
        """Both together, at the edges where both are known."""
        pairs = (
            (edge, self._at(edge), other._at(edge))
            for edge in sorted({edge for edge, _ in (*self.buckets, *other.buckets)})
        )
        return Value(
            self.count + other.count,
            None if self.total is None or other.total is None else self.total + other.total,
            tuple(
                (edge, first + second)
                for edge, first, second in pairs
                if first is not None and second is not None
            ),
        )

    def _at(self, edge: float) -> float | None:
        """Observations at or below `edge`; None between two edges with observations in between.

        Exponential histograms show only the part of their grid that is in use.
        """
        place = bisect_left(self.buckets, (edge,))
        if place < len(self.buckets) and self.buckets[place][0] == edge:
            return self.buckets[place][1]
        below = self.buckets[place - 1][1] if place else 0.0
        above = self.buckets[place][1] if place < len(self.buckets) else self.count
        return below if below == above else None

    def zero(self) -> Value:
        """The same layout, empty."""
        return Value(
            0.0,
            None if self.total is None else 0.0,
            tuple((edge, 0.0) for edge, _ in self.buckets),
        )


@dataclass(slots=True)
class _Known:
    start_ns: int
    time_ns: int
    value: Value


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be stored for one point.

    Attributes:
        value: cumulative.
        zero_at_ns: a restart that must be shown, as a zero at this time; 0 when there is none.
    """

    value: Value
    zero_at_ns: int = 0


class Totals:
    """The last value of every series that counts.

    Args:
        most_series: series that are remembered; more are refused.
    """

    def __init__(self, most_series: int = MOST_SERIES) -> None:
        self._most_series = most_series
        self._known: dict[Key, _Known] = {}

    def has_room(self, key: Key) -> bool:
        """Whether a series is known, or can be."""
        return key in self._known or len(self._known) < self._most_series

    def add(
        self, key: Key, temporality: int, start_ns: int, time_ns: int, value: Value
    ) -> Told | None:
        """The cumulative value at a point; None for a delta that was added before.

        Args:
            key: the series.
            temporality: 1 delta, anything else is cumulative.
            start_ns: when counting began; 0 when not told.
            time_ns: the point's time.
            value: as sent.
        """
        known = self._known.get(key)
        if known is None:
            self._known[key] = _Known(start_ns, time_ns, value)
            return Told(value)
        if temporality == DELTA:
            if time_ns <= known.time_ns:
                return None
            self._known[key] = _Known(start_ns, time_ns, known.value.plus(value))
            return Told(self._known[key].value)
        if time_ns <= known.time_ns:
            return Told(value)
        self._known[key] = _Known(start_ns, time_ns, value)
        hidden = start_ns <= time_ns and _hides_restart(known, start_ns, value)
        return Told(value, start_ns if hidden else 0)


def _hides_restart(known: _Known, start_ns: int, value: Value) -> bool:
    restarted = known.start_ns and start_ns > known.time_ns
    return bool(restarted and value.count >= known.value.count)
