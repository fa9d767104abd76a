"""The live ledger: finished requests are predicted from what was known at their arrival.

In the order in which they ended, a stretch at a time: first predicted, then learnt from. What was
said, who is done and how the intervals stand is written in one transaction.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from predictors.base import AT, CENSORED, OUTCOME
from predictors.distribution import Floats
from predictors.drift import WIDEN_FACTOR
from predictors.rows import requests as request_rows
from predictors.serving import Answer
from predictors.settings import PredictSettings
from servescope.predicting.desks import SHARED_ROWS, Desk, Desks
from servescope.predicting.said import predictions_frame
from store import predictions
from store.append import EVENT_FRAME
from store.database import Database
from store.queries import predictor_rows
from store.queries.scope import LIVE_SOURCE_ID, Scope

LATE = timedelta(minutes=10)
"""A request whose row comes later than this after its end is learnt from at the next start only."""
STRETCH_ROWS = 64
MOST_OPEN = 20_000
_IDENTITY = (AT, "request_key")
Identity = tuple[datetime, int]


@dataclass(slots=True)
class Round:
    """What one run of the ledger came to.

    Attributes:
        predicted: requests that something was said about.
        left_out: requests that were only learnt from, to bound the work.
        said: predictions, a frame for each stretch and quantity.
        drifted: desks whose world has moved.
        won: challengers that answer from now on.
    """

    predicted: int = 0
    left_out: int = 0
    said: list[pl.DataFrame] = field(default_factory=list)
    drifted: list[Desk] = field(default_factory=list)
    won: list[str] = field(default_factory=list)


class Ledger:
    """Belongs to one thread at a time.

    Args:
        database: the store.
        desks: who answers.
        settings: how much is predicted.
    """

    def __init__(self, database: Database, desks: Desks, settings: PredictSettings) -> None:
        self._database = database
        self._desks = desks
        self._settings = settings
        self.drifted_at: dict[str, datetime] = {}
        self.totals = {"predicted": 0, "left_out": 0}
        self._open: OrderedDict[Identity, tuple[str, pl.DataFrame, Answer]] = OrderedDict()

    def remember(self, desk: Desk, rows: pl.DataFrame, answer: Answer) -> None:
        """Keep an answer about requests that have not ended, until they have.

        Args:
            desk: who answered.
            rows: with `at`, `request_key` and what the models learn from.
            answer: to `rows`.
        """
        for number, key in enumerate(rows.select(_IDENTITY).iter_rows()):
            self._open[key] = (desk.name, rows[number], answer.take([number]))
            if len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)

    def run(self, now: datetime) -> Mapping[str, Any] | None:
        """Predict and learn from what has ended; details for the record, None when nothing has.

        Args:
            now: naive UTC.
        """
        reader = self._database.reader
        waiting = predictor_rows.pending(reader, now - LATE, now)
        self._desks.refresh(now, waiting.select(_IDENTITY))
        desks = self._desks.live()
        if waiting.is_empty() or not desks:
            return None
        scope = _around(waiting)
        shared = request_rows.asked(reader, scope)
        chosen = self._chosen(waiting.height)
        done = Round(len(chosen), waiting.height - len(chosen))
        before = predictions.said_before(reader, scope.start.replace(tzinfo=None))
        marked = waiting.with_columns(
            is_chosen=pl.int_range(pl.len()).is_in(chosen.tolist()), place=pl.int_range(pl.len())
        )
        for desk in desks:
            rows = self._rows(desk, scope, shared, marked)
            known = before.filter(pl.col("quantity") == desk.spec.quantity)
            self._one(desk, rows.join(known, on=_IDENTITY, how="left"), now, done)
        self._judge_open(marked, shared)
        self._keep(done, waiting, now)
        self.totals["predicted"] += done.predicted
        self.totals["left_out"] += done.left_out
        return _told(done)

    def _chosen(self, waiting: int) -> Any:
        """Places of those that are predicted, spread evenly."""
        most = math.ceil(self._settings.most_requests_per_second * self._settings.ledger_seconds)
        if waiting <= most:
            return np.arange(waiting)
        return np.linspace(0, waiting - 1, most).round().astype(np.int64)

    def _rows(
        self, desk: Desk, scope: Scope, shared: pl.DataFrame, marked: pl.DataFrame
    ) -> pl.DataFrame:
        quantity = desk.spec.quantity
        if desk.entry is None or desk.entry.rows == f"{SHARED_ROWS}{quantity}":
            rows = request_rows.with_outcome(shared, quantity)
        else:
            rows = desk.entry.training_rows(self._database.reader, scope)
            if not set(_IDENTITY) <= set(rows.columns):
                return shared.head(0).with_columns(pl.lit(None, pl.Float64).alias(OUTCOME))
        kept = [name for name in marked.columns if name not in (*_IDENTITY, *rows.columns)]
        return rows.join(marked.select(*_IDENTITY, *kept), on=_IDENTITY).sort("place")

    def _one(self, desk: Desk, rows: pl.DataFrame, now: datetime, done: Round) -> None:
        """Let one desk answer and learn, a stretch at a time."""
        mine = [key for key, (name, _, _) in self._open.items() if name == desk.name]
        rows = _without(rows.drop_nulls(OUTCOME), [*mine, *desk.taught])
        if rows.is_empty():
            return
        stretches = math.ceil(max(int(rows["is_chosen"].sum()), 1) / STRETCH_ROWS)
        for part in np.array_split(np.arange(rows.height), stretches):
            stretch = rows[part]
            asked = stretch.filter("is_chosen")
            if asked.height:
                answer = desk.served.predict(asked)
                unsaid = asked["quantity"].is_null().to_numpy()
                if unsaid.any():
                    done.said.append(
                        predictions_frame(
                            desk.spec, asked.filter(pl.Series(unsaid)),
                            answer.take(np.flatnonzero(unsaid)), now, was_before=False,
                        )
                    )  # fmt: skip
                self._learn(desk, asked, answer, done)
            rest = stretch.filter(~pl.col("is_chosen"))
            if rest.height:
                desk.served.learn(rest)

    def _learn(self, desk: Desk, rows: pl.DataFrame, answer: Answer, done: Round) -> None:
        real = outcomes_of(rows)
        desk.served.observe(rows, answer, real)
        if desk.drift.watch(answer.champion.quantiles, real):
            desk.served.widen(WIDEN_FACTOR)
            done.drifted.append(desk)
        contest = self._desks.contests.get(desk.spec.quantity)
        if contest is not None:
            contest.judge(rows, answer, real)

    def _judge_open(self, marked: pl.DataFrame, shared: pl.DataFrame) -> None:
        """Learn from answers that were given before their requests ended."""
        ended = shared.join(marked.select(_IDENTITY), on=_IDENTITY, how="semi")
        for key in ended.select(_IDENTITY).iter_rows():
            kept = self._open.pop(key, None)
            desk = self._desks.named(kept[0]) if kept else None
            if kept is None or desk is None or desk.model_id != kept[2].prediction.model_id:
                continue
            came = ended.filter((pl.col(AT) == key[0]) & (pl.col("request_key") == key[1]))
            real = request_rows.with_outcome(came, desk.spec.quantity)
            rows = kept[1].with_columns(real[OUTCOME], real[CENSORED])
            desk.served.observe(rows, kept[2], outcomes_of(rows))

    def _keep(self, done: Round, waiting: pl.DataFrame, now: datetime) -> None:
        said = pl.concat(done.said) if done.said else pl.DataFrame()
        states = [desk.state() for desk in self._desks.all()]
        try:
            predictions.settle(
                self._database.writer, said, waiting, states, now, now - 2 * LATE
            ).result()
        except Exception:
            # What was learnt is not on disk: the next run starts from what is.
            self._desks.forget()
            raise
        if self._settings.auto_promote:
            done.won = self._desks.settle_contests(now)
        if done.drifted:
            self.drifted_at |= {desk.name: now for desk in done.drifted}
            events = drift_events(done.drifted, now)
            self._database.writer.append("event", events).result()


def _told(done: Round) -> Mapping[str, Any]:
    return {
        "requests": done.predicted,
        "left_out": done.left_out,
        "predictions": sum(part.height for part in done.said),
        "drifted": [desk.name for desk in done.drifted],
        "promoted": done.won,
    }


def outcomes_of(rows: pl.DataFrame) -> Floats:
    """(n,) outcomes; NaN where only a lower bound is known, which judges nobody."""
    real = pl.when(~pl.col(CENSORED)).then(pl.col(OUTCOME).cast(pl.Float64))
    return rows.select(real.fill_null(math.nan)).to_series().to_numpy()


def drift_events(desks: Sequence[Desk], now: datetime) -> pl.DataFrame:
    """Rows of `event`: what moved, and what was done about it."""
    rows = [
        {
            "event_id": f"predictor_drift:{desk.name}:{now.isoformat()}",
            "source_id": LIVE_SOURCE_ID,
            "started_at": now,
            "ended_at": now,
            "kind": "predictor_drift",
            "subject": desk.name,
            "text": f"{desk.spec.quantity} no longer comes out as {desk.model_id} learnt it: its"
            " intervals were widened at once"
            + ("" if desk.is_naive else ", and it is trained again soon"),
            "details": None,
        }
        for desk in {desk.name: desk for desk in desks}.values()
    ]
    return pl.DataFrame(rows, schema=dict(EVENT_FRAME))


def _around(waiting: pl.DataFrame) -> Scope:
    first, last = waiting[AT].min(), waiting[AT].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        raise TypeError("arrivals are times")
    end = last + timedelta(microseconds=1)
    return Scope((LIVE_SOURCE_ID,), first.replace(tzinfo=UTC), end.replace(tzinfo=UTC))


def _without(rows: pl.DataFrame, keys: Sequence[Identity]) -> pl.DataFrame:
    if not keys:
        return rows
    schema: dict[str, Any] = {AT: pl.Datetime("us"), "request_key": pl.UInt64}
    known = pl.DataFrame(list(keys), schema=schema, orient="row")
    return rows.join(known, on=_IDENTITY, how="anti")
