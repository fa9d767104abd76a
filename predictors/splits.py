"""Ways to part rows into those to learn from and those to be judged on: by time or by group.

There is no random split: rows of one prompt, client or hour on both sides flatter two to six times.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import polars as pl

from store.errors import PredictorError


def by_time(
    rows: pl.DataFrame, share: float, column: str = "at"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first `share` of the rows by time, and the rest. Rows of one instant stay together.

    Args:
        rows: with the column `column`.
        share: of the rows to learn from, in (0, 1).
        column: the time.

    Raises:
        PredictorError: the column is missing or the share out of range.
    """
    _ask(rows, column)
    if not 0 < share < 1:
        raise PredictorError(f"a share of {share} parts nothing", hint="take one in (0, 1)")
    times = rows[column].sort()
    cut = times[min(int(rows.height * share), rows.height - 1)]
    return rows.filter(pl.col(column) < cut), rows.filter(pl.col(column) >= cut)


def by_group(
    rows: pl.DataFrame, column: str, folds: int = 5, seed: int = 0
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """`folds` times (learn, judge), so that no group is on both sides and each is judged once."""
    _ask(rows, column)
    groups = rows[column].unique().sort().to_list()
    if len(groups) < folds:
        raise PredictorError(
            f"{len(groups)} groups of {column} cannot make {folds} folds",
            hint="take fewer folds or rows of more groups",
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    for fold in range(folds):
        judged = [groups[number] for number in order[fold::folds]]
        inside = pl.col(column).is_in(judged)
        yield rows.filter(~inside), rows.filter(inside)


def leave_one_out(
    rows: pl.DataFrame, column: str
) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame]]:
    """(left-out group, learn, judge) for each group of `column`."""
    _ask(rows, column)
    for group in rows[column].unique().sort().to_list():
        yield str(group), rows.filter(pl.col(column) != group), rows.filter(pl.col(column) == group)


def rolling(
    rows: pl.DataFrame, origins: int, judged: timedelta, column: str = "at"
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """`origins` times (all before an instant, `judged` after it), the last ending with the rows."""
    _ask(rows, column)
    end = rows[column].max()
    for number in range(origins, 0, -1):
        origin = end - judged * number  # type: ignore[operator]
        here = pl.col(column)
        yield (
            rows.filter(here <= origin),
            rows.filter((here > origin) & (here <= origin + judged)),
        )


def _ask(rows: pl.DataFrame, column: str) -> None:
    if column not in rows.columns:
        raise PredictorError(f"the rows have no column {column!r} to split by")
    if rows.is_empty():
        raise PredictorError("no rows to split")
