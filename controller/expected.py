"""What is expected of a pool: forecasts of its demand, and how long a start takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from analysis.cold_start_starts import starts
from controller import observation as seen
from controller.observation import ForecastView
from controller.pools import Pool
from controller.startup import StartupTimes
from store.queries import cold_start, control
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader

# Older forecasts are not heard; starts are looked for once a minute, over a week.
FORECAST_SECONDS, STARTS_SECONDS = 1800.0, 60.0
STARTS_OVER = timedelta(days=7)
FEWEST_STARTS = 3
_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of a pool; None and () where nothing is known."""

    startup: StartupTimes | None
    forecasts: tuple[ForecastView, ...]


class Expecting:
    """Looks up what predictors said, and remembers starts for a minute. For one thread at a time.

    Args:
        reader: the store.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._starts: dict[str, tuple[datetime, StartupTimes | None]] = {}

    def of(self, pool: Pool, models: Sequence[str], now: datetime) -> Expected:
        """What is expected of a pool.

        Args:
            pool: which.
            models: that it serves.
            now: naive UTC.
        """
        if not models:
            return Expected(None, ())
        # The demand of a model is that of its pool only where one model is all of it.
        forecasts = self._forecasts(models, now) if len(models) == 1 else ()
        if pool.startup is not None:
            return Expected(None, forecasts)
        kept = self._starts.get(pool.name)
        if kept is None or (now - kept[0]).total_seconds() >= STARTS_SECONDS:
            kept = (now, self._startup(models, now))
            self._starts[pool.name] = kept
        return Expected(kept[1], forecasts)

    def _forecasts(self, models: Sequence[str], now: datetime) -> tuple[ForecastView, ...]:
        since = now - timedelta(seconds=FORECAST_SECONDS)
        found = []
        for row in control.demand(self._reader, models, since, now).iter_rows(named=True):
            age = (now - row["made_at"]).total_seconds()
            found.append(
                ForecastView(
                    seen.REQUESTS_PER_SECOND,
                    float(row["horizon_seconds"]),
                    tuple(map(float, row["levels"])),
                    tuple(map(float, row["predicted"])),
                    age,
                )
            )
        return tuple(found)

    def _startup(self, models: Sequence[str], now: datetime) -> StartupTimes | None:
        """The slowest place's word; else the starts that were seen."""
        since = now - timedelta(seconds=2 * FORECAST_SECONDS)
        said = control.start_times(self._reader, models, since, now).to_dicts()
        if said:
            slowest = max(said, key=lambda row: row["predicted"][-1])
            return StartupTimes(tuple(slowest["levels"]), tuple(slowest["predicted"]))
        return self._seen(models, now)

    def _seen(self, models: Sequence[str], now: datetime) -> StartupTimes | None:
        scope = Scope(
            (LIVE_SOURCE_ID,), (now - STARTS_OVER).replace(tzinfo=UTC), now.replace(tzinfo=UTC)
        )
        found = starts(cold_start.observations(self._reader, scope), now)
        seconds = [
            start.ready_seconds
            for start in found
            if start.ready_seconds is not None and start.model in models
        ]
        if len(seconds) < FEWEST_STARTS:
            return None
        values = np.quantile(np.array(seconds), _LEVELS)
        return StartupTimes(_LEVELS, tuple(float(value) for value in values))
