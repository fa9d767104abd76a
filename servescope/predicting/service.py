"""What the running server predicts: answers when asked, and what it does on its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from threading import Event, Lock
from typing import Any

import polars as pl

from predictors import catalog
from predictors.base import AT
from predictors.rows.requests import QUANTITIES
from predictors.settings import PredictSettings
from servescope.predicting import retraining
from servescope.predicting.answers import answer_document
from servescope.predicting.bench import Bench, NotReady
from servescope.predicting.desks import Desk, Desks
from servescope.predicting.forecasts import Forecasts
from servescope.predicting.ledger import LATE, Ledger
from servescope.predicting.said import predictions_frame
from servescope.training import Trained, predictors_document, promote
from store import predictions, retention
from store.clock import Clock
from store.database import Database
from store.errors import PredictorError
from store.queries import predictor_rows
from store.queries.scope import LIVE_SOURCE_ID, Scope


class Predicting:
    """One process's predictions. Safe from any thread: one thing at a time.

    Args:
        database: the store.
        clock: stamps.
        settings: how much, how often.

    Attributes:
        bench: where predictors are trained and back-tested.
    """

    def __init__(self, database: Database, clock: Clock, settings: PredictSettings) -> None:
        self.settings = settings
        self._database, self._clock = database, clock
        self._lock = Lock()
        self._desks = Desks(database)
        self._ledger = Ledger(database, self._desks, settings)
        self._forecasts = Forecasts(database, self._desks)
        self._is_stale = True
        self._stop = Event()
        self._tried: dict[str, datetime] = {}
        self.bench = Bench(database, clock, settings, self._stop)

    def settle(self) -> Mapping[str, Any] | None:
        """Predict what has ended since the last time, and learn from it; details or None."""
        with self._lock:
            self._is_stale = False
            return self._ledger.run(self._now())

    def estimate_degradation(self) -> Mapping[str, Any] | None:
        """Say how much of its isolated performance each instance gets; details or None."""
        with self._lock:
            self._refresh()
            return self._forecasts.degradation(self._now())

    def forecast_demand(self) -> Mapping[str, Any] | None:
        """Say what models and tenants will ask for in the next hour; details or None."""
        with self._lock:
            self._refresh()
            return self._forecasts.demand(self._now())

    def forecast_starts(self) -> Mapping[str, Any] | None:
        """Say how long a start would take now, by model and node; details or None."""
        with self._lock:
            self._refresh()
            return self._forecasts.starts(self._now())

    def retrain(self) -> Mapping[str, Any] | None:
        """Train what most needs it, if anything does; details or None."""
        now = self._now()
        refused: dict[str, str] = {}
        while not self._stop.is_set() and (name := self._due(now)) is not None:
            self._tried[name] = now
            start = (now - retraining.LEARNT_FROM).replace(tzinfo=UTC)
            scope = Scope((LIVE_SOURCE_ID,), start, now.replace(tzinfo=UTC))
            try:
                done = self.train(name, scope, by="schedule")
            except NotReady as error:
                # One was started by hand: the next time will do.
                return {"predictor": name, "refused": str(error)}
            except PredictorError as error:
                # Too few rows of this kind: it costs little to ask the next one.
                refused[name] = str(error)
                continue
            told = {"predictor": name, "model_id": done.row.model_id, "why": done.why}
            return {**told, "refused": refused} if refused else told
        return {"refused": refused} if refused else None

    def _due(self, now: datetime) -> str | None:
        reader, drifted = self._database.reader, self._ledger.drifted_at
        return retraining.due(reader, self.settings, now, self._tried, drifted)

    def forget(self) -> Mapping[str, Any] | None:
        """Delete old predictions, forecasts and files of models; details or None."""
        rows = retention.delete_predictions(
            self._database.writer, self.settings.retention_days, self._clock.now()
        )
        path = self._database.path
        keep = self.settings.keep_models
        gone = retraining.forget_files(self._database.reader, path, keep) if path else 0
        return {"rows": rows, "models": gone} if rows or gone else None

    def ask(self, name: str, asked: pl.DataFrame) -> dict[str, Any]:
        """Answer rows; what names its request is kept, to be judged when it has ended.

        Args:
            name: of a predictor, or of a quantity: whatever answers for it now.
            asked: features and keys; `at` (naive UTC), and `request_id` where it shall be kept.

        Raises:
            PredictorError: no such predictor, or a needed column is missing.
            NotReady: nothing was learnt yet.
        """
        with self._lock:
            desk = self._desk(name)
            answer = desk.served.predict(asked)
            known = pl.col("request_id").is_not_null() if "request_id" in asked.columns else False
            kept = asked.with_row_index("place").filter(known)
            if kept.height:
                keys = predictions.request_keys(self._database.reader, kept["request_id"].to_list())
                rows = kept.with_columns(pl.Series("request_key", keys, pl.UInt64))
                part = answer.take(kept["place"].to_numpy())
                self._ledger.remember(desk, rows, part)
                said = predictions_frame(desk.spec, rows, part, self._now(), was_before=True)
        if kept.height:
            self._database.writer.append("prediction", said).result()
        return {**answer_document(name, desk.spec, answer), "stored": kept.height}

    def train(
        self,
        name: str,
        scope: Scope | None,
        *,
        rows: pl.DataFrame | None = None,
        by: str = "api",
    ) -> Trained:
        """Train a predictor in a process of its own; one at a time.

        Raises:
            NotReady: another training goes on.
            PredictorError: too few rows, it failed or took too long.
        """
        try:
            return self.bench.train(name, scope, rows=rows, by=by)
        finally:
            self._is_stale = True

    def promote(self, model_id: str, by: str, reason: str, origin: str) -> dict[str, Any]:
        """Let a model answer from now on, and note who wished it through which door.

        Raises:
            InputError: no such model, or its files are gone.
        """
        told = promote(self._database, self._clock, model_id, by, reason, origin)
        self._is_stale = True
        return told

    def document(self) -> dict[str, Any]:
        """The catalogue, the models, what is being trained, and what cannot be used and why."""
        with self._lock:
            problems = dict(self._desks.problems)
            answering = {desk.spec.quantity: desk.model_id for desk in self._desks.live()}
        return {
            **predictors_document(self._database.reader),
            "answering": answering,
            "problems": problems,
            "training": self.bench.told(),
        }

    def totals(self) -> Mapping[str, int]:
        """Finished live requests since the start, by whether they were predicted."""
        return dict(self._ledger.totals)

    def close(self) -> None:
        """Stop a training that goes on."""
        self._stop.set()

    def _refresh(self) -> None:
        if self._is_stale:
            now = self._now()
            waiting = predictor_rows.pending(self._database.reader, now - LATE, now)
            self._desks.refresh(now, waiting.select(AT, "request_key"))
            self._is_stale = False

    def _desk(self, name: str) -> Desk:
        self._refresh()
        desk = self._desks.named(name)
        if desk is None and name in catalog.PREDICTORS:
            # Not trained, or not good enough: what answers for the same quantity does it.
            desk = self._desks.of_quantity(catalog.entry(name).made_rival().spec.quantity)
        if desk is None and name not in {*catalog.PREDICTORS, *QUANTITIES}:
            raise PredictorError(
                f"no predictor '{name}'",
                hint=f"known: {', '.join((*catalog.PREDICTORS, *QUANTITIES))}",
            )
        if desk is None:
            raise NotReady(
                f"nothing has taught {name} yet",
                hint="it answers after 20 finished requests, or once it is trained",
            )
        return desk

    def _now(self) -> datetime:
        return self._clock.now().replace(tzinfo=None)
