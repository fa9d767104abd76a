"""The demand predictor: networks and boosted trees over the same features, averaged."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors import artifact
from predictors.base import FitReport, Prediction, Spec, learnable
from predictors.demand.features import Features, features_of, filled
from predictors.demand.network import MOST_CHANGE, Network, NetworkSettings, train
from predictors.demand.origins import Origins, joined, origins_of, seconds_of, summed
from predictors.demand.rivals import LastTokens, LastValue, ages_of, last_value, scale_of
from predictors.demand.windows import (
    RATE,
    STEPS,
    TOKENS,
    WINDOW_SECONDS,
    matrix,
    steps_of,
)
from predictors.distribution import LEVELS, SCORED_LEVELS, Floats, Quantiles
from predictors.scoring import Scores, score
from predictors.serving import limited, limits_of
from predictors.trees import Trees, from_boosting
from store.errors import PredictorError

_TREE_COLUMNS = [LEVELS.index(level) for level in SCORED_LEVELS]


@dataclass(frozen=True, slots=True)
class DemandSettings:
    """How the predictor learns.

    Attributes:
        networks: how many, by other seeds; their answers are averaged.
        network: how each is trained.
        trees: boosting rounds a level; 0 for none.
        most_tree_rows: rows the trees learn from (each origin is one a step).
        made_up: series made of sums of real ones, to learn how totals behave.
        least_origins: with fewer nothing is learnt and the last value answers.
        judges_itself: whether a fit is judged on what it left out, which takes as long again.
        seed: of everything random.
    """

    networks: int = 2
    network: NetworkSettings = field(default_factory=NetworkSettings)
    trees: int = 150
    most_tree_rows: int = 90_000
    made_up: int = 60
    least_origins: int = 200
    judges_itself: bool = True
    seed: int = 0


LIGHTER = DemandSettings(
    networks=1, network=NetworkSettings(epochs=6), trees=60, most_tree_rows=24_000, made_up=20,
    judges_itself=False,
)  # fmt: skip
"""For back-tests, which learn once a window: about a ninth of the work."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a fit leaves.

    Attributes:
        networks: each answers all steps and levels.
        trees: one for each of `SCORED_LEVELS`, or none.
        prior: (levels,) of all outcomes: the answer to a series that nobody saw.
        changes: (`STEPS`, levels) of all changes, in scales.
    """

    networks: tuple[Network, ...]
    trees: tuple[Trees, ...]
    prior: Floats
    changes: Floats

    def changes_of(
        self, features: Features, steps: npt.NDArray[np.int64], parts: str = "all"
    ) -> Floats:
        """(n, levels) changes against the last value, in scales.

        Args:
            features: of n questions.
            steps: (n,) windows ahead.
            parts: "networks", "trees" or "all".
        """
        rows = np.arange(len(steps))
        if parts == "trees":
            base = self.changes[steps - 1].copy()
        else:
            made = [one.predict(features.table)[rows, steps - 1] for one in self.networks]
            base = np.mean(made, axis=0)
        if self.trees and parts != "networks":
            share = 1.0 if parts == "trees" else 0.5
            asked = _with_steps(features.table, steps)
            for column, tree in zip(_TREE_COLUMNS, self.trees, strict=True):
                base[:, column] += share * (tree.predict(asked) - base[:, column])
        return np.sort(base, axis=1)


class DemandForecast:
    """Requests a second of a series, up to an hour ahead, as quantiles.

    One model for all series: what it sees is free of their size. It answers with the last value
    (and says so) where there is no history, or where there was too little to learn from.

    Args:
        settings: how it learns.
    """

    spec: ClassVar[Spec] = RATE
    rival: ClassVar[type[LastValue]] = LastValue

    def __init__(self, settings: DemandSettings | None = None) -> None:
        self._settings = settings or DemandSettings()
        self._model_id = f"{self.spec.name}-unfitted"
        self._learnt: Learnt | None = None

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Learn from finished rows; judged on the last fifth of the time before that is learnt too.

        Raises:
            PredictorError: no row has an outcome.
        """
        start = time.process_time()
        known = learnable(self.spec, self.spec.frame(rows))
        origins = origins_of(known)
        ours, theirs, held = self._judged(known, origins)
        self.learn(origins)
        notes = (
            ()
            if self._fitted().networks
            else ("too few origins to learn from: the last value answers",)
        )
        seconds = time.process_time() - start
        return FitReport(known.height - held, held, seconds, ours, theirs, notes)

    def learn(self, origins: Origins) -> None:
        """Learn from all origins, without a judgement."""
        usable = origins.take(np.asarray(np.isfinite(origins.outcomes).any(axis=1)))
        self._learnt = learnt(usable, self._settings)
        digest = hashlib.sha256(np.nan_to_num(usable.outcomes, nan=-1.0).tobytes())
        digest.update(repr(self._settings).encode())
        self._model_id = f"{self.spec.name}-{digest.hexdigest()[:12]}"

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Answer every row.

        Raises:
            PredictorError: it was never fitted.
        """
        kept = self._fitted()
        rows = self.spec.frame(rows)
        recent, steps = matrix(rows["recent"]), steps_of(rows)
        values = self.values_of(recent, matrix(rows["fleet"]), seconds_of(rows), steps)
        dark = np.asarray(~np.isfinite(recent).any(axis=1))
        values[dark] = kept.prior
        quantiles = limited(Quantiles.of(LEVELS, values), *limits_of(self.spec, rows))
        fallback = dark | (not kept.networks)
        return Prediction.raw(
            quantiles, self._model_id, self.spec.horizon_seconds, fallback, ages_of(recent)
        )

    def values_of(
        self,
        recent: Floats,
        fleet: Floats,
        seconds: Floats,
        steps: npt.NDArray[np.int64],
        parts: str = "all",
    ) -> Floats:
        """(n, levels) before limits: `parts` as in `Learnt.changes_of`."""
        kept = self._fitted()
        if not kept.networks:
            return last_value(recent, steps, kept.changes)
        features = features_of(recent, fleet, seconds)
        changes = kept.changes_of(features, steps, parts)
        return np.asarray(features.last[:, None] + features.scale[:, None] * changes)

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: a row brings its history along."""

    def save(self, folder: Path) -> None:
        """Write the weights.

        Raises:
            PredictorError: it was never fitted.
        """
        kept = self._fitted()
        arrays = {"prior": kept.prior, "changes": kept.changes}
        for number, network in enumerate(kept.networks):
            arrays |= network.arrays(f"network{number}")
        for number, tree in enumerate(kept.trees):
            arrays |= tree.arrays(f"trees{number}")
        counts = {"networks": len(kept.networks), "trees": len(kept.trees)}
        kept_settings = {"counts": counts, "settings": asdict(self._settings)}
        artifact.write(folder, self.spec, self._model_id, arrays, kept_settings)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        model_id, arrays, kept = artifact.read(folder, cls.spec)
        settings = dict(kept["settings"])
        settings["network"] = NetworkSettings(**settings["network"])
        made = cls(DemandSettings(**settings))
        made._model_id = model_id
        made._learnt = Learnt(
            tuple(
                Network.from_arrays(arrays, f"network{number}")
                for number in range(kept["counts"]["networks"])
            ),
            tuple(
                Trees.from_arrays(arrays, f"trees{number}")
                for number in range(kept["counts"]["trees"])
            ),
            *(arrays["prior"], arrays["changes"]),
        )
        return made

    def _fitted(self) -> Learnt:
        if self._learnt is None:
            raise PredictorError(
                f"{self.spec.name} was never fitted",
                hint=f"train it on recorded windows: servescope train {self.spec.name}",
            )
        return self._learnt

    def _judged(
        self, known: pl.DataFrame, origins: Origins
    ) -> tuple[Scores | None, Scores | None, int]:
        """Scores of ours and of the rival on the last fifth of the time, and its rows."""
        seconds = seconds_of(known)
        if not self._settings.judges_itself:
            return None, None, 0
        if len(origins) < 2 * self._settings.least_origins or not np.isfinite(seconds).all():
            return None, None, 0
        cut = float(np.quantile(seconds, 0.8))
        # Outcomes of the last origins before the cut lie behind it.
        before = origins.take(origins.seconds < cut - STEPS * WINDOW_SECONDS)
        judged = known.filter(pl.Series(seconds >= cut))
        if not len(before) or judged.is_empty():
            return None, None, 0
        trial, rival = type(self)(self._settings), self.rival()
        trial.learn(before)
        rival.fit(known.filter(pl.Series(seconds < cut - STEPS * WINDOW_SECONDS)))
        real = judged["outcome"].cast(pl.Float64).to_numpy()
        ours, theirs = (
            score(one.predict(judged).quantiles, real, with_tau=False) for one in (trial, rival)
        )
        return ours, theirs, judged.height


