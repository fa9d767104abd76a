"""What pages are handed of models, from any thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servescope.predicting.service import Predicting
from servescope.training import TRAIN_AGAIN, deleted
from store import models
from store.database import Database
from store.errors import InputError

ORIGIN = "dashboard"


class ModelDesk:
    """The registry of models of a server.

    Args:
        predicting: of the server.
        database: where models are kept.
    """

    def __init__(self, predicting: Predicting, database: Database) -> None:
        self._predicting, self._database = predicting, database

    def refused(self) -> Mapping[str, str]:
        """Models that may not answer, with why and what to do."""
        return dict.fromkeys(deleted(self._database), f"the files were deleted; {TRAIN_AGAIN}.")

    def promote(self, model_id: str, seen: str | None, by: str, reason: str) -> Mapping[str, Any]:
        """Let a model answer from now on, and note who wished it.

        Raises:
            InputError: no such model, its files are gone, or another champion answers by now.
        """
        now = self._champion_beside(model_id)
        if now != seen:
            raise InputError(
                f"{now or 'no model'} answers by now, not {seen or 'none'}",
                hint="look at its scores and wish it again",
            )
        return self._predicting.promote(model_id, by, reason, ORIGIN)

    def _champion_beside(self, model_id: str) -> str | None:
        """Who answers for the predictor of a model; None when nobody does."""
        found = models.listed(self._database.reader).to_dicts()
        predictor = next((row["predictor"] for row in found if row["model_id"] == model_id), None)
        for row in found:
            if row["is_champion"] and row["predictor"] == predictor:
                return str(row["model_id"])
        return None
