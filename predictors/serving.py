"""How every predictor answers: beside its rival, corrected by outcomes, inside physical limits.

    champion --+--> conformal --> limits --+
               |                           +--> the better of the two for this key
    rival -----+--> conformal --> limits --+

Where the rival's loss was lower on the same finished rows, the rival answers, and says so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.base import Prediction, Predictor, Spec
from predictors.conformal import ConformalSettings, Key, OnlineConformal
from predictors.distribution import Floats, Quantiles
from predictors.scoring import pinball
from store.errors import PredictorError


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """When the rival takes over.

    Attributes:
        conformal: how intervals are corrected.
        memory_rows: losses count for about this many rows.
        least_rows: before this many outcomes of a key, its parent key decides.
        margin_ratio: the champion is dropped when its loss is higher by more than this, and comes
            back when it is lower, so that equals do not flap.
    """

    conformal: ConformalSettings = field(default_factory=ConformalSettings)
    memory_rows: int = 500
    least_rows: int = 50
    margin_ratio: float = 0.02


@dataclass(slots=True)
class _Duel:
    ours: float = 0.0
    rival: float = 0.0
    n: int = 0
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What `Served.predict` gives.

    Attributes:
        prediction: for use.
        champion: as the champion made it, before any correction; `observe` wants it back.
        rival: the same of the rival.
        keys: of each row.
        beside: what the rival would have answered, corrected like `prediction`: a fair comparison.
    """

    prediction: Prediction
    champion: Prediction
    rival: Prediction
    keys: tuple[Key, ...]
    beside: Prediction

    def take(self, rows: npt.ArrayLike) -> Answer:
        """The rows that an index or a mask names."""
        chosen = np.arange(len(self.keys))[np.asarray(rows)]
        return Answer(
            self.prediction.take(chosen),
            self.champion.take(chosen),
            self.rival.take(chosen),
            tuple(self.keys[number] for number in chosen.tolist()),
            self.beside.take(chosen),
        )


class Served:
    """A predictor in service. Not thread-safe: one owner.

    Args:
        champion: answers where it earns it.
        rival: the naive one, always there.
        settings: when the rival takes over.
    """

    def __init__(
        self, champion: Predictor, rival: Predictor, settings: ServingSettings | None = None
    ) -> None:
        if champion.spec.quantity != rival.spec.quantity:
            raise PredictorError(
                f"{rival.spec.name} predicts {rival.spec.quantity},"
                f" {champion.spec.name} {champion.spec.quantity}: they cannot be compared"
            )
        self.spec: Spec = champion.spec
        self._champion, self._rival = champion, rival
        self._settings = settings or ServingSettings()
        self._conformal: dict[str, OnlineConformal] = {}
        self._duels: OrderedDict[Key, _Duel] = OrderedDict()

    def predict(self, rows: pl.DataFrame) -> Answer:
        """Answer every row.

        Raises:
            PredictorError: a needed column is missing.
        """
        keys = keys_of(self.spec, rows)
        champion, rival = self._champion.predict(rows), self._rival.predict(rows)
        limits = limits_of(self.spec, rows)
        ours = self._served("champion", champion, keys, limits)
        theirs = self._served("rival", rival, keys, limits)
        lost = np.array([self._is_lost(key) for key in keys], np.bool_) | champion.was_fallback
        return Answer(_choose(ours, theirs, lost), champion, rival, tuple(keys), theirs)

    def observe(self, rows: pl.DataFrame, answer: Answer, outcomes: npt.ArrayLike) -> None:
        """Learn from rows that have ended: intervals, the duel of the two, and both models.

        Args:
            rows: those that `answer` answered, with the columns the models learn from.
            answer: what was said then.
            outcomes: (n,); NaN teaches nothing.
        """
        real = np.asarray(outcomes, dtype=np.float64)
        limits = limits_of(self.spec, rows)
        before = [
            self._served(name, made, answer.keys, limits).quantiles
            for name, made in (("champion", answer.champion), ("rival", answer.rival))
        ]
        for name, made in (("champion", answer.champion), ("rival", answer.rival)):
            self._tracker(name, made.quantiles.levels).observe(made.quantiles, answer.keys, real)
        self._judge(before, answer.keys, real)
        self.learn(rows)

    def learn(self, rows: pl.DataFrame) -> None:
        """Let both models take in rows that have ended and that nothing was said about."""
        self._champion.observe(rows)
        self._rival.observe(rows)

    @property
    def champion(self) -> Predictor:
        """What answers where it earns it."""
        return self._champion

    @property
    def model_ids(self) -> tuple[str, str]:
        """Of the champion and of the rival."""
        return self._champion.model_id, self._rival.model_id

    def widen(self, factor: float) -> None:
        """The first reaction to drift: wider intervals at once, until outcomes narrow them."""
        for tracker in self._conformal.values():
            tracker.widen(factor)

    def fallback_keys(self) -> list[Key]:
        """Where the rival answers now."""
        return [key for key, duel in self._duels.items() if duel.is_lost]

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as plain lists and numbers."""
        return {
            "conformal": {name: tracker.state() for name, tracker in self._conformal.items()},
            "duels": [
                [list(key), duel.ours, duel.rival, duel.n, duel.is_lost]
                for key, duel in self._duels.items()
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            PredictorError: it belongs to another model.
        """
        for name, kept in state["conformal"].items():
            self._tracker(name, np.asarray(kept["levels"])).restore(kept)
        self._duels = OrderedDict(
            (tuple(key), _Duel(ours, rival, n, is_lost))
            for key, ours, rival, n, is_lost in state["duels"]
        )

    def _served(
        self, name: str, made: Prediction, keys: Sequence[Key], limits: tuple[Floats, Floats]
    ) -> Prediction:
        tracker = self._tracker(name, made.quantiles.levels)
        corrected, state = tracker.correct(made.quantiles, keys)
        return replace(made, quantiles=limited(corrected, *limits), calibration=state)

    def _tracker(self, name: str, levels: Floats) -> OnlineConformal:
        if name not in self._conformal:
            self._conformal[name] = OnlineConformal(
                levels, self.spec.is_log, self._settings.conformal
            )
        return self._conformal[name]

    def _judge(self, made: list[Quantiles], keys: Sequence[Key], real: Floats) -> None:
        ours, rival = pinball(made[0], real), pinball(made[1], real)
        for number in np.flatnonzero(np.isfinite(real)).tolist():
            key = keys[number]
            for depth in range(len(key) + 1):
                self._record(key[:depth], float(ours[number]), float(rival[number]))

    def _record(self, key: Key, ours: float, rival: float) -> None:
        duel = self._duels.setdefault(key, _Duel())
        self._duels.move_to_end(key)
        duel.n += 1
        weight = 1 / min(duel.n, self._settings.memory_rows)
        duel.ours += weight * (ours - duel.ours)
        duel.rival += weight * (rival - duel.rival)
        limit = 1.0 if duel.is_lost else 1 + self._settings.margin_ratio
        duel.is_lost = duel.ours > duel.rival * limit
        while len(self._duels) > self._settings.conformal.most_keys:
            self._duels.popitem(last=False)

    def _is_lost(self, key: Key) -> bool:
        for depth in range(len(key), -1, -1):
            duel = self._duels.get(key[:depth])
            if duel is not None and duel.n >= self._settings.least_rows:
                return duel.is_lost
        return False


