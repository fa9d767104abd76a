"""What is said about later times: demand of models and tenants, starts, degradation of instances.

Each is asked of its champion, or of its rival while there is none, and kept as rows of `forecast`.
Outcomes come later: then what would have been said is compared with them, and learnt from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import polars as pl

from analysis.instances import instance_name
from predictors import catalog
from predictors.base import AT, OUTCOME, Spec
from predictors.cold_start import rows as start_rows
from predictors.cold_start.spec import MODEL
from predictors.degradation import live
from predictors.demand.rows import Quantity, questions, recent_rows
from predictors.demand.windows import HISTORY, WINDOW_SECONDS
from predictors.serving import Answer
from servescope.predicting.desks import Desk, Desks, live_scope
from servescope.predicting.ledger import drift_events, outcomes_of
from servescope.predicting.said import said_columns
from store import predictions
from store.append_predictions import FORECAST_FRAME
from store.database import Database
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader

DEGRADATION_AFTER, DEMAND_AFTER = timedelta(minutes=5), timedelta(seconds=WINDOW_SECONDS)
"""How often outcomes of forecasts are looked for."""
DEGRADATION = ("degradation", "degradation-ahead")
DEGRADATION_BACK = timedelta(hours=6)
DEMAND: Mapping[str, Quantity] = {
    "demand-rate": "requests_per_second",
    "demand-tokens": "tokens_per_second",
}
STARTS_BACK, STARTS_AFTER = timedelta(days=14), timedelta(minutes=5)
STARTS_AGAIN = timedelta(hours=1)
LEAST_STARTS = 2
"""Starts are rare: the previous load says more than nothing."""
LEAST_DEMAND = 3
"""Outcomes from which the last value is spread: with few tenants an hour has no twenty of them."""
DEMAND_AGAIN = timedelta(hours=1)
DEMAND_BACK = timedelta(seconds=WINDOW_SECONDS * (HISTORY + 1))
HORIZON = "horizon_seconds"


class Forecasts:
    """Belongs to one thread at a time.

    Args:
        database: the store.
        desks: who answers.
    """

    def __init__(self, database: Database, desks: Desks) -> None:
        self._database = database
        self._desks = desks
        self._looked_at: dict[str, datetime] = {}

    def demand(self, now: datetime) -> Mapping[str, Any] | None:
        """Requests and tokens a second of models and tenants over the next hour.

        Args:
            now: naive UTC.
        """
        told = {}
        for name, quantity in DEMAND.items():
            scope = live_scope(now - DEMAND_BACK, now)
            recent = partial(recent_rows, self._database.reader, scope, quantity)
            desk = self._desks.forecasting(name, now, recent, LEAST_DEMAND, DEMAND_AGAIN)
            if desk is None:
                continue
            self._learn(desk, now, DEMAND_AFTER, recent)
            asked = questions(self._database.reader, scope, quantity)
            if asked.is_empty():
                continue
            answer = desk.served.predict(asked)
            self._keep(desk, forecast_frame(desk.spec, asked, answer, ("model", "tenant")), now)
            told[name] = asked.height
        return told or None

    def starts(self, now: datetime) -> Mapping[str, Any] | None:
        """How long a start would take now, of every model and node that one was seen of.

        Args:
            now: naive UTC.
        """
        scope = live_scope(now - STARTS_BACK, now)
        recent = partial(_ended_starts, self._database.reader, scope)
        desk = self._desks.forecasting("cold-start", now, recent, LEAST_STARTS, STARTS_AGAIN)
        if desk is None:
            return None
        self._learn(desk, now, STARTS_AFTER, recent)
        asked = start_rows.questions(self._database.reader, scope)
        if asked.is_empty():
            return None
        answer = desk.served.predict(asked)
        frame = forecast_frame(desk.spec, asked, answer, (MODEL, start_rows.PLACE))
        self._keep(desk, frame, now)
        return {"cold-start": asked.height}

    def degradation(self, now: datetime) -> Mapping[str, Any] | None:
        """How much of its isolated performance each instance gets, now and soon.

        Args:
            now: naive UTC.
        """
        asked = live.questions(self._database.reader, now.replace(tzinfo=UTC))
        if asked.is_empty():
            return None
        places = [instance_name(url) for url in asked["instance"]]
        asked = asked.with_columns(pl.Series("place", places, pl.String))
        told = {}
        for name in DEGRADATION:
            entry = catalog.entry(name)
            scope = live_scope(now - DEGRADATION_BACK, now)
            recent = partial(entry.training_rows, self._database.reader, scope)
            desk = self._desks.forecasting(name, now, recent)
            if desk is None:
                continue
            self._learn(desk, now, DEGRADATION_AFTER, recent)
            answer = desk.served.predict(asked)
            frame = forecast_frame(desk.spec, asked, answer, ("application", "place"))
            self._keep(desk, frame, now)
            told[name] = asked.height
        return told or None

    def _learn(
        self, desk: Desk, now: datetime, after: timedelta, recent: Callable[[], pl.DataFrame]
    ) -> None:
        """Compare what would have been said with what has come since the last look."""
        looked_at = self._looked_at.get(desk.name)
        if looked_at is not None and now - looked_at < after:
            return
        self._looked_at[desk.name] = now
        rows = recent()
        due = pl.col(AT)
        if HORIZON in rows.columns:
            due = due + pl.duration(microseconds=(pl.col(HORIZON) * 1e6).cast(pl.Int64))
        since = desk.learnt_until or now - after
        fresh = rows.with_columns(due=due).filter(
            pl.col(OUTCOME).is_finite() & (pl.col("due") > since)
        )
        if fresh.is_empty():
            return
        desk.learnt_until = fresh["due"].max()  # type: ignore[assignment]
        observe(self._database, desk, fresh.sort("due", AT), now)

    def _keep(self, desk: Desk, frame: pl.DataFrame, now: datetime) -> None:
        states = [desk.state()]
        predictions.settle_forecasts(self._database.writer, frame, states, now).result()


def _ended_starts(reader: Reader, scope: Scope) -> pl.DataFrame:
    """Starts by when they were ready: only then is known how long they took."""
    rows = start_rows.start_rows(reader, scope)
    return rows.with_columns(pl.col(OUTCOME).alias(HORIZON))


def observe(database: Database, desk: Desk, rows: pl.DataFrame, now: datetime) -> None:
    """Answer rows whose outcomes are known, and learn from them; drift becomes an event."""
    if "is_censored" not in rows.columns:
        rows = rows.with_columns(is_censored=pl.lit(value=False))
    answer = desk.served.predict(rows)
    real = outcomes_of(rows)
    desk.served.observe(rows, answer, real)
    if desk.drift.watch(answer.champion.quantiles, real):
        desk.served.widen(1.0)
        database.writer.append("event", drift_events([desk], now)).result()


def forecast_frame(
    spec: Spec, rows: pl.DataFrame, answer: Answer, key: Sequence[str]
) -> pl.DataFrame:
    """Rows for `append("forecast", …)`.

    Args:
        spec: of what answered.
        rows: that were asked, with `at`, the columns of `key`, and `horizon_seconds` where they
            look ahead differently.
        answer: to them.
        key: columns that name what each is about.
    """
    horizon = (
        rows[HORIZON].to_list()
        if HORIZON in rows.columns
        else [spec.horizon_seconds or 0.0] * rows.height
    )
    names = [rows[name].cast(pl.String).fill_null("").to_list() for name in key]
    said = {
        **said_columns(spec, rows, answer),
        "key": [list(parts) for parts in zip(*names, strict=True)],
        "source_id": [LIVE_SOURCE_ID] * rows.height,
        "made_at": rows[AT].to_list(),
        "quantity": [spec.quantity] * rows.height,
        "horizon_seconds": horizon,
    }
    return pl.DataFrame(said, schema_overrides=dict(FORECAST_FRAME))
