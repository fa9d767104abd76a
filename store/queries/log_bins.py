"""Logarithmic bins for latencies: one scan of counts gives heatmap, quantiles, ECDF and attainment.

A bin is a number of sixteenths of an octave: bin b holds [2^(b/16), 2^((b+1)/16)) seconds. Reading
a bin at its geometric middle is wrong by at most 2^(1/32) - 1 = 2.2 %.
"""

from __future__ import annotations

import math

BINS_PER_OCTAVE = 16
SMALLEST_SECONDS = 1e-9
MIDDLE_ERROR_RATIO = 2 ** (1 / (2 * BINS_PER_OCTAVE)) - 1


def log_bin_sql(column: str) -> str:
    """SQL for the bin of a quantity in seconds; NULL stays NULL, zero lands in the bin of 1 ns.

    Args:
        column: a column name or expression of our own, never user input.
    """
    # `greatest` skips NULLs, so it would make a bin of what is unknown.
    known = f"CASE WHEN {column} >= {SMALLEST_SECONDS} THEN {column}"
    positive = f"{known} WHEN {column} IS NOT NULL THEN {SMALLEST_SECONDS} END"
    return f"CAST(floor(log2({positive}) * {BINS_PER_OCTAVE}) AS INTEGER)"


def log_bin(seconds: float) -> int:
    """The bin of one value; the same rule as `log_bin_sql`."""
    return math.floor(math.log2(max(seconds, SMALLEST_SECONDS)) * BINS_PER_OCTAVE)


def lower_edge_seconds(index: int) -> float:
    """Smallest value of the bin, inclusive."""
    return math.pow(2.0, index / BINS_PER_OCTAVE)


def upper_edge_seconds(index: int) -> float:
    """End of the bin, exclusive."""
    return math.pow(2.0, (index + 1) / BINS_PER_OCTAVE)


def middle_seconds(index: int) -> float:
    """The geometric middle, by which a bin is read (at most 2.2 % wrong)."""
    return math.pow(2.0, (index + 0.5) / BINS_PER_OCTAVE)
