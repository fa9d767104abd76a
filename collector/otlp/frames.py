"""Rows from spans -> frames for the store, column by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collector.otlp.requests import ROW_COLUMNS, Request

if TYPE_CHECKING:
    import polars as pl

LIVE_SOURCE_ID = 1
_TOKENS = ("input_tokens", "output_tokens", "cached_tokens")
_START_COLUMNS = (
    *("instance", "model", "node", "phase", "started_at", "ended_at", "cache_state", "evidence"),
)


def request_frame(requests: Sequence[Request]) -> pl.DataFrame:
    """A frame for `append("request", …)`."""
    import polars as pl

    columns = zip(*(request.row for request in requests), strict=True) if requests else ()
    told = (
        dict(zip(ROW_COLUMNS, columns, strict=True)) if requests else dict.fromkeys(ROW_COLUMNS, ())
    )
    frame = pl.DataFrame(
        [pl.Series(name, told[name], _type(name), strict=False) for name in ROW_COLUMNS]
    )
    return frame.with_columns(
        pl.col("arrived_at").cast(pl.Datetime("us")), source_id=pl.lit(LIVE_SOURCE_ID, pl.Int16)
    )


def start_frame(starts: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """A frame for `append("instance_start", …)`."""
    import polars as pl

    times = ("started_at", "ended_at")
    schema = {name: pl.Int64() if name in times else pl.String() for name in _START_COLUMNS}
    frame = pl.DataFrame(list(starts), schema=schema, orient="row")
    return frame.with_columns(pl.col(*times).cast(pl.Datetime("us")))


def _type(name: str) -> pl.DataType:
    import polars as pl

    if name == "arrived_at":
        return pl.Int64()
    if name in _TOKENS:
        return pl.Int32()
    return pl.Float64() if name.endswith("_seconds") else pl.String()