class TokenForecast(DemandForecast):
    """Tokens a second, input and output together."""

    spec: ClassVar[Spec] = TOKENS
    rival: ClassVar[type[LastValue]] = LastTokens


def lighter() -> DemandForecast:
    """One that back-tests teach."""
    return DemandForecast(LIGHTER)


def lighter_tokens() -> TokenForecast:
    """The same of tokens a second."""
    return TokenForecast(LIGHTER)


def load(folder: Path) -> DemandForecast:
    """A saved model of requests a second.

    Raises:
        PredictorError: another predictor, another feature list, or changed bytes.
    """
    return DemandForecast.load(folder)


def load_tokens(folder: Path) -> TokenForecast:
    """The same of tokens a second."""
    return TokenForecast.load(folder)


def learnt(origins: Origins, settings: DemandSettings) -> Learnt:
    """Train networks and trees on origins with outcomes."""
    known = origins.outcomes[np.isfinite(origins.outcomes)]
    series = filled(origins.recent)
    relative = (origins.outcomes - series[:, -1:]) / scale_of(series)[:, None]
    everything = np.quantile(relative[np.isfinite(relative)], LEVELS)
    changes = np.stack(
        [
            np.quantile(column[np.isfinite(column)], LEVELS)
            if np.isfinite(column).any()
            else everything
            for column in relative.T
        ]
    )
    prior = np.quantile(known, LEVELS)
    if len(origins) < settings.least_origins:
        return Learnt((), (), prior, changes)
    more = summed(origins, settings.made_up, settings.seed)
    features, goal = _table(joined([origins, more]) if len(more) else origins)
    networks = tuple(
        train(features, goal, settings.seed + number, settings.network)
        for number in range(settings.networks)
    )
    return Learnt(networks, _grown(features, goal, settings), prior, changes)


