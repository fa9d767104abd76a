"""The bench of a server: one predictor at a time is trained or back-tested, in a process apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock
from typing import Any, ClassVar

import polars as pl

from predictors.settings import PredictSettings
from servescope.backtesting import backtest
from servescope.training import Trained, train
from servescope.training_process import TrainingSettings
from store.clock import Clock
from store.database import Database
from store.errors import PredictorError
from store.queries.scope import Scope


class NotReady(PredictorError):
    """It would work at another time: nothing was learnt yet, or the bench is taken."""

    status: ClassVar[int] = 409


class Bench:
    """Safe from any thread.

    Args:
        database: the store.
        clock: stamps.
        settings: limits of a training.
        stop: ends what goes on once it is set.
    """

    def __init__(
        self, database: Database, clock: Clock, settings: PredictSettings, stop: Event
    ) -> None:
        self._database, self._clock, self._stop = database, clock, stop
        self._limits = TrainingSettings(
            settings.train_limit_seconds, settings.train_threads, settings.train_most_rows
        )
        self._slot = Lock()
        self._working: dict[str, Any] | None = None

    def train(
        self, name: str, scope: Scope | None, *, rows: pl.DataFrame | None = None, by: str = "api"
    ) -> Trained:
        """Train a predictor in a process of its own.

        Raises:
            NotReady: the bench is taken.
            PredictorError: too few rows, it failed or took too long.
        """
        with self._alone("trained", name, by):
            return train(
                *(self._database, self._clock, name, scope),
                rows=rows, by=by, settings=self._limits, stop=self._stop,
            )  # fmt: skip

    def backtest(
        self, name: str, scope: Scope, source: str, windows: int, by: str = "api"
    ) -> dict[str, Any]:
        """Judge a predictor on rolling origins of the store's rows, in a process of its own.

        Raises:
            NotReady: the bench is taken.
            PredictorError: too few rows, it failed or took too long.
        """
        with self._alone("back-tested", name, by) as work:

            def told(done: int) -> None:
                work["windows_done"] = done

            work |= {"windows": windows, "windows_done": 0}
            return backtest(
                *(self._database, self._clock, name, scope), source=source, windows=windows,
                by=by, settings=self._limits, stop=self._stop, told=told,
            )  # fmt: skip

    def told(self) -> dict[str, Any] | None:
        """What is on the bench: predictor, doing, by, started_at, seconds; None if nothing is."""
        working = self._working
        if working is None:
            return None
        return {**working, "seconds": (self._clock.now() - working["started_at"]).total_seconds()}

    @contextmanager
    def _alone(self, doing: str, name: str, by: str) -> Iterator[dict[str, Any]]:
        """The bench for one; gives what is told of it meanwhile."""
        if not self._slot.acquire(blocking=False):
            running = self._working or {"predictor": "another predictor", "doing": "trained"}
            raise NotReady(
                f"{running['predictor']} is being {running['doing']}",
                hint="one at a time: GET /api/v1/predictors says how it stands",
            )
        started_at = self._clock.now()
        try:
            self._working = {
                "predictor": name, "doing": doing, "by": by, "started_at": started_at,
            }  # fmt: skip
            yield self._working
        finally:
            self._working = None
            self._slot.release()
