"""What is said about later times: demand of models and tenants, degradation of instances.

Each is asked of its champion, or of its rival while there is none, and kept as rows of `forecast`.
Outcomes come later: then what would have been said is compared with them, and learnt from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from analysis.instances import instance_name
from predictors import catalog
from predictors.base import AT, OUTCOME, Spec
from predictors.degradation import live
from predictors.serving import Answer
from servescope.predicting.desks import Desk, Desks, live_scope
from servescope.predicting.ledger import drift_events, outcomes_of
from servescope.predicting.said import said_columns
from store import predictions
from store.append_predictions import FORECAST_FRAME
from store.database import Database
from store.queries.scope import LIVE_SOURCE_ID

LEARN_AFTER = timedelta(minutes=5)
"""How often outcomes of forecasts are looked for."""
DEGRADATION = ("degradation", "degradation-ahead")
LOOK_BACK = timedelta(hours=6)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as the store keeps it


@dataclass(slots=True)
class _Learnt:
    """Up to when the outcomes of a predictor were learnt from, and when that was looked at."""

    until: datetime
    looked_at: datetime


class Forecasts:
    """Belongs to one thread at a time.

    Args:
        database: the store.
        desks: who answers.
    """

    def __init__(self, database: Database, desks: Desks) -> None:
        self._database = database
        self._desks = desks
        self._learnt: dict[str, _Learnt] = {}

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
            desk = self._desk(name, now)
            if desk is None:
                continue
            self._learn(desk, now)
            answer = desk.served.predict(asked)
            frame = forecast_frame(desk.spec, asked, answer, ("application", "place"))
            self._keep(desk, frame, now)
            told[name] = asked.height
        return told or None

    def _desk(self, name: str, now: datetime) -> Desk | None:
        if name not in catalog.PREDICTORS:
            return None
        return self._desks.forecasting(name, now)

    def _learn(self, desk: Desk, now: datetime) -> None:
        """Compare what would have been said with what has come since the last look."""
        known = self._learnt.setdefault(desk.name, _Learnt(now - LEARN_AFTER, EPOCH))
        if desk.entry is None or now - known.looked_at < LEARN_AFTER:
            return
        scope = live_scope(now - LOOK_BACK, now)
        rows = desk.entry.training_rows(self._database.reader, scope)
        fresh = rows.filter(pl.col(OUTCOME).is_finite() & (pl.col(AT) > known.until))
        known.looked_at = now
        if fresh.is_empty():
            return
        known.until = fresh[AT].max()  # type: ignore[assignment]
        observe(self._database, desk, fresh.sort(AT), now)

    def _keep(self, desk: Desk, frame: pl.DataFrame, now: datetime) -> None:
        states = [desk.state()]
        predictions.settle_forecasts(self._database.writer, frame, states, now).result()


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
        rows["horizon_seconds"].to_list()
        if "horizon_seconds" in rows.columns
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
