"""Who asks: how unequal the shares are, and how each client behaves on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.workload.arrivals import MICROSECONDS, Floats, Stamps
from analysis.workload.sums import dot

LORENZ_SCHEMA = {
    "dimension": pl.String,
    "clients_ratio": pl.Float64,
    "requests_ratio": pl.Float64,
    "tokens_ratio": pl.Float64,
}
CLIENTS_SCHEMA = {
    "client": pl.String,
    "requests": pl.Float64,
    "share_ratio": pl.Float64,
    "requests_per_second": pl.Float64,
    "interarrival_cv": pl.Float64,
    "input_tokens_mean": pl.Float64,
    "output_tokens_mean": pl.Float64,
    "failure_ratio": pl.Float64,
}
_LORENZ_POINTS = 200


def gini(amounts: Floats) -> float | None:
    """Gini coefficient: 0 = all equal, towards 1 = one has everything.

    None without clients or when nobody has anything. Source: G = 2·sum(i·x_i) / (n·sum(x)) -
    (n + 1)/n over ascending x.
    """
    total = float(amounts.sum())
    if amounts.size == 0 or total <= 0:
        return None
    ordered = np.sort(amounts)
    size = ordered.size
    ranks = np.arange(1, size + 1)
    return 2 * dot(ranks, ordered) / (size * total) - (size + 1) / size


def top_share(amounts: Floats, most: int) -> float | None:
    """Share of the total that the `most` largest hold; None when the total is 0."""
    total = float(amounts.sum())
    return float(np.sort(amounts)[::-1][:most].sum()) / total if total > 0 else None


def lorenz_frame(dimension: str, requests: Floats, tokens: Floats | None) -> pl.DataFrame:
    """dimension, clients_ratio, requests_ratio, tokens_ratio: cumulative shares, smallest first.

    Requests and tokens are each put in their own order, as a Lorenz curve demands. At most about
    200 points; tokens_ratio is null when no tokens are known.
    """
    size = requests.size
    if size == 0:
        return pl.DataFrame(schema=LORENZ_SCHEMA)
    places = np.unique(np.rint(np.linspace(0, size, min(size, _LORENZ_POINTS) + 1)).astype(int))
    known = tokens is not None and float(tokens.sum()) > 0
    return pl.DataFrame(
        {
            "dimension": [dimension] * places.size,
            "clients_ratio": places / size,
            "requests_ratio": _cumulative(requests)[places],
            "tokens_ratio": _cumulative(tokens)[places] if known and tokens is not None else None,
        },
        schema=LORENZ_SCHEMA,
    )


def _cumulative(amounts: Floats) -> Floats:
    total = float(amounts.sum())
    shares = np.cumsum(np.sort(amounts)) / (total if total > 0 else 1.0)
    return np.concatenate(([0.0], shares))


def variation_by_client(
    codes: npt.NDArray[np.integer[Any]], at_us: Stamps
) -> tuple[npt.NDArray[np.integer[Any]], Floats]:
    """Each client's inter-arrival variation, on its own stream.

    Args:
        codes: a whole number per client, one entry a request, any order; fastest below 65,536.
        at_us: when each request arrived, microseconds.

    Returns:
        Distinct codes ascending, and the coefficient of variation of the gaps of each; NaN with
        fewer than two gaps or no time between them.
    """
    if codes.size == 0:
        return codes, np.empty(0)
    small = codes.astype(np.uint16) if int(codes.max()) < (1 << 16) else codes
    if not bool(np.all(at_us[1:] >= at_us[:-1])):
        by_time = np.argsort(at_us, kind="stable")
        small, at_us = small[by_time], at_us[by_time]
    # numpy sorts 16-bit keys by radix: linear, and stable, so time order survives.
    order = np.argsort(small, kind="stable")
    ordered = small[order]
    starts = np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1))
    gaps = np.diff(at_us[order], prepend=at_us[order[0]]) / MICROSECONDS
    gaps[starts] = 0.0
    counts = np.diff(np.append(starts, ordered.size)) - 1
    sums = np.add.reduceat(gaps, starts)
    squares = np.add.reduceat(gaps * gaps, starts)
    usable = (counts >= 2) & (sums > 0)
    mean = np.where(usable, sums, 1.0) / np.maximum(counts, 1)
    variance = np.maximum(squares / np.maximum(counts, 1) - mean**2, 0.0)
    return ordered[starts], np.where(usable, np.sqrt(variance) / mean, np.nan)


def rate_clients(rates: pl.DataFrame) -> pl.DataFrame:
    """Clients of rate series, most requests first, as `CLIENTS_SCHEMA`.

    Args:
        rates: client, window_seconds, rate_per_second, interarrival_cv, family, at. Requests are
            the sum of rate x window. A window without a family had too few arrivals to know its
            variation and does not count in it; the others count by their requests.
    """
    amount = pl.col("rate_per_second") * pl.col("window_seconds")
    varied = pl.col("family").is_not_null() & pl.col("interarrival_cv").is_not_null()
    known = amount.filter(varied).sum()
    seconds = _covered_window_seconds(rates)
    total = float(rates.select(amount.sum()).item() or 0.0)
    return (
        rates.group_by("client")
        .agg(
            amount.sum().alias("requests"),
            pl.when(known > 0)
            .then((amount * pl.col("interarrival_cv")).filter(varied).sum() / known)
            .alias("interarrival_cv"),
        )
        .sort("requests", "client", descending=[True, False])
        .select(
            "client",
            "requests",
            (pl.col("requests") / total if total > 0 else pl.lit(None)).alias("share_ratio"),
            (pl.col("requests") / seconds if seconds > 0 else pl.lit(None)).alias(
                "requests_per_second"
            ),
            "interarrival_cv",
            *(pl.lit(None, pl.Float64).alias(name) for name in list(CLIENTS_SCHEMA)[5:]),
        )
        .cast(CLIENTS_SCHEMA)  # type: ignore[arg-type]
    )


def _covered_window_seconds(rates: pl.DataFrame) -> float:
    """Seconds that the windows of all clients cover together."""
    windows = rates.select("at", "window_seconds").unique("at")
    return float(windows["window_seconds"].sum() or 0.0)


def weighted_variation(rates: pl.DataFrame) -> float | None:
    """Variation of the windows' gaps, weighted by their rates; None when no window knows it."""
    known = rates.filter(
        pl.col("family").is_not_null() & pl.col("interarrival_cv").is_not_null()
    ).select(
        (pl.col("rate_per_second") * pl.col("interarrival_cv")).sum().alias("weighted"),
        pl.col("rate_per_second").sum().alias("weight"),
    )
    weighted, weight = known.row(0)
    return weighted / weight if weight else None
