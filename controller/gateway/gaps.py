"""Gaps between chunks, summarised as they come: a few hundred bytes a stream, however long."""

from __future__ import annotations

import math
from array import array

LEAST_SECONDS = 1e-4
BINS_PER_OCTAVE = 4
BINS = 84
"""From 0.1 ms to 200 s; each bin is 19 % wide, so a quantile is right within 9 %."""


class Gaps:
    """How long a client waited between chunks with content.

    The n-th bin holds gaps up to `LEAST_SECONDS * 2 ** (n / BINS_PER_OCTAVE)`.
    """

    __slots__ = ("_bins", "count", "longest_seconds", "total_seconds")

    def __init__(self) -> None:
        self.count = 0
        self.total_seconds = 0.0
        self.longest_seconds = 0.0
        self._bins: array[int] | None = None

    def add(self, seconds: float, count: int = 1) -> None:
        """So many gaps of this length; chunks that come together have none between them."""
        if self._bins is None:
            self._bins = array("L", bytes(8 * BINS))
        if seconds <= LEAST_SECONDS:
            where = 0
        else:
            octaves = math.log2(seconds / LEAST_SECONDS)
            where = min(math.ceil(octaves * BINS_PER_OCTAVE), BINS - 1)
        self._bins[where] += count
        self.count += count
        self.total_seconds += seconds * count
        self.longest_seconds = max(self.longest_seconds, seconds)

    @property
    def mean_seconds(self) -> float | None:
        """None without a gap."""
        return self.total_seconds / self.count if self.count else None

    def quantile_seconds(self, share: float) -> float | None:
        """The gap that so large a share of the gaps does not pass; None without a gap.

        Args:
            share: 0 to 1.
        """
        if self._bins is None or not self.count:
            return None
        rank, seen = share * self.count, 0
        for where, count in enumerate(self._bins):
            seen += count
            if count and seen >= rank:
                middle = LEAST_SECONDS * math.exp2((where - 0.5) / BINS_PER_OCTAVE)
                return min(middle, self.longest_seconds)
        return self.longest_seconds

    def bins(self) -> tuple[tuple[float, int], ...]:
        """Upper edge in seconds and count of each bin that holds something."""
        return tuple(
            (LEAST_SECONDS * math.exp2(where / BINS_PER_OCTAVE), count)
            for where, count in enumerate(self._bins or ())
            if count
        )
