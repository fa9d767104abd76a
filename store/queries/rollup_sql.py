"""The one query behind `store.queries.rollup.counts`: roll-ups and raw rows, put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from store.queries.log_bins import log_bin_sql
from store.queries.scope import IS_COUNTED, Scope
from store.queries.slo import naive_utc
from store.rollup import ARRIVAL, QUANTITIES, bucket_number_sql, bucket_start_sql

Table = Literal["rollup_10m", "rollup_1h"]
Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is counted.

    Attributes:
        scope: sources, range, labels.
        binned: quantities by log bin.
        whole: quantities of which number and sum are enough.
        bin_seconds: width of a time bin; None makes one of the whole range.
        label: SQL of one more column with a leading comma, or nothing.
    """

    scope: Scope
    binned: tuple[str, ...]
    whole: tuple[str, ...]
    bin_seconds: int | None
    label: str


def counts_sql(
    asked: Asked, table: Table | None, rolled: Sequence[Span], raw: Sequence[Span]
) -> tuple[str, dict[str, Any]]:
    """The query and its parameters.

    Args:
        asked: what is counted.
        table: the roll-up; None where all is raw.
        rolled: stretches that are read from it; naive UTC, half open.
        raw: those that are read from the request rows.
    """
    values: dict[str, Any] = {}
    condition = _label_condition(asked.scope, values)
    parts: list[str] = []
    for number, (low, high) in enumerate((*rolled, *raw)):
        values |= {f"low{number}": low, f"high{number}": high}
        is_rolled = table is not None and number < len(rolled)
        texts = _rolled(asked, table, condition) if is_rolled else _raw(asked, condition)
        parts += [
            text.replace("$low", f"$low{number}").replace("$high", f"$high{number}")
            for text in texts
        ]
    if asked.bin_seconds is None:
        values["start"] = naive_utc(asked.scope.start)
        at = "$start"
    else:
        at = bucket_start_sql("bucket", asked.bin_seconds)
    # Of one stretch every count comes from one part: nothing is left to add up.
    is_split = len(rolled) + len(raw) > 1
    count, total = ("sum(requests)", "sum(value_sum)") if is_split else ("requests", "value_sum")
    sql = f"""SELECT {at} AS "at", status::VARCHAR AS status, quantity, log_bin,
      {count}::BIGINT AS requests, {total} AS value_sum{asked.label}
    FROM ({" UNION ALL ".join(parts)}) {"GROUP BY ALL" if is_split else ""}"""
    return sql, values


def ids_sql(scope: Scope) -> str:
    """The sources of a scope as a list; the ids are our own small integers."""
    return ", ".join(str(int(source_id)) for source_id in scope.source_ids) or "NULL"


def _rolled(asked: Asked, table: Table | None, condition: str) -> Iterator[str]:
    """Quantities by bin, and those that need none, from where they are fewest rows."""
    sums = "rollup_sum" if table == "rollup_10m" else table
    for place, names, log_bin in ((table, asked.binned, "log_bin"), (sums, asked.whole, "0")):
        if names:
            chosen = ", ".join(f"'{name}'" for name in names)
            at = _bucket_sql("bucket_at", asked.bin_seconds)
            yield f"""SELECT {at} AS bucket, status, quantity,
      {log_bin} AS log_bin, sum(request_count) AS requests, sum(value_sum) AS value_sum{asked.label}
    FROM {place} WHERE source_id IN ({ids_sql(asked.scope)}) AND quantity IN ({chosen})
      AND bucket_at >= $low AND bucket_at < $high AND {condition} GROUP BY ALL"""


def _raw(asked: Asked, condition: str) -> Iterator[str]:
    """A pass for each quantity by bin, and one for all the others together."""
    for name in asked.binned:
        yield _raw_bins_sql(asked, name, condition)
    if asked.whole:
        yield _raw_whole_sql(asked, condition)


def _raw_bins_sql(asked: Asked, quantity: str, condition: str) -> str:
    """One quantity by logarithmic bin, in one pass."""
    column = f"r.{QUANTITIES[quantity]}"
    return f"""SELECT {_bucket_sql("r.arrived_at", asked.bin_seconds)} AS bucket, r.status,
      '{quantity}' AS quantity, {log_bin_sql(column)} AS log_bin, count(*) AS requests,
      sum({column}) AS value_sum{asked.label}
    {_raw_rows_sql(asked, condition)} AND {column} IS NOT NULL GROUP BY ALL"""


def _raw_whole_sql(asked: Asked, condition: str) -> str:
    """All quantities that need no bins, together in one pass."""
    if asked.whole == (ARRIVAL,):
        return f"""SELECT {_bucket_sql("r.arrived_at", asked.bin_seconds)} AS bucket, r.status,
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
      FROM (
        SELECT {_bucket_sql("r.arrived_at", asked.bin_seconds)} AS bucket, r.status, count(*) AS n
        {"".join(f", {text}" for text in found)}{asked.label}
        {_raw_rows_sql(asked, condition)} GROUP BY ALL)
    ) WHERE requests > 0"""


def _raw_rows_sql(asked: Asked, condition: str) -> str:
    # Labels are joined only when asked for: they cost more than the counting.
    needed = asked.label or condition != "TRUE"
    joined = "JOIN request_labels AS l USING (labels_id)" if needed else ""
    return f"""FROM request AS r {joined} WHERE r.source_id IN ({ids_sql(asked.scope)})
      AND r.arrived_at >= $low AND r.arrived_at < $high AND {IS_COUNTED} AND {condition}"""


def _bucket_sql(column: str, bin_seconds: int | None) -> str:
    return "0" if bin_seconds is None else bucket_number_sql(column, bin_seconds)


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
