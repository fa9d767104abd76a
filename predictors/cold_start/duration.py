"""How long a load takes: a quantile forest over history, fleet, bytes and telemetry."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl

from predictors import artifact
from predictors.base import CENSORED, OUTCOME, FitReport, Prediction, Spec, learnable
from predictors.baselines import HELD_OUT_SHARE, LEAST_HELD_OUT
from predictors.cold_start.forest import Forest, ForestSettings, grow
from predictors.cold_start.rivals import PreviousLoad
from predictors.cold_start.spec import FEATURES, SPEC
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.scoring import Scores, score
from predictors.serving import limited, limits_of
from store.errors import PredictorError

# A load under this is a stamp without a duration.
LEAST_SECONDS = 1e-3
# With so many rows held out, what they say about levels counts as much as the levels themselves.
SHRINK_ROWS = 100
# How far the middle may lean on the key's own history; chosen on rows held out.
LEANS = (0.0, 0.25, 0.5, 0.75)
_FINE_LEVELS = np.linspace(0.005, 0.995, 199)


class ColdStart:
    """Distribution of the seconds a load takes.

    Rows carry their history (`history.with_history`) and telemetry (`signals.with_signals`), so an
    answer depends on nothing else. Unknown features are allowed; with none at all it answers what
    was learnt from everybody.

    Args:
        seed: of everything random.
        settings: of the forest.
    """

    spec: ClassVar[Spec] = SPEC

    def __init__(self, seed: int = 0, settings: ForestSettings | None = None) -> None:
        self._seed, self._settings = seed, settings or ForestSettings()
        self._forest: Forest | None = None
        self._usual_log = 0.0
        self._asked: Floats = np.asarray(LEVELS)
        self._lean = 0.0
        self._model_id = f"{SPEC.name}-unfitted"

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Grow the forest; judged on the last fifth by one grown from the rest.

        Raises:
            PredictorError: no row has an outcome.
        """
        start = time.process_time()
        ended = learnable(SPEC, SPEC.frame(rows))
        known = ended.filter(~pl.col(CENSORED))
        if known.is_empty():
            raise PredictorError(
                f"cold-start: none of {ended.height} starts became ready: nothing can be learnt",
                hint="look at the page Cold starts for the reason",
            )
        held = int(known.height * HELD_OUT_SHARE)
        ours = rival = None
        self._asked, self._lean = np.asarray(LEVELS), 0.0
        if held >= LEAST_HELD_OUT:
            ours, rival = self._judged(known, held)
        self._grow(known)
        seconds = time.process_time() - start
        notes = _notes(ended.height - known.height)
        return FitReport(known.height, held if ours else 0, seconds, ours, rival, notes)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Answer every row.

        Raises:
            PredictorError: it was never fitted.
        """
        if self._forest is None:
            raise PredictorError(
                "cold-start has learnt from no load yet", hint="train it: servescope train"
            )
        frame = SPEC.frame(rows)
        logs = self._logs(self._forest, frame, self._asked)
        made = Quantiles.of(LEVELS, np.exp(np.clip(logs, -20, 20)))
        return Prediction.raw(
            limited(made, *limits_of(SPEC, rows)),
            self._model_id,
            features_age_seconds=frame["own_gap_seconds"].fill_null(np.nan).to_numpy(),
        )

    def observe(self, rows: pl.DataFrame) -> None:
        """Nothing: rows bring their own history, so finished loads count from the next row on."""

    def save(self, folder: Path) -> None:
        """Write the forest.

        Raises:
            PredictorError: it was never fitted.
        """
        if self._forest is None:
            raise PredictorError("cold-start has learnt nothing that could be saved")
        settings = {
            "usual_log": self._usual_log, "seed": self._seed, "asked": self._asked.tolist(),
            "lean": self._lean,
        }  # fmt: skip
        artifact.write(folder, SPEC, self._model_id, self._forest.arrays(), settings)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        model_id, arrays, settings = artifact.read(folder, SPEC)
        made = cls(int(settings["seed"]))
        made._forest = Forest.from_arrays(arrays)
        made._usual_log = float(settings["usual_log"])
        made._asked = np.asarray(settings["asked"], dtype=np.float64)
        made._lean = float(settings["lean"])
        made._model_id = model_id
        return made

    def _logs(self, forest: Forest, frame: pl.DataFrame, levels: Floats) -> Floats:
        logs = forest.quantiles(columns_of(frame), anchors_of(frame, self._usual_log), levels)
        usual = _history_of(frame)
        middle = logs[:, int(np.argmin(np.abs(levels - 0.5)))]
        shift = np.where(np.isfinite(usual), usual - middle, 0.0)
        return np.asarray(logs + self._lean * shift[:, None], dtype=np.float64)

    def _judged(self, known: pl.DataFrame, held: int) -> tuple[Scores, Scores]:
        learn, judge = known.head(known.height - held), known.tail(held)
        real = judge[OUTCOME].to_numpy()
        other, rival = ColdStart(self._seed, self._settings), PreviousLoad()
        other._grow(learn)
        rival.fit(learn)
        other._lean = self._lean = other._best_lean(judge)
        self._asked = other._levels_met(judge)
        return (
            score(other.predict(judge).quantiles, real),
            score(rival.predict(judge).quantiles, real),
        )

    def _best_lean(self, judge: pl.DataFrame) -> float:
        """How much of the key's own median makes the best middle.

        Where loads of a key are alike, its median is hard to beat and the forest adds noise; where
        caches decide, leaning on it lies between two humps, and 0 is found.
        """
        if self._forest is None:
            return 0.0
        real = judge[OUTCOME].cast(pl.Float64).to_numpy()
        anchors = anchors_of(judge, self._usual_log)
        middle = self._forest.quantiles(columns_of(judge), anchors, np.array([0.5]))[:, 0]
        usual = _history_of(judge)
        shift = np.where(np.isfinite(usual), usual - middle, 0.0)
        losses = [np.abs(np.exp(middle + lean * shift) - real).mean() for lean in LEANS]
        return LEANS[int(np.argmin(losses))]

    def _levels_met(self, judge: pl.DataFrame) -> Floats:
        """Levels at which to ask, so that on rows never seen the asked share lies below.

        A shift of levels keeps two humps where they are; a shift of values would move both.
        """
        forest = self._forest
        if forest is None:
            return np.asarray(LEVELS)
        logs = self._logs(forest, judge, _FINE_LEVELS)
        real = np.log(np.maximum(judge[OUTCOME].cast(pl.Float64).to_numpy(), LEAST_SECONDS))
        places = np.array(
            [np.interp(value, row, _FINE_LEVELS) for row, value in zip(logs, real, strict=True)]
        )
        # Only the spread is learnt: a shift of the middle is the trend of that day, gone tomorrow.
        side = np.sign(np.asarray(LEVELS) - 0.5)
        width = np.quantile(np.abs(2 * places - 1), np.abs(2 * np.asarray(LEVELS) - 1))
        met = 0.5 + 0.5 * side * width
        weight = len(places) / (len(places) + SHRINK_ROWS)
        return np.asarray(weight * met + (1 - weight) * np.asarray(LEVELS), dtype=np.float64)

    def _grow(self, known: pl.DataFrame) -> None:
        logs = np.log(np.maximum(known[OUTCOME].cast(pl.Float64).to_numpy(), LEAST_SECONDS))
        self._usual_log = float(np.median(logs))
        anchors = anchors_of(known, self._usual_log)
        columns = columns_of(known)
        self._forest = grow(columns, logs, anchors, self._seed, self._settings)
        digest = hashlib.sha256(columns.tobytes() + logs.tobytes() + bytes(self._seed))
        self._model_id = f"{SPEC.name}-{digest.hexdigest()[:12]}"


def _notes(censored: int) -> tuple[str, ...]:
    if not censored:
        return ()
    # How long it would have taken is not a duration: most of them never would have ended.
    return (f"{censored} starts that never became ready were left out: they are failures",)


def columns_of(frame: pl.DataFrame) -> Floats:
    """(n, f) features in the order of the spec; NaN is unknown."""
    return np.asarray(frame.select(pl.col(FEATURES).fill_null(np.nan)).to_numpy(), np.float64)


def anchors_of(frame: pl.DataFrame, usual_log: float) -> Floats:
    """(n,) logarithm of what is expected at first sight: own history, then physics, then all.

    Own history of loads of the same parts goes before that of all own loads.
    Physics: bytes / bandwidth, where loads at the same time share the bandwidth.
    """
    share = pl.col("concurrent_loads").fill_null(0).clip(0) + 1
    physics = (pl.col("weight_bytes") / pl.col("bandwidth_bytes_per_second") * share).log()
    known = pl.when(physics.is_finite()).then(physics)
    found = frame.select(
        pl.coalesce("alike_median_log", "own_median_log", known, pl.lit(usual_log))
    ).to_series()
    return np.asarray(np.clip(found.fill_null(usual_log).to_numpy(), -20, 20), np.float64)


def _history_of(frame: pl.DataFrame) -> Floats:
    """(n,) logarithm of what loads of the key usually took: lately, and for longer."""
    logs = frame.select(pl.mean_horizontal("own_median_log", "own_long_median_log")).to_series()
    return np.asarray(logs.fill_null(np.nan).to_numpy(), dtype=np.float64)


def load(folder: Path) -> ColdStart:
    """What `ColdStart.save` wrote; for the catalogue."""
    return ColdStart.load(folder)
