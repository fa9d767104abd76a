"""Counts over time in logarithmic bins, from roll-ups where they are true and raw rows elsewhere.

One answer gives the rate (quantity `arrival`), the heatmap, quantiles and the distribution; which
tables it came from changes the time it takes, never the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

import polars as pl

from store.queries.log_bins import log_bin_sql
from store.queries.scope import IS_COUNTED, Scope
from store.reader import Reader, Snapshot
from store.rollup import ARRIVAL, BUCKET_SECONDS, HOUR_SECONDS, QUANTITIES, bucket_sql

RAW_BELOW_SECONDS = 12 * 3600
"""Ranges shorter than this are counted from the raw rows: they are few, and bins are free."""
MOST_RAW_PIECES = 24
"""With more separate dirty stretches than this, one pass over the raw rows is cheaper."""
Use = Literal["auto", "raw", "rollup"]
Label = Literal["model", "route", "tenant"]
Table = Literal["rollup_10m", "rollup_1h"]
Span = tuple[datetime, datetime]
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
    asked = _Asked(
        scope,
        tuple(name for name in quantities if name != ARRIVAL),
        (*(ARRIVAL for name in quantities if name == ARRIVAL), *sums),
        bin_seconds,
        f", {by}" if by else "",
    )
    with reader.snapshot() as snapshot:
        plan = split(snapshot, scope, bin_seconds, by=by, use=use)
        sql, params = _counts_sql(asked, plan)
        found = snapshot.frame(sql, **params)
    order = ["quantity", "at", "log_bin", "status", *([by] if by else [])]
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
    start, end = _naive(scope.start), _naive(scope.end)
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
    start, end = _naive(scope.start), _naive(scope.end)
    width = timedelta(seconds=BUCKET_SECONDS if table == "rollup_10m" else HOUR_SECONDS)
    low, high = _ceil(start, width), _floor(end, width)
    dirty = reader.frame(
        f"""SELECT DISTINCT {bucket_sql("bucket_at", int(width.total_seconds()))} AS bucket
        FROM rollup_dirty
        WHERE source_id IN ({_ids(scope)}) AND bucket_at >= $low AND bucket_at < $high
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


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is counted: quantities by log bin, others as a whole, the width of a time bin, a label.

    `label` is SQL with a leading comma, or nothing.
    """

    scope: Scope
    binned: tuple[str, ...]
    whole: tuple[str, ...]
    bin_seconds: int | None
    label: str


def _counts_sql(asked: _Asked, plan: Split) -> tuple[str, dict[str, Any]]:
    values: dict[str, Any] = {}
    condition = _label_condition(asked.scope, values)
    parts: list[str] = []
    for low, high in plan.rolled:
        values |= {"low": low, "high": high}
        parts.append(_numbered(_rolled_sql(asked, plan, condition), values, len(parts)))
    for low, high in plan.raw:
        texts = [_raw_bins_sql(asked, name, condition) for name in asked.binned]
        if asked.whole:
            texts.append(_raw_whole_sql(asked, condition))
        for text in texts:
            values |= {"low": low, "high": high}
            parts.append(_numbered(text, values, len(parts)))
    if asked.bin_seconds is None:
        values["start"] = _naive(asked.scope.start)
    sql = f"""SELECT bucket AS "at", status::VARCHAR AS status, quantity, log_bin,
      sum(requests)::BIGINT AS requests, sum(value_sum) AS value_sum{asked.label}
    FROM ({" UNION ALL ".join(parts)}) GROUP BY ALL"""
    if len(parts) == 1:  # nothing to add up
        sql = f"""SELECT bucket AS "at", status::VARCHAR AS status, quantity, log_bin,
          requests::BIGINT AS requests, value_sum{asked.label} FROM ({parts[0]})"""
    return sql, values


def _numbered(sql: str, values: dict[str, Any], number: int) -> str:
    """Give the stretch of one part its own parameters."""
    values[f"low{number}"], values[f"high{number}"] = values.pop("low"), values.pop("high")
    return sql.replace("$low", f"$low{number}").replace("$high", f"$high{number}")


def _rolled_sql(asked: _Asked, plan: Split, condition: str) -> str:
    names = ", ".join(f"'{name}'" for name in (*asked.binned, *asked.whole))
    binned = ", ".join(f"'{name}'" for name in asked.binned) or "NULL"
    return f"""SELECT {_at_sql("bucket_at", asked.bin_seconds)} AS bucket, status, quantity,
      CASE WHEN quantity IN ({binned}) THEN log_bin ELSE 0 END AS log_bin,
      sum(request_count) AS requests, sum(value_sum) AS value_sum{asked.label}
    FROM {plan.table} WHERE source_id IN ({_ids(asked.scope)}) AND quantity IN ({names})
      AND bucket_at >= $low AND bucket_at < $high AND {condition} GROUP BY ALL"""


def _raw_bins_sql(asked: _Asked, quantity: str, condition: str) -> str:
    """One quantity by logarithmic bin, in one pass."""
    column = f"r.{QUANTITIES[quantity]}"
    return f"""SELECT {_at_sql("r.arrived_at", asked.bin_seconds)} AS bucket, r.status,
      '{quantity}' AS quantity, {log_bin_sql(column)} AS log_bin, count(*) AS requests,
      sum({column}) AS value_sum{asked.label}
    {_raw_rows_sql(asked, condition)} AND {column} IS NOT NULL GROUP BY ALL"""


def _raw_whole_sql(asked: _Asked, condition: str) -> str:
    """All quantities that need no bins, together in one pass."""
    if asked.whole == (ARRIVAL,):
        return f"""SELECT {_at_sql("r.arrived_at", asked.bin_seconds)} AS bucket, r.status,
          '{ARRIVAL}' AS quantity, 0 AS log_bin, count(*) AS requests, NULL::DOUBLE AS value_sum
          {asked.label} {_raw_rows_sql(asked, condition)} GROUP BY ALL"""
    columns = {name: f"r.{QUANTITIES[name]}" for name in asked.whole if name != ARRIVAL}
    found = [f"count({column}) AS {name}_n, sum({column}) AS {name}_sum"
             for name, column in columns.items()]  # fmt: skip
    names = ", ".join(f"'{name}'" for name in asked.whole)
    numbers = ", ".join("n" if name == ARRIVAL else f"{name}_n" for name in asked.whole)
    sums = ", ".join("NULL" if name == ARRIVAL else f"{name}_sum" for name in asked.whole)
    return f"""SELECT * FROM (
      SELECT bucket, status, unnest([{names}]) AS quantity, 0 AS log_bin,
        unnest([{numbers}]) AS requests, unnest([{sums}]::DOUBLE[]) AS value_sum{asked.label}
      FROM (SELECT {_at_sql("r.arrived_at", asked.bin_seconds)} AS bucket, r.status, count(*) AS n
        {"".join(f", {text}" for text in found)}{asked.label}
        {_raw_rows_sql(asked, condition)} GROUP BY ALL)
    ) WHERE requests > 0"""


def _raw_rows_sql(asked: _Asked, condition: str) -> str:
    # Labels are joined only when asked for: they cost more than the counting.
    needed = asked.label or condition != "TRUE"
    joined = "JOIN request_labels AS l USING (labels_id)" if needed else ""
    return f"""FROM request AS r {joined} WHERE r.source_id IN ({_ids(asked.scope)})
      AND r.arrived_at >= $low AND r.arrived_at < $high AND {IS_COUNTED} AND {condition}"""


def _at_sql(column: str, bin_seconds: int | None) -> str:
    return "$start" if bin_seconds is None else bucket_sql(column, bin_seconds)


def _label_condition(scope: Scope, values: dict[str, Any]) -> str:
    parts = []
    for column, chosen in (
        ("model", scope.models),
        ("route", scope.routes),
        ("tenant", scope.tenants),
        ("instance", scope.instances),
    ):
        if chosen:
            values[column] = list(chosen)
            parts.append(f"{column} IN ${column}")
    return " AND ".join(parts) or "TRUE"


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


def _naive(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(tzinfo=None)


def _ids(scope: Scope) -> str:
    return ", ".join(str(int(source_id)) for source_id in scope.source_ids) or "NULL"
