"""How long requests are: exact quantiles, log2 bins, the joint picture.

Lengths are whole tokens, so every function works on distinct values and how often each occurs:
ten million requests are a few thousand pairs, and nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.workload.sums import dot

Values = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BINS_PER_OCTAVE = 4
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
BINS_SCHEMA = {
    "low_tokens": pl.Int64,
    "high_tokens": pl.Int64,
    "requests": pl.Int64,
    "cdf_ratio": pl.Float64,
}
JOINT_SCHEMA = {
    "input_low_tokens": pl.Int64,
    "input_high_tokens": pl.Int64,
    "output_low_tokens": pl.Int64,
    "output_high_tokens": pl.Int64,
    "requests": pl.Int64,
}


@dataclass(frozen=True, slots=True)
class Lengths:
    """Distinct lengths and how often each occurs.

    Attributes:
        values: distinct tokens, ascending, >= 0.
        counts: requests with that length, >= 1.
    """

    values: Values
    counts: Values

    @property
    def requests(self) -> int:
        """How many requests there are."""
        return int(self.counts.sum())

    def positive(self) -> Lengths:
        """Without the zero-token ones, whose logarithm does not exist."""
        kept = self.values > 0
        return Lengths(self.values[kept], self.counts[kept])


def pooled(parts: Sequence[Lengths]) -> Lengths:
    """The lengths of several bodies of requests as one."""
    held = [part for part in parts if part.values.size]
    if len(held) == 1:
        return held[0]
    nothing = np.empty(0, dtype=np.int64)
    every = np.concatenate([nothing, *(part.values for part in held)])
    values, place = np.unique(every, return_inverse=True)
    counts = np.zeros(values.size, dtype=np.int64)
    np.add.at(counts, place, np.concatenate([nothing, *(part.counts for part in held)]))
    return Lengths(values, counts)


def mean(lengths: Lengths) -> float | None:
    """Mean tokens; None without a request."""
    requests = lengths.requests
    return dot(lengths.values, lengths.counts) / requests if requests else None


def quantile(lengths: Lengths, ratio: float) -> float | None:
    """The exact quantile, linear between neighbours (Hyndman & Fan type 7); None when empty.

    Args:
        lengths: any.
        ratio: 0 to 1.
    """
    requests = lengths.requests
    if requests == 0:
        return None
    place = (requests - 1) * ratio
    lower = int(np.floor(place))
    cumulative = np.cumsum(lengths.counts)
    at = np.searchsorted(cumulative, [lower, min(lower + 1, requests - 1)], side="right")
    low, high = lengths.values[at]
    return float(low + (high - low) * (place - lower))


def variation(lengths: Lengths) -> float | None:
    """Population standard deviation ÷ mean; None when unknowable."""
    average = mean(lengths)
    if not average:
        return None
    squares = dot((lengths.values - average) ** 2, lengths.counts) / lengths.requests
    return float(np.sqrt(squares)) / average


def ecdf(lengths: Lengths) -> Floats:
    """Share of requests with at most `values` tokens, at each distinct value."""
    return np.asarray(np.cumsum(lengths.counts) / max(1, lengths.requests), dtype=np.float64)


def bin_edges(largest: int) -> Values:
    """Whole-token edges, four to the octave where it has room: 0, 1, 2, 3, 4, 5, 6, 7, 8, 10."""
    octaves = int(np.ceil(np.log2(max(2, largest + 1))))
    steps = np.arange(octaves * BINS_PER_OCTAVE + 1) / BINS_PER_OCTAVE
    edges = np.unique(np.ceil(2.0**steps - 1e-9).astype(np.int64))
    return np.concatenate((np.zeros(1, dtype=np.int64), edges))


def histogram(lengths: Lengths) -> pl.DataFrame:
    """low_tokens (inclusive), high_tokens (exclusive), requests, cdf_ratio (share below high).

    The empirical distribution, exact at every edge; from the first to the last occupied bin.
    """
    if lengths.requests == 0:
        return pl.DataFrame(schema=BINS_SCHEMA)
    edges = bin_edges(int(lengths.values[-1]))
    place = np.searchsorted(edges, lengths.values, side="right") - 1
    requests = np.bincount(place, weights=lengths.counts, minlength=edges.size - 1)
    first, last = int(place[0]), int(place[-1])
    kept = requests[first : last + 1].astype(np.int64)
    return pl.DataFrame(
        {
            "low_tokens": edges[first : last + 1],
            "high_tokens": edges[first + 1 : last + 2],
            "requests": kept,
            "cdf_ratio": np.cumsum(kept) / lengths.requests,
        },
        schema=BINS_SCHEMA,
    )


def joint_frame(octaves: pl.DataFrame) -> pl.DataFrame:
    """Token edges of a frame with input_octave, output_octave (-1: zero tokens), requests."""

    def edge(column: str, step: int) -> pl.Expr:
        power = pl.col(column).cast(pl.Int64) + step
        return pl.when(power < 0).then(0).otherwise(pl.lit(2, pl.Int64).pow(power))

    return octaves.select(
        edge("input_octave", 0).alias("input_low_tokens"),
        edge("input_octave", 1).alias("input_high_tokens"),
        edge("output_octave", 0).alias("output_low_tokens"),
        edge("output_octave", 1).alias("output_high_tokens"),
        pl.col("requests"),
    ).cast(JOINT_SCHEMA)  # type: ignore[arg-type]


def share_near_largest(lengths: Lengths) -> float | None:
    """Share of requests within a tenth of a percent of the largest: a pile there is a cap.

    None when empty.
    """
    if lengths.requests == 0:
        return None
    near = lengths.values >= lengths.values[-1] * 0.999
    return float(lengths.counts[near].sum()) / lengths.requests