def keys_of(spec: Spec, rows: pl.DataFrame) -> list[Key]:
    """The key of each row, general to specific; unknown parts are ""."""
    columns = [
        _names(rows[name]) if name in rows.columns else [""] * rows.height for name in spec.keys
    ]
    return list(zip(*columns, strict=True)) if columns else [()] * rows.height


def _names(column: pl.Series) -> list[str]:
    column = column if column.dtype == pl.String else column.cast(pl.String)
    return [name or "" for name in column.to_list()]


def limits_of(spec: Spec, rows: pl.DataFrame) -> tuple[Floats, Floats]:
    """(lowest, highest) possible value of each row; infinite where physics knows no limit."""
    most = np.full(rows.height, np.inf if spec.upper is None else spec.upper)
    if spec.upper_column is not None and spec.upper_column in rows.columns:
        own = rows[spec.upper_column]
        # An expression costs a hundred microseconds; most rows come as they should be.
        own = own if own.dtype == pl.Float64 else own.cast(pl.Float64)
        most = np.fmin(most, own.to_numpy())
    return np.full(rows.height, spec.lower), np.maximum(most, spec.lower)


def limited(quantiles: Quantiles, lowest: Floats, highest: Floats) -> Quantiles:
    """`quantiles` inside the limits of each row."""
    return Quantiles(quantiles.levels, np.clip(quantiles.values, lowest[:, None], highest[:, None]))


def _choose(ours: Prediction, theirs: Prediction, lost: npt.NDArray[np.bool_]) -> Prediction:
    if not lost.any():
        return ours
    if not np.array_equal(ours.quantiles.levels, theirs.quantiles.levels):
        raise PredictorError("champion and rival answer at different levels")
    values = np.where(lost[:, None], theirs.quantiles.values, ours.quantiles.values)
    return Prediction(
        Quantiles(ours.quantiles.levels, values),
        ours.model_id,
        ours.horizon_seconds,
        np.where(lost, theirs.calibration, ours.calibration).astype(np.int8),
        lost,
        np.where(lost, theirs.features_age_seconds, ours.features_age_seconds),
    )
