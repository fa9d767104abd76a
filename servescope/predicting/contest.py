"""A challenger in the shadow of what answers: asked the same, judged by the same, never heard.

When it has answered enough live requests clearly better than the champion (or than the history,
where there is none), it answers from then on; when not, somebody may still promote it by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from predictors.catalog import Entry
from predictors.distribution import Floats
from predictors.scoring import pinball
from predictors.serving import Answer, Served
from store import audit, models
from store.database import Database
from store.queries.workload import aware

ENOUGH_ROWS = 500
MARGIN_RATIO = 0.02
"""A challenger must be better by this much: changing for nothing costs calibration."""
METRIC = "pinball_beside_champion"


@dataclass(slots=True)
class Contest:
    """One challenger beside what answers, on live requests.

    Attributes:
        entry: whose model it is.
        model_id: of the challenger.
        served: the challenger, with its own calibration.
        rows: requests judged.
        loss: its pinball losses, added up.
        champion_loss: those of what was really answered, added up.
    """

    entry: Entry
    model_id: str
    served: Served
    rows: int = 0
    loss: float = 0.0
    champion_loss: float = 0.0

    def judge(self, rows: pl.DataFrame, answer: Answer, real: Floats) -> None:
        """Compare what it says with what was answered, then let it learn.

        Args:
            rows: finished requests.
            answer: what was answered.
            real: outcomes; NaN judges nobody.
        """
        made = self.served.predict(rows)
        ours, theirs = (pinball(a.prediction.quantiles, real) for a in (made, answer))
        known = np.isfinite(ours) & np.isfinite(theirs)
        self.rows += int(known.sum())
        self.loss += float(ours[known].sum())
        self.champion_loss += float(theirs[known].sum())
        self.served.observe(rows, made, real)

    @property
    def is_over(self) -> bool:
        """Whether enough was judged."""
        return self.rows >= ENOUGH_ROWS

    @property
    def is_won(self) -> bool:
        """Whether the challenger was clearly better."""
        return self.loss < self.champion_loss * (1 - MARGIN_RATIO)

    def settle(self, database: Database, now: datetime) -> bool:
        """Keep the score; promote a winner. Gives whether it won.

        Args:
            database: the store.
            now: naive UTC.
        """
        mine, theirs = self.loss / self.rows, self.champion_loss / self.rows
        score = models.Evaluation("live requests", METRIC, mine, theirs, self.rows)
        models.evaluate(database.writer, self.model_id, aware(now), score).result()
        if self.is_won:
            reason = (
                f"pinball loss {mine:.4g} against {theirs:.4g} of what answered before, on"
                f" {self.rows:,} live requests"
            )
            before = models.promote(
                database.writer, self.model_id, aware(now), "shadow", reason
            ).result()
            change = audit.Change(
                "shadow", "predictors.promote", self.model_id,
                {"model_id": before} if before else None, {"model_id": self.model_id}, "contest",
                reason,
            )  # fmt: skip
            audit.note(database.writer, aware(now), change).result()
        return self.is_won
