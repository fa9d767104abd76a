"""How many rows there are where a query gives the first of them only."""

from __future__ import annotations

from typing import Any

from store.reader import Reader

_NO_LIMIT = 1 << 40


def total(reader: Reader, sql: str, held: int, most: int, **params: Any) -> int:
    """All rows of a query that ends in `LIMIT $most`; counted only where it was cut off.

    Args:
        reader: the store.
        sql: the query.
        held: rows that it gave.
        most: what it was limited to.
        params: its other parameters.
    """
    if held < most:
        return held
    return int(reader.scalar(f"SELECT count(*) FROM ({sql})", most=_NO_LIMIT, **params))
