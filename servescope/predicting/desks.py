"""Who answers for which quantity: the champion of the registry, else the naive history."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from predictors import catalog, naive
from predictors.base import AT, OUTCOME, Spec
from predictors.drift import Drift
from predictors.rows import requests as request_rows
from predictors.serving import Served
from servescope.predicting.contest import METRIC, Contest
from store import models, predictions
from store.database import Database
from store.errors import PredictorError, ServescopeError
from store.queries import predictor_rows
from store.queries.scope import LIVE_SOURCE_ID, Scope

log = logging.getLogger("servescope.predicting")

RECENT = timedelta(days=7)
RECENT_ROWS = 20_000
"""A history is learnt from this many of the newest finished requests when the server starts."""
LEAST_ROWS = 20
LOOK_AGAIN = timedelta(minutes=10)
"""Where there was too little to learn from, this much later is looked again."""
SHARED_ROWS = "predictors.rows.requests:"


@dataclass(slots=True)
class Desk:
    """What answers for one quantity.

    Attributes:
        name: in the catalogue, or of the history.
        model_id: of the champion; the history's name where there is none.
        served: champion and rival.
        entry: in the catalogue; None for a history.
        drift: watches the champion's errors.
        taught: requests that it began with and that are therefore not predicted by it.
        learnt_until: outcomes of forecasts that were due by then have been learnt from; naive UTC.
    """

    name: str
    model_id: str
    served: Served
    entry: catalog.Entry | None
    drift: Drift = field(default_factory=Drift)
    taught: tuple[tuple[datetime, int], ...] = ()
    learnt_until: datetime | None = None

    @property
    def spec(self) -> Spec:
        """Of what answers."""
        return self.served.spec

    @property
    def is_naive(self) -> bool:
        """Whether no trained model answers."""
        return self.entry is None or isinstance(self.served.champion, naive.Alone)

    @property
    def pair_id(self) -> str:
        """Of champion and rival together: what calibration and duels belong to."""
        if self.entry is not None and self.is_naive:
            # Its name changes whenever it learns afresh; how far it is off hardly does.
            return f"{self.spec.rival or self.name} alone"
        return " ".join(self.served.model_ids)

    def learn_afresh(self, rows: pl.DataFrame) -> None:
        """Let a rival that answers by itself start again from newer rows; intervals stay.

        Raises:
            PredictorError: no row has an outcome.
        """
        self.served.champion.fit(rows)
        self.model_id = self.served.champion.model_id

    def state(self) -> predictions.State:
        """How it stands."""
        until = self.learnt_until.isoformat() if self.learnt_until else None
        return predictions.State(
            self.name, self.pair_id, {**self.served.state(), "learnt_until": until}
        )


class Desks:
    """All of them; belongs to one owner at a time, like what it holds.

    Args:
        database: the store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._trained: dict[str, Desk] = {}
        self._naive: dict[str, Desk] = {}
        self._stand_ins: dict[str, Desk] = {}
        self.contests: dict[str, Contest] = {}
        self._looked_at: dict[str, datetime] = {}
        self._judged: set[str] = set()
        self.problems: dict[str, str] = {}

    def forget(self) -> None:
        """Start again from what the store knows."""
        self._trained.clear()
        self._naive.clear()
        self._stand_ins.clear()
        self.contests.clear()

    def named(self, name: str) -> Desk | None:
        """Of a predictor of the catalogue, of a history, or whatever answers for a quantity."""
        known = {**{desk.name: desk for desk in self._naive.values()}, **self._trained}
        return known.get(name) or self.of_quantity(name)

    def of_quantity(self, quantity: str) -> Desk | None:
        """What answers for a quantity of finished requests."""
        for desk in self._trained.values():
            if desk.spec.quantity == quantity and desk.entry is not None and desk.entry.rows:
                return desk
        return self._naive.get(quantity)

    def all(self) -> list[Desk]:
        """Every desk that is open."""
        return [*self._trained.values(), *self._naive.values()]

    def live(self) -> list[Desk]:
        """Those that answer for finished requests, one a quantity."""
        found = (self.of_quantity(quantity) for quantity in request_rows.QUANTITIES)
        return [desk for desk in found if desk is not None]

    def forecasting(
        self,
        name: str,
        now: datetime,
        recent: Callable[[], pl.DataFrame],
        least: int = LEAST_ROWS,
        again: timedelta | None = None,
    ) -> Desk | None:
        """What answers for a predictor that is not about single requests: champion, else rival.

        None while there is too little to learn from, or what it needs is not installed.

        Args:
            name: in the catalogue.
            now: naive UTC.
            recent: gives what the rival learns from where there is no champion.
            least: rows with an outcome below which nothing is said.
            again: how often a rival that answers by itself learns afresh; None where it learns
                from each outcome.
        """
        known = self._trained.get(name) or self._stand_ins.get(name)
        wait = LOOK_AGAIN if known is None else again
        is_due = wait is not None and now - self._looked_at.get(name, now - wait) >= wait
        if name in self._trained or not is_due:
            return known
        self._looked_at[name] = now
        entry = catalog.entry(name)
        try:
            rows = recent()
            ended = rows.filter(pl.col(OUTCOME).is_finite())
            if ended.height < least:
                return known
            if known is not None:
                known.learn_afresh(ended)
                return known
            rival = entry.made_rival()
            # What had come by now it was taught with.
            desk = Desk(name, rival.model_id, naive.alone(rival, ended), entry, learnt_until=now)
        except PredictorError as error:
            self.problems[name] = str(error)
            return known
        desk.model_id = rival.model_id
        self._restore(desk, predictions.states(self._database.reader))
        self._stand_ins[name] = desk
        return desk

    def refresh(self, now: datetime, pending: pl.DataFrame) -> None:
        """Open and close desks, so that they are those of the registry.

        Args:
            now: naive UTC.
            pending: at, request_key of requests that will be predicted: nothing learns them here.
        """
        states: Mapping[str, predictions.State] | None = None
        champions = models.champions(self._database.reader)
        for name in [name for name in self._trained if champions.get(name) is None]:
            del self._trained[name]
        for name, model_id in champions.items():
            known = self._trained.get(name)
            if name in catalog.PREDICTORS and (known is None or known.model_id != model_id):
                states = states or predictions.states(self._database.reader)
                self._open(name, model_id, states, now, pending)
        self._challenge()
        for quantity in naive.SPECS:
            answering = self.of_quantity(quantity)
            if answering is not None and not answering.is_naive:
                # Nobody teaches it any more; should it be needed again, it learns afresh.
                self._naive.pop(quantity, None)
        missing = [q for q in naive.SPECS if self.of_quantity(q) is None]
        if missing:
            states = states or predictions.states(self._database.reader)
            self._learn(missing, states, now, pending)

    def _open(
        self,
        name: str,
        model_id: str,
        states: Mapping[str, predictions.State],
        now: datetime,
        pending: pl.DataFrame,
    ) -> None:
        path = self._database.path
        if path is None:
            return
        entry = catalog.entry(name)
        folder = models.models_folder(path) / model_id
        try:
            champion, rival = entry.loaded(folder), entry.loaded_rival(folder / "rival")
            served = Served(champion, rival, naive.settings_of(champion.spec))
            desk = Desk(name, model_id, served, entry)
            self._restore(desk, states)
            if entry.rows and champion.spec.quantity in request_rows.QUANTITIES:
                self._catch_up(desk, now, pending)
        except (ServescopeError, OSError) as error:
            # Its history goes on answering; the reason is shown with the predictors.
            self._trained.pop(name, None)
            if self.problems.get(name) != str(error):
                log.warning("model_unusable", extra={"model": model_id, "error": str(error)[:300]})
            self.problems[name] = str(error)
            return
        self.problems.pop(name, None)
        self._trained[name] = desk

    def _challenge(self) -> None:
        """Open a contest for the newest model of each predictor of requests that was not judged."""
        path = self._database.path
        listed = models.listed(self._database.reader)
        if path is None or listed.is_empty():
            return
        judged = self._judged | models.scored(self._database.reader, METRIC)
        wanted = {}
        for row in listed.unique("predictor", keep="first").iter_rows(named=True):
            entry = catalog.PREDICTORS.get(row["predictor"])
            is_open = not row["is_champion"] and row["model_id"] not in judged
            if entry is not None and entry.rows.startswith(SHARED_ROWS) and is_open:
                wanted[entry.rows.removeprefix(SHARED_ROWS)] = (entry, row["model_id"])
        for quantity in [q for q in self.contests if q not in wanted]:
            del self.contests[quantity]
        for quantity, (entry, model_id) in wanted.items():
            running = self.contests.get(quantity)
            if running is None or running.model_id != model_id:
                folder = models.models_folder(path) / model_id
                self._open_contest(quantity, entry, model_id, folder)

    def _open_contest(
        self, quantity: str, entry: catalog.Entry, model_id: str, folder: Path
    ) -> None:
        try:
            challenger = entry.loaded(folder)
            rival = entry.loaded_rival(folder / "rival")
        except (ServescopeError, OSError) as error:
            self._judged.add(model_id)
            log.warning("model_unusable", extra={"model": model_id, "error": str(error)[:300]})
            return
        served = Served(challenger, rival, naive.settings_of(challenger.spec))
        self.contests[quantity] = Contest(entry, model_id, served)

    def settle_contests(self, now: datetime) -> list[str]:
        """Close contests that are over; gives the models that won.

        Args:
            now: naive UTC.
        """
        won = []
        for quantity in [q for q, contest in self.contests.items() if contest.is_over]:
            contest = self.contests.pop(quantity)
            self._judged.add(contest.model_id)
            if contest.settle(self._database, now):
                # It goes on with the calibration that it earned.
                name = contest.entry.name
                self._trained[name] = Desk(name, contest.model_id, contest.served, contest.entry)
                won.append(contest.model_id)
        return won

    def _catch_up(self, desk: Desk, now: datetime, pending: pl.DataFrame) -> None:
        """What ended since the model was trained, as far as it is not to be predicted yet."""
        found = models.listed(self._database.reader, desk.name)
        (until,) = found.filter(pl.col("model_id") == desk.model_id)["data_until"].to_list()
        start = max(until, now - RECENT)
        if desk.entry is None or start >= now:
            return
        rows = desk.entry.training_rows(self._database.reader, live_scope(start, now))
        if {AT, "request_key"} <= set(rows.columns):
            rows = rows.join(pending, on=[AT, "request_key"], how="anti")
            desk.served.learn(rows.tail(RECENT_ROWS))

    def _learn(
        self,
        quantities: Iterable[str],
        states: Mapping[str, predictions.State],
        now: datetime,
        pending: pl.DataFrame,
    ) -> None:
        rows = predictor_rows.requests(
            self._database.reader, live_scope(now - RECENT, now), RECENT_ROWS
        )
        ended = rows.filter(pl.col("finished_at") <= now).sort("finished_at", "request_key")
        known = ended.join(pending, on=[AT, "request_key"], how="anti")
        waiting = ended.join(pending, on=[AT, "request_key"], how="semi")
        for quantity in quantities:
            learnt = request_rows.with_outcome(known, quantity).drop_nulls(OUTCOME)
            # Where nothing is known yet the first that ended are learnt from, not predicted.
            first = request_rows.with_outcome(waiting, quantity).drop_nulls(OUTCOME)
            first = first.head(max(LEAST_ROWS - learnt.height, 0))
            if learnt.height + first.height < LEAST_ROWS:
                continue
            spec = naive.SPECS[quantity]
            served = naive.naive(spec, pl.concat([learnt, first]))
            taught = tuple(first.select(AT, "request_key").iter_rows())
            desk = Desk(spec.name, spec.name, served, None, taught=taught)
            self._restore(desk, states)
            self._naive[quantity] = desk

    def _restore(self, desk: Desk, states: Mapping[str, predictions.State]) -> None:
        kept = states.get(desk.name)
        if kept is None or kept.model_id != desk.pair_id:
            return
        try:
            desk.served.restore(dict(kept.content))
            until = kept.content.get("learnt_until")
            desk.learnt_until = datetime.fromisoformat(until) if until else None
        except (PredictorError, KeyError, TypeError, ValueError) as error:
            log.warning("calibration_lost", extra={"model": desk.name, "error": str(error)[:300]})


def live_scope(start: datetime, end: datetime) -> Scope:
    """Live requests between two naive UTC instants."""
    return Scope((LIVE_SOURCE_ID,), start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
