"""Which row of a second table belongs beside which row of the first."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl

Row = Mapping[str, Any]
# Where fewer rows than this find their like, the tables are about different things.
LEAST_MATCHED_RATIO = 0.3
MOST_KEYS = 3


def rows_beside(
    frame: pl.DataFrame, other: pl.DataFrame, shift: timedelta = timedelta(0)
) -> list[Row | None] | None:
    """For each row of a table, the row of another that says the same of something else.

    Rows belong together when the first columns, as many as tell rows apart, say the same; times do
    when they lie in the same bin once those of the other are shifted.

    Args:
        frame: the table shown.
        other: a table of the same columns.
        shift: put on the other's times.

    Returns:
        One row or None for each row; None where the tables have no rows in common.
    """
    keys = _keys(frame, other)
    if keys is None:
        return None
    times = [name for name in keys if frame.schema[name].is_temporal()]
    edges = {name: sorted(frame[name].drop_nulls().unique()) for name in times}
    found: dict[tuple[Any, ...], Row] = {}
    for row in other.iter_rows(named=True):
        key = tuple(
            _bin(row[name], shift, edges[name]) if name in edges else row[name] for name in keys
        )
        found.setdefault(key, row)
    matched = [found.get(tuple(row[n] for n in keys)) for row in frame.iter_rows(named=True)]
    hits = sum(row is not None for row in matched)
    return matched if hits >= LEAST_MATCHED_RATIO * min(frame.height, other.height) else None


def _keys(frame: pl.DataFrame, other: pl.DataFrame) -> list[str] | None:
    """The first columns from the left that tell rows apart, in both tables.

    The name of a source is left out where it can be: two sources are what is compared.
    """
    shared = [name for name in frame.columns if name in other.columns]
    usable = [name for name in shared if not frame.schema[name].is_nested()]
    for names in ([name for name in usable if name != "source"], usable):
        for count in range(1, min(MOST_KEYS, len(names)) + 1):
            keys = names[:count]
            if not any(part.select(keys).is_duplicated().any() for part in (frame, other)):
                return keys
    return None


def _bin(at: Any, shift: timedelta, edges: Sequence[datetime]) -> Any:
    """The nearest time of the first table, if it is as near as half a bin; else itself."""
    if not isinstance(at, datetime) or not edges:
        return at
    moved = at + shift
    place = bisect_left(edges, moved)
    near = min(edges[max(0, place - 1) : place + 1], key=lambda edge: abs(edge - moved))
    widths = [b - a for a, b in pairwise(edges)]
    return near if not widths or abs(near - moved) * 2 <= min(widths) else moved
