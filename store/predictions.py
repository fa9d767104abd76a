"""What the live ledger keeps: predictions, who was done, and how the intervals stand, as one step.

All of a run is one transaction. A process that is killed has written all of it or nothing, so that
nothing is predicted twice and no outcome teaches twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from store.append import append_forecasts, shaped
from store.append_predictions import FORECAST_FRAME, PREDICTION_FRAME, add_predictions
from store.once import put
from store.queries.scope import LIVE_SOURCE_ID
from store.reader import Reader
from store.writer import Writer


@dataclass(frozen=True, slots=True)
class State:
    """How a predictor in service stands.

    Attributes:
        name: of the predictor.
        model_id: of its champion and rival together; another pair starts afresh.
        content: what its owner restores from, as JSON.
    """

    name: str
    model_id: str
    content: Mapping[str, Any]


def settle(
    writer: Writer,
    said: pl.DataFrame,
    done: pl.DataFrame,
    states: Sequence[State],
    at: datetime,
    forget_before: datetime,
) -> Future[int]:
    """Keep a run of the ledger; gives how many predictions were new.

    Args:
        writer: the store's writer.
        said: rows like `store.append_predictions.PREDICTION_FRAME`.
        done: at, request_key, finished_at of requests that need not be looked at again.
        states: of all predictors that learnt.
        at: naive UTC.
        forget_before: naive UTC; requests that ended before it are not looked at any more.
    """
    rows = shaped(said, PREDICTION_FRAME)
    marks = done.select(pl.col("at").alias("arrived_at"), "request_key", "finished_at")

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        added = add_predictions(connection, rows)
        connection.execute("DELETE FROM predicted_request WHERE finished_at < ?", [forget_before])
        connection.register("incoming_mark", marks.to_arrow())
        connection.execute("INSERT INTO predicted_request BY NAME SELECT * FROM incoming_mark")
        connection.unregister("incoming_mark")
        keep_states(connection, states, at)
        return added

    return writer.run(work)


def settle_forecasts(
    writer: Writer, said: pl.DataFrame, states: Sequence[State], at: datetime
) -> Future[int]:
    """Keep what was said about later times; gives how many rows were new.

    Args:
        writer: the store's writer.
        said: rows like `store.append_predictions.FORECAST_FRAME`.
        states: of all predictors that learnt.
        at: naive UTC.
    """
    rows = shaped(said, FORECAST_FRAME)

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        added = append_forecasts(connection, [rows])[0]
        keep_states(connection, states, at)
        return added

    return writer.run(work)


def keep_states(
    connection: duckdb.DuckDBPyConnection, states: Sequence[State], at: datetime
) -> None:
    """Replace what is known of each predictor's standing."""
    for state in states:
        values = {
            "name": state.name,
            "model": state.model_id,
            "at": at,
            "state": json.dumps(state.content),
        }
        put(connection, "predictor_state", ("predictor",), _STATE, _RENEWED, values)


def states(reader: Reader) -> dict[str, State]:
    """Predictor -> how it stood when it last learnt."""
    frame = reader.frame("SELECT predictor, model_id, state::VARCHAR AS state FROM predictor_state")
    return {
        name: State(name, model_id, json.loads(text)) for name, model_id, text in frame.iter_rows()
    }


def said_before(reader: Reader, since: datetime) -> pl.DataFrame:
    """Live requests about which something was said before they ended: at, request_key, quantity.

    Args:
        reader: the store.
        since: naive UTC; arrivals from here on.
    """
    return reader.frame(
        f"""SELECT DISTINCT arrived_at AS at, request_key, quantity FROM prediction
        WHERE was_before AND source_id = {LIVE_SOURCE_ID} AND arrived_at >= $since""",
        since=since,
    )


def request_keys(reader: Reader, request_ids: Sequence[str]) -> list[int]:
    """The keys that requests with these ids have or will have."""
    frame = reader.frame(
        "SELECT hash(name) AS key FROM (SELECT unnest($names) AS name)", names=list(request_ids)
    )
    return list(frame["key"])


_STATE = "SELECT $name AS predictor, $model AS model_id, $at AS saved_at, $state::JSON AS state"
_RENEWED = "model_id = new.model_id, saved_at = new.saved_at, state = new.state"
