"""How predictions and forecasts enter the store.

`prediction` frames name their request by `request_id` (hashed like the request's own identity) or,
for requests that are in the store already, by `request_key`.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import polars as pl

TIERS = (4, 16, 64, 256, 1024)
"""Every so many-th prediction, by the key of its request, is kept once more, in `tier_table`."""
_TIME = pl.Datetime("us")
_Types = Mapping[str, pl.DataType | type[pl.DataType]]
_SAID: _Types = {
    "key": pl.List(pl.String),
    "levels": pl.List(pl.Float64),
    "predicted": pl.List(pl.Float64),
    "rival": pl.List(pl.Float64),
    "model_id": pl.String,
    "rival_id": pl.String,
    "calibration": pl.String,
    "was_fallback": pl.Boolean,
    "features_age_seconds": pl.Float64,
}
PREDICTION_FRAME: _Types = {
    "source_id": pl.Int16,
    "arrived_at": _TIME,
    "request_id": pl.String,
    "request_key": pl.UInt64,
    "quantity": pl.String,
    "predicted_at": _TIME,
    "was_before": pl.Boolean,
    **_SAID,
}
"""Columns for `append("prediction", …)`; `was_before` says that it was made before the outcome."""
FORECAST_FRAME: _Types = {
    "source_id": pl.Int16,
    "made_at": _TIME,
    "quantity": pl.String,
    "horizon_seconds": pl.Float64,
    **_SAID,
}
"""Columns for `append("forecast", …)`.

Demand (`requests_per_second`, `tokens_per_second`; key (model, tenant or "(all)")): the mean over
the ten minutes that end at made_at + horizon_seconds. `performance_ratio` (key: what runs, the
instance): over the seconds from made_at on that the horizon names; horizon 0 is now.
`load_seconds` (key: model, place): until a start that begins at made_at is ready; horizon 0.
"""


def tier_table(one_in: int) -> str:
    """Where one prediction in so many is; 1 means all of them.

    Args:
        one_in: 1 or one of `TIERS`.
    """
    return "prediction" if one_in == 1 else f"prediction_in_{one_in}"


def add_predictions(connection: duckdb.DuckDBPyConnection, rows: pl.DataFrame) -> int:
    """Predictions; one of a request, quantity and model is there at most once.

    Args:
        connection: inside a transaction.
        rows: shaped like `PREDICTION_FRAME`.
    """
    if not rows.height:
        return 0
    connection.register("incoming_row", rows.to_arrow())
    connection.execute(_FRESH)
    connection.unregister("incoming_row")
    (added,) = connection.execute(
        "INSERT INTO prediction BY NAME SELECT * FROM fresh_prediction"
    ).fetchall()[0]
    for one_in in TIERS:
        connection.execute(
            f"""INSERT INTO {tier_table(one_in)} BY NAME SELECT * FROM fresh_prediction
            WHERE request_key % {one_in}::UBIGINT = 0"""
        )
    connection.execute("DROP TABLE fresh_prediction")
    return int(added)


_FRESH = """
CREATE TEMP TABLE fresh_prediction AS
SELECT * EXCLUDE (request_id)
FROM (SELECT * REPLACE (coalesce(request_key, hash(request_id)) AS request_key) FROM incoming_row)
  AS i
WHERE NOT EXISTS (
  SELECT 1 FROM prediction AS p
  WHERE p.source_id = i.source_id AND p.arrived_at = i.arrived_at
    AND p.request_key = i.request_key AND p.quantity = i.quantity AND p.model_id = i.model_id)
QUALIFY row_number() OVER (
  PARTITION BY source_id, arrived_at, request_key, quantity, model_id ORDER BY predicted_at) = 1
"""
