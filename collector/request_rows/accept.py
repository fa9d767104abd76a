"""Posted rows sorted into those that can be stored and those that cannot, with the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from collector.request_rows.fields import (
    COUNTS,
    FIELDS,
    FLAGS,
    TOKENS,
    WEIGHTS,
    BadField,
    checked,
)
from collector.request_rows.forms import NO_OBJECT, Row

if TYPE_CHECKING:
    import polars as pl

MOST_PLACES = 10
LIVE_SOURCE = 1


@dataclass(slots=True)
class Sorted:
    """What became of the rows of one request.

    Attributes:
        good: rows as they are stored.
        rejected: why -> places of the first such rows (from 0), and how many there are.
    """

    good: list[dict[str, Any]] = field(default_factory=list)
    rejected: dict[str, tuple[int, list[int]]] = field(default_factory=dict)

    @property
    def rejected_count(self) -> int:
        """Rows that are not stored."""
        return sum(count for count, _ in self.rejected.values())

    def reject(self, place: int, reason: str) -> None:
        """Note a bad row."""
        count, places = self.rejected.get(reason, (0, []))
        if len(places) < MOST_PLACES:
            places.append(place)
        self.rejected[reason] = (count + 1, places)


def sort_rows(rows: Sequence[Row], now: datetime) -> Sorted:
    """Check every row on its own: a bad one does not take its neighbours along.

    Args:
        rows: from `forms.rows_of`.
        now: naive UTC.
    """
    found = Sorted()
    for place, row in enumerate(rows):
        if row is None:
            found.reject(place, NO_OBJECT)
            continue
        try:
            found.good.append(checked(row, now))
        except BadField as error:
            found.reject(place, str(error))
    return found


def frame_of(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Good rows with the columns of `store.append.REQUEST_FRAME`."""
    import polars as pl

    schema: dict[str, Any] = dict.fromkeys(FIELDS, pl.String)
    schema |= {"arrived_at": pl.Datetime("us")} | dict.fromkeys(TOKENS, pl.Int32)
    schema |= dict.fromkeys(COUNTS, pl.Int64) | dict.fromkeys(WEIGHTS, pl.Float64)
    schema |= dict.fromkeys(FLAGS, pl.Boolean)
    schema |= {name: pl.Float64 for name in FIELDS if name.endswith("_seconds")}
    frame = pl.DataFrame({name: [row.get(name) for row in rows] for name in FIELDS}, schema=schema)
    return frame.with_columns(source_id=pl.lit(LIVE_SOURCE, pl.Int16))
