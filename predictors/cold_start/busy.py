"""P(busy in the next window) of a client: boosted trees, and the keep-alive they have to beat."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from predictors import artifact
from predictors.base import OUTCOME, FitReport, Prediction, Spec, learnable
from predictors.baselines import HELD_OUT_SHARE, LEAST_HELD_OUT
from predictors.cold_start.activity import FEATURES, SPEC
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.scoring import Scores, score
from predictors.trees import Trees, from_boosting
from store.errors import PredictorError

SINCE_SPEC = replace(SPEC, name="cold-start-busy-since")
_BOUND = 1e9
_LEAST_TO_BOOST = 20
MOST_LOG_IDLE = 12


class SinceBusy:
    """P(busy) from how long the client has been idle, nothing else: what keep-alive knows."""

    spec: ClassVar[Spec] = SINCE_SPEC

    def __init__(self) -> None:
        self._shares: Floats | None = None
        self._model_id = f"{SINCE_SPEC.name}-unfitted"

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Count how often clients came back.

        Raises:
            PredictorError: no row has an outcome.
        """
        start = time.process_time()
        known = learnable(SPEC, SPEC.frame(rows))
        place, real = _idle_bin(known), known[OUTCOME].to_numpy()
        count = np.bincount(place, minlength=MOST_LOG_IDLE + 2)
        came = np.bincount(place, weights=real, minlength=MOST_LOG_IDLE + 2)
        # Two rows of the average answer for an empty bin. Longer idle is never likelier.
        shares = (came + 2 * real.mean()) / (count + 2)
        shares[:-1] = np.minimum.accumulate(shares[:-1])
        self._shares = shares
        digest = hashlib.sha256(place.tobytes() + real.tobytes()).hexdigest()
        self._model_id = f"{SINCE_SPEC.name}-{digest[:12]}"
        scores = score(self.predict(known).quantiles, real)
        return FitReport(known.height, 0, time.process_time() - start, scores, scores)

    def probabilities(self, rows: pl.DataFrame) -> Floats:
        """(n,) P(busy).

        Raises:
            PredictorError: it was never fitted.
        """
        if self._shares is None:
            raise PredictorError("nobody was watched yet", hint="train: servescope train")
        return np.asarray(self._shares[_idle_bin(SPEC.frame(rows))], dtype=np.float64)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Quantiles of busy (1) or not (0)."""
        return Prediction.raw(
            _bernoulli(self.probabilities(rows)), self._model_id, SPEC.horizon_seconds
        )

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: rows bring their own past."""

    def save(self, folder: Path) -> None:
        """Write the shares."""
        if self._shares is None:
            raise PredictorError("nothing was learnt that could be saved")
        artifact.write(folder, SINCE_SPEC, self._model_id, {"shares": self._shares}, {})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        made = cls()
        made._model_id, arrays, _ = artifact.read(folder, SINCE_SPEC)
        made._shares = arrays["shares"]
        return made


