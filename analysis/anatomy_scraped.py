"""What engines' histograms say about latency: intervals for quantiles, exact means, no ranks.

A histogram knows how many observations lie between two edges, and their sum. So the heat map's
cells are its buckets, a quantile is the bucket that holds it, a mean is exact, and nothing is said
about single requests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from analysis import series
from analysis.anatomy_stack import STACK_SCHEMA, with_unattributed
from analysis.doors import counted_targets
from analysis.histograms import Histogram, Observed, merge, quantile_interval
from analysis.instances import in_scope, instance_name
from analysis.scraped import observations as observed_by_scrapes
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader

HEATMAP_SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us"),
    "low_seconds": pl.Float64,
    "high_seconds": pl.Float64,
    "requests": pl.Float64,
}
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
QUANTILES_SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us"),
    **{
        f"{name}_seconds{suffix}": pl.Float64
        for name in QUANTILES
        for suffix in ("", "_low", "_high")
    },
    "requests": pl.Float64,
}
ECDF_SCHEMA: dict[str, Any] = {
    "series": pl.String,
    "seconds": pl.Float64,
    "share_low": pl.Float64,
    "share_high": pl.Float64,
    "requests": pl.Float64,
}
MEANS = ("queue", "prefill", "decode")


def observations(
    reader: Reader, scope: Scope, signals: Sequence[str], width_seconds: int
) -> list[tuple[str, Observed]]:
    """What the scope's instances observed in each bin: instance name and observations.

    Bins count back from the round moment after the end of the range.
    """
    if LIVE_SOURCE_ID not in scope.source_ids:
        return []
    targets = counted_targets(reader, scope.end)
    names = {
        row["target_id"]: instance_name(row["url"])
        for row in targets.iter_rows(named=True)
        if in_scope(scope, instance_name(row["url"]), row["model"])
    }
    if not names:
        return []
    axis = series.round_bins(scope.start, scope.end, width_seconds)
    anchor = axis["at"][-1] + timedelta(seconds=width_seconds)
    found = observed_by_scrapes(
        reader, signals, scope.start, scope.end, width_seconds, anchor, targets=list(names)
    )
    return [
        (names[item.target_id], item)
        for item in found
        if item.bin >= 0 and item.histogram.count > 0
    ]


def heatmap(
    found: Sequence[tuple[str, Observed]], scope: Scope, width_seconds: int
) -> pl.DataFrame:
    """Observations by time and bucket; the last bucket has no upper edge (null)."""
    rows = []
    for at, histogram in _by_time(found, scope, width_seconds):
        edges = (0.0, *histogram.edges)
        below = (0.0, *histogram.cumulative, histogram.count)
        for place, low in enumerate(edges):
            count = below[place + 1] - below[place]
            high = histogram.edges[place] if place < len(histogram.edges) else None
            if count > 0:
                rows.append((at, low, high, count))
    return pl.DataFrame(rows, schema=HEATMAP_SCHEMA, orient="row")


def quantiles_over_time(
    found: Sequence[tuple[str, Observed]], scope: Scope, width_seconds: int
) -> pl.DataFrame:
    """The bucket that holds each quantile, by time."""
    rows = []
    for at, histogram in _by_time(found, scope, width_seconds):
        row: dict[str, Any] = {"at": at, "requests": histogram.count}
        for name, q in QUANTILES.items():
            interval = quantile_interval(histogram, q) or (None, None)
            row[f"{name}_seconds_low"], row[f"{name}_seconds_high"] = interval
        rows.append(row)
    return pl.DataFrame(rows, schema=QUANTILES_SCHEMA)


def whole(found: Iterable[tuple[str, Observed]]) -> Histogram | None:
    """All observations of the range as one histogram."""
    return merge([item.histogram for _, item in found])


def ecdf(found: Sequence[tuple[str, Observed]], by: str) -> pl.DataFrame:
    """Share of the observations up to each edge, by model or instance: exact at the edges only.

    Between two edges the share is known to lie between the shares at both (`share_low` at the
    lower edge, `share_high` at the upper one).
    """
    groups: dict[str, list[Histogram]] = defaultdict(list)
    for instance, item in found:
        groups[instance if by == "instance" else item.model or "model unknown"].append(
            item.histogram
        )
    rows = []
    for name in sorted(groups):
        histogram = merge(groups[name])
        if histogram is None or histogram.count <= 0:
            continue
        shares = [below / histogram.count for below in histogram.cumulative]
        following = [*shares[1:], 1.0]
        before = [0.0, *shares]
        for place, edge in enumerate(histogram.edges):
            # Edges below the first observation and above the last say nothing.
            if following[place] > 0.0 and before[place] < 1.0:
                rows.append((name, edge, shares[place], following[place], histogram.count))
    return pl.DataFrame(rows, schema=ECDF_SCHEMA, orient="row")


def mean_stack(reader: Reader, scope: Scope, width_seconds: int) -> pl.DataFrame:
    """Mean phases by time from the histograms' sums, in the columns of `STACK_SCHEMA`.

    The mean of a histogram is exact. Bins whose sum is not known (an engine's sum that fell) are
    left out rather than guessed.
    """
    signals = [f"{name}_seconds" for name in (*MEANS, "e2e")]
    found = observations(reader, scope, signals, width_seconds)
    by_signal: dict[str, list[tuple[str, Observed]]] = defaultdict(list)
    for name, item in found:
        by_signal[item.signal.removesuffix("_seconds")].append((name, item))
    rows: dict[Any, dict[str, Any]] = {}
    for phase, items in by_signal.items():
        for at, histogram in _by_time(items, scope, width_seconds):
            if histogram.mean is not None:
                row = rows.setdefault(at, {"at": at})
                row[phase] = histogram.mean
                if phase == "e2e":
                    row["requests"] = round(histogram.count)
    known = [row for row in rows.values() if "e2e" in row]
    schema: dict[str, Any] = {"at": pl.Datetime("us"), "requests": pl.Int64} | dict.fromkeys(
        (*MEANS, "first_token", "e2e"), pl.Float64
    )
    if not known:
        return pl.DataFrame(schema=STACK_SCHEMA)
    framed = with_unattributed(pl.DataFrame(known, schema=schema))
    return framed.rename(
        {name: f"{name}_seconds" for name in (*MEANS, "first_token", "e2e", "unattributed")}
    ).select(*STACK_SCHEMA).sort("at")  # fmt: skip


def _by_time(
    found: Iterable[tuple[str, Observed]], scope: Scope, width_seconds: int
) -> list[tuple[Any, Histogram]]:
    """One histogram a bin, of all instances, with the start of the bin; oldest first."""
    axis = series.round_bins(scope.start, scope.end, width_seconds)["at"]
    groups: dict[int, list[Histogram]] = defaultdict(list)
    for _, item in found:
        groups[item.bin].append(item.histogram)
    merged = []
    for number in sorted(groups, reverse=True):
        histogram = merge(groups[number])
        if histogram is not None and number < len(axis):
            merged.append((axis[len(axis) - 1 - number], histogram))
    return merged
