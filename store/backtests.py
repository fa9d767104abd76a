"""Back-tests of predictors on rows of this store: the newest few of each predictor are kept."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import astuple, dataclass
from datetime import datetime

import duckdb
import polars as pl

from store.reader import Reader
from store.writer import Writer

KEPT = 5
"""Newest back-tests of each predictor that stay."""


@dataclass(frozen=True, slots=True)
class BacktestRow:
    """A back-test: a row of `backtest`; times are naive UTC, those of the data may be trace time.

    Attributes:
        backtest_id: unique.
        predictor: name in the catalogue.
        made_at: when it was done.
        made_by: "cli", "api" or a person.
        source: whose rows, as they were asked for.
        data_from: first row.
        data_until: last row.
        rows: learnt from and judged.
        windows: that were judged.
        unit: of the outcome.
        rival: naive one.
        seconds: processor time.
    """

    backtest_id: str
    predictor: str
    made_at: datetime
    made_by: str
    source: str
    data_from: datetime
    data_until: datetime
    rows: int
    windows: int
    unit: str
    rival: str
    seconds: float | None


_FORGOTTEN = f"""
SELECT backtest_id FROM backtest WHERE predictor = ?
QUALIFY row_number() OVER (ORDER BY made_at DESC, backtest_id DESC) > {KEPT}
"""
_NEWEST = """
SELECT * FROM backtest
QUALIFY row_number() OVER (PARTITION BY predictor ORDER BY made_at DESC, backtest_id DESC) = 1
ORDER BY predictor
"""
_CELLS = """
SELECT b.predictor, c.* EXCLUDE (backtest_id)
FROM backtest_cell AS c JOIN backtest AS b USING (backtest_id)
WHERE list_contains($ids, backtest_id)
ORDER BY b.predictor, c."window", c.horizon_seconds NULLS LAST, c.block
"""


def add(writer: Writer, row: BacktestRow, cells: pl.DataFrame) -> Future[None]:
    """Keep a back-test, and forget the oldest of its predictor beyond `KEPT`.

    Args:
        writer: the store's writer.
        row: what was asked and when.
        cells: as `predictors.rolling.roll` makes them.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(
            "INSERT INTO backtest VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", list(astuple(row))
        )
        connection.register("incoming_cell", cells.to_arrow())
        connection.execute(
            "INSERT INTO backtest_cell BY NAME SELECT ? AS backtest_id, * FROM incoming_cell",
            [row.backtest_id],
        )
        connection.unregister("incoming_cell")
        for (old,) in connection.execute(_FORGOTTEN, [row.predictor]).fetchall():
            for table in ("backtest_cell", "backtest"):
                connection.execute(f"DELETE FROM {table} WHERE backtest_id = ?", [old])

    return writer.run(work)


def newest(reader: Reader) -> pl.DataFrame:
    """The last back-test of each predictor; columns as in `BacktestRow`."""
    return reader.frame(_NEWEST)


def cells(reader: Reader, backtest_ids: list[str]) -> pl.DataFrame:
    """Their cells with `predictor`; columns as in `predictors.rolling.SCHEMA`."""
    return reader.frame(_CELLS, ids=backtest_ids)
