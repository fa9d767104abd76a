"""Which part of a question about tenants is read from their roll-up, and which from the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any, Literal

from store.queries.rollup import Split, cut
from store.queries.rollup_sql import Span
from store.queries.scope import Scope
from store.queries.token_cost import Cost, double
from store.queries.workload import FrameReader, aware, naive, where
from store.rollup import HOUR_SECONDS
from store.tenant_rollup import COST, FLOW_SECONDS

Use = Literal["auto", "rows", "rollup"]
ROLLED_FROM_SECONDS = 12 * HOUR_SECONDS
"""Shorter ranges are read from the rows: there are few, and bins are free."""


def parts(reader: FrameReader, scope: Scope, cost: Cost = COST, use: Use = "auto") -> Split:
    """The stretches of a scope that the roll-up of tenants can tell; others are of the rows.

    A row that comes between this question and the next is missing from the answer, as if it had
    come after both.

    Args:
        reader: the store.
        scope: what is asked about.
        cost: service of a token; the roll-up knows only the usual one.
        use: "auto" takes the roll-up for long ranges; the others are for tests.
    """
    is_short = use == "auto" and scope.seconds < ROLLED_FROM_SECONDS
    other_labels = scope.models or scope.routes or scope.instances
    if use == "rows" or is_short or other_labels or cost != COST or not scope.source_ids:
        return Split(None, (), ((naive(scope.start), naive(scope.end)),))
    return cut(reader, scope, "rollup_1h")


def is_on_grid(scope: Scope, width_seconds: float) -> bool:
    """Whether bins of this width from the start of a scope are whole bins of the roll-up."""
    bins = width_seconds / FLOW_SECONDS
    return bins >= 1 and bins == int(bins) and first_on_grid(scope) == scope


def is_on_hours(scope: Scope, width_seconds: float) -> bool:
    """Whether bins of this width from the start of a scope are whole hours of the clock."""
    past = (naive(scope.start) - naive(scope.start).min) % timedelta(seconds=HOUR_SECONDS)
    return width_seconds >= HOUR_SECONDS and width_seconds % HOUR_SECONDS == 0 and not past


def first_on_grid(scope: Scope) -> Scope:
    """The scope from its first whole bin of the roll-up on."""
    past = (naive(scope.start) - naive(scope.start).min) % timedelta(seconds=FLOW_SECONDS)
    return (
        replace(scope, start=scope.start + timedelta(seconds=FLOW_SECONDS) - past)
        if past
        else scope
    )


def rows_sql(
    scope: Scope, spans: Sequence[Span], *, every_attempt: bool = True
) -> tuple[str, dict[str, Any]]:
    """SQL of a table `r` of all attempts in some stretches of a scope, and its parameters."""
    texts, params = ["SELECT * FROM request WHERE false"] if not spans else [], dict[str, Any]()
    for number, (low, high) in enumerate(spans):
        stretch = replace(scope, start=aware(low), end=aware(high))
        condition, values = where(stretch, every_attempt=every_attempt)
        for name in ("start", "end"):
            condition = condition.replace(f"${name}", f"${name}{number}")
            params[f"{name}{number}"] = values.pop(name)
        params |= values
        texts.append(f"SELECT * FROM request AS r WHERE {condition}")
    return f"({' UNION ALL '.join(texts)}) AS r", params


def rolled_sql(scope: Scope, column: str, spans: Sequence[Span]) -> tuple[str, dict[str, Any]]:
    """The condition that keeps rows of a roll-up, and its parameters.

    Args:
        scope: sources and tenants.
        column: the hour of a row.
        spans: stretches of whole hours, one at least.
    """
    params: dict[str, Any] = {"rolled_start": spans[0][0], "rolled_end": spans[-1][1]}
    found = [
        f"source_id IN ({', '.join(str(int(number)) for number in scope.source_ids)})",
        f"{column} >= $rolled_start AND {column} < $rolled_end",
    ]
    if scope.tenants:
        found.append("tenant IN $tenants")
        params["tenants"] = list(scope.tenants)
    for number, (one, other) in enumerate(pairwise(spans)):
        found.append(f"NOT ({column} >= $gap{number} AND {column} < $after{number})")
        params |= {f"gap{number}": one[1], f"after{number}": other[0]}
    return " AND ".join(found), params


def flows_of_rollup(
    scope: Scope, spans: Sequence[Span], width_seconds: float
) -> tuple[str, dict[str, Any]]:
    """As `store.queries.served.flows_sql`, of the roll-up, by tenant; its bins are on the grid."""
    condition, params = rolled_sql(scope, "hour_at", spans)
    width_us = double(width_seconds * 1e6)
    left = f"((bin + 1) * {width_us} - at_us - {FLOW_SECONDS}e6) / 1e6"
    return (
        f"""SELECT tenant, bin, sum(asked) AS asked, sum(refused) AS refused,
  sum(rate) AS rate, sum(rising + rate * {left}) AS rising,
  sum(waiting)::BIGINT AS waiting, sum(running)::BIGINT AS running
FROM (
  SELECT *, epoch_us(happened_at) - epoch_us($zero) AS at_us,
    floor(at_us / {width_us})::BIGINT AS bin
  FROM rollup_flow WHERE {condition} AND happened_at < $end)
GROUP BY ALL""",
        params | {"zero": naive(scope.start), "end": naive(scope.end)},
    )