class Busy:
    """P(busy) from recent windows, gaps and seasons of the client.

    Its answer is a yes or no with a probability: `probabilities` gives it, `predict` the quantiles
    of 0 and 1 that the contract asks for.

    Args:
        seed: of everything random.
        boosts: models that are averaged.
        steps: trees of each.
    """

    spec: ClassVar[Spec] = SPEC

    def __init__(self, seed: int = 0, boosts: int = 2, steps: int = 250) -> None:
        self._seed, self._boosts, self._steps = seed, boosts, steps
        self._trees: list[Trees] = []
        self._usual: float | None = None
        self._model_id = f"{SPEC.name}-unfitted"

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Boost; judged on the last fifth by one boosted from the rest.

        Raises:
            PredictorError: no row has an outcome.
        """
        start = time.process_time()
        known = learnable(SPEC, SPEC.frame(rows))
        held = int(known.height * HELD_OUT_SHARE)
        ours = rival = None
        if held >= LEAST_HELD_OUT:
            ours, rival = self._judged(known, held)
        self._boost(known)
        seconds = time.process_time() - start
        return FitReport(known.height, held if ours else 0, seconds, ours, rival)

    def probabilities(self, rows: pl.DataFrame) -> Floats:
        """(n,) P(busy), in (0, 1).

        Raises:
            PredictorError: it was never fitted.
        """
        if self._usual is None:
            raise PredictorError("nobody was watched yet", hint="train: servescope train")
        columns = _columns(SPEC.frame(rows))
        if not self._trees:
            return np.full(len(columns), self._usual)
        logits = np.mean([trees.predict(columns) for trees in self._trees], axis=0)
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), dtype=np.float64)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Quantiles of busy (1) or not (0)."""
        return Prediction.raw(
            _bernoulli(self.probabilities(rows)), self._model_id, SPEC.horizon_seconds
        )

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: rows bring their own past."""

    def save(self, folder: Path) -> None:
        """Write the trees."""
        if self._usual is None:
            raise PredictorError("nothing was learnt that could be saved")
        arrays: dict[str, Any] = {"usual": np.array([self._usual])}
        for number, trees in enumerate(self._trees):
            arrays |= trees.arrays(f"boost{number}")
        artifact.write(folder, SPEC, self._model_id, arrays, {"boosts": len(self._trees)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        made = cls()
        made._model_id, arrays, settings = artifact.read(folder, SPEC)
        made._usual = float(arrays["usual"][0])
        made._trees = [
            Trees.from_arrays(arrays, f"boost{number}") for number in range(settings["boosts"])
        ]
        return made

    def _judged(self, known: pl.DataFrame, held: int) -> tuple[Scores, Scores]:
        learn, judge = known.head(known.height - held), known.tail(held)
        real = judge[OUTCOME].to_numpy()
        other, rival = Busy(self._seed, self._boosts, self._steps), SinceBusy()
        other._boost(learn)
        rival.fit(learn)
        return (
            score(other.predict(judge).quantiles, real, with_tau=False),
            score(rival.predict(judge).quantiles, real, with_tau=False),
        )

    def _boost(self, known: pl.DataFrame) -> None:
        columns, real = _columns(known), known[OUTCOME].to_numpy() > 0.5
        # Even a client that was always busy may stop.
        self._usual = float((real.sum() + 0.5) / (len(real) + 1))
        self._trees = []
        if 0 < real.sum() < len(real) and len(real) >= _LEAST_TO_BOOST:
            self._trees = [self._boosted(columns, real, number) for number in range(self._boosts)]
        digest = hashlib.sha256(columns.tobytes() + real.tobytes() + bytes(self._seed))
        self._model_id = f"{SPEC.name}-{digest.hexdigest()[:12]}"

    def _boosted(self, columns: Floats, real: Any, number: int) -> Trees:
        from sklearn.ensemble import HistGradientBoostingClassifier

        known = np.isfinite(columns).any(axis=0)
        model = HistGradientBoostingClassifier(
            max_iter=self._steps,
            learning_rate=0.04,
            max_leaf_nodes=12,
            min_samples_leaf=min(200, max(5, len(real) // 50)),
            l2_regularization=10.0,
            max_features=0.5,
            random_state=self._seed * 10 + number,
        )
        # A column that nobody ever knew cannot be binned; a constant is never split.
        model.fit(np.where(known, columns, 0.0), real)
        return from_boosting(model)


def _columns(frame: pl.DataFrame) -> Floats:
    columns = frame.select(pl.col(FEATURES).fill_null(np.nan)).to_numpy().astype(np.float64)
    return np.asarray(np.clip(columns, -_BOUND, _BOUND), dtype=np.float64)


def _idle_bin(frame: pl.DataFrame) -> Any:
    """0 busy now, 1 one window idle, then by octaves; the last bin is unknown."""
    idle = frame["idle_windows"].fill_null(np.nan).to_numpy()
    octave = np.floor(2 * np.log2(np.maximum(idle, 1))) + 1
    place = np.where(idle <= 0, 0, np.minimum(octave, MOST_LOG_IDLE))
    return np.where(np.isnan(idle), MOST_LOG_IDLE + 1, place).astype(np.int64)


def _bernoulli(probability: Floats) -> Quantiles:
    levels = np.asarray(LEVELS)
    return Quantiles(levels, (levels[None, :] > 1 - probability[:, None]).astype(np.float64))


def load(folder: Path) -> Busy:
    """What `Busy.save` wrote; for the catalogue."""
    return Busy.load(folder)