def _table(origins: Origins) -> tuple[npt.NDArray[np.float32], Floats]:
    features = features_of(origins.recent, origins.fleet, origins.seconds)
    goal = (origins.outcomes - features.last[:, None]) / features.scale[:, None]
    # A series that nobody saw yet says nothing about those that were seen.
    return features.table[features.is_known], goal[features.is_known]


def _with_steps(table: npt.NDArray[np.float32], steps: npt.NDArray[np.int64]) -> Floats:
    return np.column_stack([table, steps]).astype(np.float64)


def _grown(
    table: npt.NDArray[np.float32], goal: Floats, settings: DemandSettings
) -> tuple[Trees, ...]:
    from sklearn.ensemble import HistGradientBoostingRegressor

    if not settings.trees:
        return ()
    most = max(settings.most_tree_rows // STEPS, 1)
    chosen = np.random.default_rng(settings.seed).permutation(len(table))[:most]
    columns = np.vstack(
        [
            _with_steps(table[chosen], np.full(len(chosen), step, np.int64))
            for step in range(1, STEPS + 1)
        ]
    )
    target = goal[chosen].T.ravel()
    known = np.isfinite(target)
    columns, target = columns[known], np.clip(target[known], -MOST_CHANGE, MOST_CHANGE)
    grown = []
    for level in SCORED_LEVELS:
        model = HistGradientBoostingRegressor(
            loss="quantile",
            quantile=level,
            max_iter=settings.trees,
            learning_rate=0.06,
            max_leaf_nodes=31,
            min_samples_leaf=60,
            l2_regularization=1.0,
            random_state=settings.seed,
        )
        grown.append(from_boosting(model.fit(columns, target)))
    return tuple(grown)
