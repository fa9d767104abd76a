"""The degradation predictor: how much of its isolated performance an instance gets.

P = performance now / performance alone under the same load, in (0, 1]; 0.6 means that what takes
10 ms alone takes 16.7 ms. It is read from samples of any set of metrics.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from predictors import artifact, splits
from predictors.base import OUTCOME, Feature, FitReport, Prediction, Spec, learnable
from predictors.degradation.bodies import Arrays, Body, Boosted, Ridge, extra
from predictors.degradation.channels import Channels
from predictors.degradation.forest import Forest
from predictors.degradation.sharing import MOST_RATIO, is_told, share
from predictors.degradation.windows import METRICS, STEP, WINDOW, Windows, unpack
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.scoring import score
from predictors.serving import limited, limits_of
from store.errors import PredictorError

FEATURES = (
    Feature(METRICS, "text", is_required=True),
    Feature(WINDOW, "list", is_required=True),
    Feature(STEP, "number"),
)
NETWORKS = ("small", "paper", "wide", "lstm", "tcn")
# What the blend averages: networks extrapolate, trees do not get carried away.
BLEND = ("small", "extra")
# These learn what is left over by sharing the cores (`sharing`), where its counters are told.
SHARED = {"blend": BLEND, "sharing": (), "shared extra": ("extra",), "shared boosted": ("boosted",)}
METHODS = (*SHARED, *NETWORKS, "ridge", "forest", "extra", "boosted")
HELD_OUT_SHARE, LEAST_ROWS, MOST_FOLDS = 0.2, 100, 4
GROUP = "group"


def _spec(name: str, horizon_seconds: float | None) -> Spec:
    return Spec(
        name=name,
        quantity="performance_ratio",
        unit="ratio",
        features=FEATURES,
        keys=("application",),
        lower=0.0,
        upper=1.0,
        is_log=False,
        horizon_seconds=horizon_seconds,
        rival="constant",
    )


class Degradation:
    """Answers with the distribution of P over the window that was sampled.

    Args:
        method: one of `METHODS`: "blend" is what we serve, "small" the transformer alone, "paper"
            and "wide" the two readings of the published size; the others are rivals.
        seed: of everything random.
        training: how networks learn, a `training.Training`; by default its defaults.
        is_quick: whether the fit leaves out predicting groups from the others, which costs up
            to four times the fit and without which the intervals of new groups are too narrow.
    """

    spec: ClassVar[Spec] = _spec("degradation", None)

    def __init__(
        self,
        method: str = "blend",
        seed: int = 0,
        training: Any = None,
        is_quick: bool = False,
    ) -> None:
        if method not in METHODS:
            raise PredictorError(
                f"no way to predict degradation is called {method!r}",
                hint=f"take one of {', '.join(METHODS)}",
            )
        self._method, self._seed, self._training, self._is_quick = method, seed, training, is_quick
        self._bodies: dict[str, Body] = {}
        self._channels: Channels | None = None
        self._prior: Floats = np.zeros(len(LEVELS))
        self._ratios: Floats = np.ones(len(LEVELS))
        self._scale = 1.0
        self._widening: Floats = np.zeros(len(LEVELS))
        self._model_id = f"{self.spec.name}-unfitted"

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics it learnt to read; others are left out."""
        return self._channels.metrics if self._channels else ()

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Learn from rows with outcomes, judged and widened by groups that were left out.

        Where a column `group` names programs or interferers, each is left out in turn (in four
        lots at most) and predicted from the others; else the last fifth of time is predicted from
        what came before. These errors are the report, and they widen the intervals: a group never
        seen is always farther off than rows of the groups that were learnt.

        Raises:
            PredictorError: no row has an outcome, or a needed column is missing.
        """
        start = time.process_time()
        known = learnable(self.spec, self.spec.frame(rows))
        self._widening = np.zeros(len(LEVELS))
        parts = [] if self._is_quick else _left_out(known)
        made, real, naive = [], [], []
        for learnt, judged in parts:
            self._learn(learnt)
            made.append(self._answer(judged)[0].values)
            real.append(judged[OUTCOME].cast(pl.Float64).to_numpy())
            constant = np.quantile(learnt[OUTCOME].cast(pl.Float64).to_numpy(), LEVELS)
            naive.append(np.tile(constant, (judged.height, 1)))
        windows = self._learn(known)
        empty = int((windows.lengths == 0).sum())
        notes = (f"{empty} of {known.height} rows have no sample",) if empty else ()
        if not parts:
            seconds = time.process_time() - start
            return FitReport(known.height, 0, seconds, None, None, notes)
        values, outcomes = np.vstack(made), np.concatenate(real)
        # With one group more to learn from, it will be nearer than the models judged here.
        share = (len(parts) - 1) / len(parts) if len(parts) > 1 else 1.0
        self._widening = share * _widening(values, np.clip(outcomes, 0.0, 1.0))
        ours, rival = (score(Quantiles.of(LEVELS, v), outcomes) for v in (values, np.vstack(naive)))
        seconds = time.process_time() - start
        return FitReport(known.height, len(outcomes), seconds, ours, rival, notes)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Answer every row; one without a known sample gets the history of all, and says so.

        Raises:
            PredictorError: it was never fitted, or a needed column is missing.
        """
        self._read()
        rows = self.spec.frame(rows)
        made, windows = self._answer(rows)
        step = rows[STEP].cast(pl.Float64).fill_null(np.nan).to_numpy()
        empty = windows.lengths == 0
        age = np.where(empty, np.nan, windows.stale * np.where(step > 0, step, np.nan))
        return Prediction.raw(
            limited(made, *limits_of(self.spec, rows)),
            *(self.model_id, self.spec.horizon_seconds, empty, age),
        )

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: it learns by fits. What came true corrects the intervals in `Served`."""

    def save(self, folder: Path) -> None:
        """Write the model.

        Raises:
            PredictorError: it was never fitted.
        """
        channels = self._read()
        arrays: Arrays = {
            **channels.arrays(),
            "prior": self._prior,
            "widening": self._widening,
            "ratios": self._ratios,
            "scale": np.array([self._scale]),
        }
        for name, body in self._bodies.items():
            arrays |= {f"{name}/{key}": array for key, array in body.arrays().items()}
        settings = {
            "method": self._method,
            "seed": self._seed,
            "metrics": list(channels.metrics),
        }
        artifact.write(folder, self.spec, self.model_id, arrays, settings)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        model_id, arrays, settings = artifact.read(folder, cls.spec)
        made = cls(settings["method"], settings["seed"])
        made._channels = Channels(tuple(settings["metrics"]), arrays["channels.own_part"])
        made._prior, made._widening = arrays["prior"], arrays["widening"]
        made._ratios, made._scale = arrays["ratios"], float(arrays["scale"][0])
        made._bodies = made._make()
        for name, body in made._bodies.items():
            start = f"{name}/"
            kept = {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}
            if kept:
                body.restore(kept)
        if not any("/" in key for key in arrays):
            made._bodies = {}
        made._model_id = model_id
        return made

    def _read(self) -> Channels:
        if self._channels is None:
            raise PredictorError(
                f"{self.spec.name} was never fitted", hint="train it: servescope train"
            )
        return self._channels

    def _learn(self, known: pl.DataFrame) -> Windows:
        outcomes = np.clip(known[OUTCOME].cast(pl.Float64).to_numpy(), 0.0, 1.0)
        windows = unpack(known)
        sampled = windows.lengths > 0
        self._prior = np.quantile(outcomes, LEVELS)
        self._channels = Channels.fit(windows.take(sampled), outcomes[sampled])
        # From one row, or without a single sample, there is nothing but its outcome to learn.
        self._bodies = self._make() if sampled.sum() > 1 and windows.names else {}
        inputs = self._channels.inputs(windows.take(sampled))
        is_shared = self._method in SHARED and is_told(windows)
        self._scale = MOST_RATIO if is_shared else 1.0
        left = outcomes[sampled] / self._share(windows.take(sampled))
        left = np.clip(left, 0.0, self._scale) / self._scale
        self._ratios = np.quantile(left, LEVELS) if len(left) else np.ones(len(LEVELS))
        for body in self._bodies.values():
            body.fit(inputs, left, self._seed)
        digest = hashlib.sha256(f"{self._method} {self._seed}".encode())
        digest.update(np.nan_to_num(windows.values, nan=-1.0).tobytes() + outcomes.tobytes())
        self._model_id = f"{self.spec.name}-{digest.hexdigest()[:12]}"
        return windows

    def _answer(self, rows: pl.DataFrame) -> tuple[Quantiles, Windows]:
        channels = self._read()
        windows = unpack(rows, channels.metrics)
        known = windows.lengths > 0
        values = np.tile(self._prior, (rows.height, 1))
        if known.any() and (self._bodies or self._is_sharing_alone):
            some = windows.take(known)
            inputs = channels.inputs(some)
            answers = [np.sort(body.predict(inputs), axis=1) for body in self._bodies.values()]
            left = np.mean(answers, axis=0) if answers else np.tile(self._ratios, (len(some), 1))
            made = left * self._scale * self._share(some)[:, None]
            values[known] = np.clip(made + self._widening, 0.0, 1.0)
        return Quantiles.of(LEVELS, values), windows

    @property
    def _is_sharing_alone(self) -> bool:
        return self._scale > 1.0 and not SHARED.get(self._method, BLEND)

    def _share(self, windows: Windows) -> Floats:
        """(n,) what sharing the cores leaves of P; 1 for methods that do not go by it."""
        return share(windows) if self._scale > 1.0 else np.ones(len(windows))

    def _make(self) -> dict[str, Body]:
        parts = SHARED.get(self._method, (self._method,))
        return {part: _body(part, self._training) for part in parts}


class DegradationAhead(Degradation):
    """P over the next 30 s from the samples of the last minute: an early warning."""

    spec: ClassVar[Spec] = _spec("degradation-ahead", 30.0)


def load(folder: Path) -> Degradation:
    """Read a saved `Degradation`."""
    return Degradation.load(folder)


def load_ahead(folder: Path) -> DegradationAhead:
    """Read a saved `DegradationAhead`."""
    return DegradationAhead.load(folder)


def _body(method: str, training: Any) -> Body:
    if method in NETWORKS:
        network: Body = extra("predictors.degradation.training").Network(method, training)
        return network
    if method == "ridge":
        return Ridge()
    if method == "boosted":
        return Boosted()
    return Forest("extra" if method == "extra" else "random")


def _left_out(known: pl.DataFrame) -> list[tuple[pl.DataFrame, pl.DataFrame]]:
    """(learn, judge) parts: by group where there are groups, else by time; none of few rows."""
    if known.height < LEAST_ROWS:
        return []
    groups = known[GROUP].n_unique() if GROUP in known.columns else 0
    if groups > 1:
        named = known.with_columns(pl.col(GROUP).cast(pl.String).fill_null(""))
        return list(splits.by_group(named, GROUP, min(groups, MOST_FOLDS)))
    cut = int(known.height * (1 - HELD_OUT_SHARE))
    return [(known.head(cut), known.tail(known.height - cut))]


def _widening(values: Floats, outcomes: Floats) -> Floats:
    """(k,) what to add to each level so that its share of the outcomes lies at or below it.

    The median stays, and intervals are never narrowed.
    """
    middle = LEVELS.index(0.5)
    needed = np.array(
        [np.quantile(outcomes - values[:, n], level) for n, level in enumerate(LEVELS)]
    )
    needed[:middle] = np.minimum(needed[:middle], 0.0)
    needed[middle] = 0.0
    needed[middle + 1 :] = np.maximum(needed[middle + 1 :], 0.0)
    return needed
