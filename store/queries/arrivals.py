"""When requests of the live fleet came: sums of whole hours, and the rows of the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from store.queries.rollup_sql import Span
from store.queries.scope import Scope
from store.queries.tenant_rows import rolled_sql, rows_sql
from store.queries.workload import FrameReader, Stamps


def of_hours(reader: FrameReader, scope: Scope, spans: Sequence[Span]) -> pl.DataFrame:
    """The columns of `rollup_arrival` behind its hour, and `hour`, counted since 1970; in order."""
    condition, params = rolled_sql(scope, "hour_at", spans)
    return reader.frame(
        f"""SELECT epoch_us(hour_at) // 3600000000 AS hour, * EXCLUDE (source_id, hour_at)
        FROM rollup_arrival WHERE {condition} ORDER BY hour_at""",
        **params,
    )


def of_rows(reader: FrameReader, scope: Scope, spans: Sequence[Span]) -> Stamps:
    """When each request arrived, microseconds since 1970, in stored order."""
    rows, params = rows_sql(scope, spans, every_attempt=False)
    pieces = reader.batches(f"SELECT r.arrived_at FROM {rows}", **params)
    parts = [piece["arrived_at"].view(np.int64) for piece in pieces]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
