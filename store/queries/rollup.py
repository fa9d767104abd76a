"""Counts over time in logarithmic bins, from roll-ups where they are true and raw rows elsewhere.

One answer gives the rate (quantity `arrival`), the heatmap, quantiles and the distribution; which
tables it came from changes the time it takes, never the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import polars as pl

from store.queries.rollup_sql import Asked, Span, Table, counts_sql, ids_sql
from store.queries.scope import Scope
from store.queries.slo import naive_utc
from store.reader import Reader, Snapshot
from store.rollup import ARRIVAL, BUCKET_SECONDS, HOUR_SECONDS, QUANTITIES, bucket_sql

RAW_BELOW_SECONDS = 12 * 3600
"""Ranges shorter than this are counted from the raw rows: they are few, and bins are free."""
MOST_RAW_PIECES = 24
"""With more separate dirty stretches than this, one pass over the raw rows is cheaper."""
Use = Literal["auto", "raw", "rollup"]
Label = Literal["model", "route", "tenant"]
COUNTS_SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us"),
    "status": pl.String,
    "quantity": pl.String,
    "log_bin": pl.Int32,
    "requests": pl.Int64,
    "value_sum": pl.Float64,
}


class Answers(Protocol):
    """Whoever answers a query with a frame."""

    def frame(self, sql: str, **params: Any) -> pl.DataFrame:
        """The rows of one SELECT with `$name` parameters."""
        ...


@dataclass(frozen=True, slots=True)
class Split:
    """Which part of a range is read from where; naive UTC, half open, in order.

    Attributes:
        table: the roll-up, or None when everything is raw.
        rolled: stretches read from it.
        raw: stretches read from the request rows.
    """

    table: Table | None
    rolled: tuple[Span, ...]
    raw: tuple[Span, ...]


def counts(
    reader: Reader,
    scope: Scope,
    quantities: Sequence[str],
    bin_seconds: int | None,
    *,
    by: Label | None = None,
    sums: Sequence[str] = (),
    use: Use = "auto",
) -> pl.DataFrame:
    """How many requests fell into each time bin and logarithmic bin.

    Args:
        reader: the store.
        scope: sources, range, labels.
        quantities: `arrival`, or names of `store.rollup.QUANTITIES`.
        bin_seconds: width of a time bin, counted from 1970-01-01; None makes one bin of the whole
            range, whose `at` is the start of the range.
        by: also count by this label, in a column of its name (null = not known).
        sums: quantities whose number and sum are enough: they come without logarithmic bins
            (`log_bin` 0), which costs much less.
        use: "auto" takes roll-ups for ranges of `RAW_BELOW_SECONDS` and more, where the labels and
            the width of the bins allow it; the others are for tests and benchmarks.

    Returns:
        at (naive, start of the bin), status, quantity, log_bin (0 for `arrival` and `sums`),
        requests, value_sum (sum of the quantity; null for `arrival`), and the label of `by`; sorted
        by quantity, at, log_bin, status. Bins without requests are absent.

    Raises:
        ValueError: an unknown quantity, or none.
        QueryTimeout: it took too long.
    """
    unknown = {*quantities, *sums} - {ARRIVAL, *QUANTITIES}
    if unknown or not (quantities or sums):
        raise ValueError(f"no such quantity: {', '.join(sorted(unknown)) or 'none given'}")
    asked = Asked(
        scope,
        tuple(name for name in quantities if name != ARRIVAL),
        (*(ARRIVAL for name in quantities if name == ARRIVAL), *sums),
        bin_seconds,
        f", {by}" if by else "",
    )
    with reader.snapshot() as snapshot:
        plan = split(snapshot, scope, bin_seconds, by=by, use=use)
        sql, params = counts_sql(asked, plan.table, plan.rolled, plan.raw)
        found = snapshot.frame(sql, **params)
    # By one quantity nothing is told apart, and texts take long to sort.
    order = ["quantity"] if len(quantities) + len(sums) > 1 else []
    order += ["at", "log_bin", "status", *([by] if by else [])]
    schema = COUNTS_SCHEMA | ({by: pl.String} if by else {})
    return found.select(pl.col(name).cast(kind) for name, kind in schema.items()).sort(order)


def split(
    snapshot: Snapshot,
    scope: Scope,
    bin_seconds: int | None,
    *,
    by: Label | None = None,
    use: Use = "auto",
) -> Split:
    """Decide what is read from where, over one state of the store.

    Partial buckets at the edges and dirty buckets are always raw.
    """
    start, end = naive_utc(scope.start), naive_utc(scope.end)
    table = _table(scope, bin_seconds, by)
    if table is None or use == "raw" or (use == "auto" and scope.seconds < RAW_BELOW_SECONDS):
        return Split(None, (), ((start, end),))
    return cut(snapshot, scope, table)


def cut(reader: Answers, scope: Scope, table: Table) -> Split:
    """The stretches in which a roll-up is true; all is raw where it is true in too few pieces.

    Args:
        reader: a snapshot; or a reader, where it is no harm that a row comes between two questions.
        scope: sources and range.
        table: the roll-up, `rollup_1h` for all that are kept by the hour.
    """
    start, end = naive_utc(scope.start), naive_utc(scope.end)
    width = timedelta(seconds=BUCKET_SECONDS if table == "rollup_10m" else HOUR_SECONDS)
    low, high = _ceil(start, width), _floor(end, width)
    dirty = reader.frame(
        f"""SELECT DISTINCT {bucket_sql("bucket_at", int(width.total_seconds()))} AS bucket
        FROM rollup_dirty
        WHERE source_id IN ({ids_sql(scope)}) AND bucket_at >= $low AND bucket_at < $high
        ORDER BY bucket""",
        low=low,
        high=high,
    )["bucket"].to_list()
    holes = [(start, low), *((at, at + width) for at in dirty), (high, end)]
    raw = _merged(holes)
    if low >= high or len(raw) > MOST_RAW_PIECES:
        return Split(None, (), ((start, end),))
    return Split(table, _between(raw, start, end), raw)


def _table(scope: Scope, bin_seconds: int | None, by: Label | None) -> Table | None:
    """The roll-up that knows the labels and divides the bins."""
    width = bin_seconds or HOUR_SECONDS
    named = {
        name
        for name, values in (
            ("model", scope.models),
            ("route", scope.routes),
            ("tenant", scope.tenants),
            ("instance", scope.instances),
        )
        if values
    } | ({by} if by else set())
    if named <= {"model", "route"} and width % BUCKET_SECONDS == 0:
        return "rollup_10m"
    if named <= {"tenant"} and width % HOUR_SECONDS == 0:
        return "rollup_1h"
    return None


def _merged(holes: Sequence[Span]) -> tuple[Span, ...]:
    """Neighbouring stretches as one, empty ones left out."""
    merged: list[Span] = []
    for low, high in sorted(hole for hole in holes if hole[0] < hole[1]):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _between(raw: Sequence[Span], start: datetime, end: datetime) -> tuple[Span, ...]:
    """What the raw stretches leave of the range."""
    edges = [start, *(edge for span in raw for edge in span), end]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((low, high) for low, high in pairs if low < high)


def _floor(at: datetime, width: timedelta) -> datetime:
    return at - (at - datetime(1970, 1, 1)) % width  # noqa: DTZ001 - as the store keeps it


def _ceil(at: datetime, width: timedelta) -> datetime:
    floor = _floor(at, width)
    return floor if floor == at else floor + width
