"""Lengths without the text: from the prompt's size, its beginning, and who asks whom.

Three experts learn from the same rows: the histogram of the key, neighbours by prompt size, and
boosted trees over what was answered before on the same prefix blocks. Which of them answers is
decided on the last fifth of the time, and the histogram stays unless another is clearly better: on
some services nothing but the histogram is true.
"""

from __future__ import annotations

import hashlib
import heapq
import time
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors import artifact
from predictors.base import AT, CENSORED, OUTCOME, FitReport, Prediction, learnable
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.length.histogram import LengthHistogram
from predictors.length.kernel import SizeKernel
from predictors.length.prefix import WIDTH, PrefixMemory
from predictors.length.spec import BLOCKS, INPUT, METADATA_SPEC
from predictors.scoring import Scores, pinball, score
from predictors.serving import keys_of, limited, limits_of
from predictors.trees import Trees, from_boosting
from store.errors import PredictorError

Expert = Literal["histogram", "size", "prefix"]

# When an answer ended, where the rows say so.
FINISHED = "finished_at"
# An answer is written at about this pace where nobody says when it ended: until then it is unknown.
SECONDS_PER_TOKEN = 0.03
HELD_OUT_SHARE, LEAST_ROWS = 0.2, 200
# An expert replaces the histogram when its loss is lower by this.
MARGIN_RATIO = 0.01
# Rows answered from one state when experts are judged.
_CHUNK = 50
_EXPERTS: tuple[Expert, ...] = ("histogram", "size", "prefix")


class MetadataLength:
    """Lengths from what gateways and engines log. Not thread-safe: one owner.

    Args:
        seed: of the boosted trees.
    """

    spec = METADATA_SPEC

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._model_id = f"{METADATA_SPEC.name}-unfitted"
        self._trees: dict[float, Trees] = {}
        self._forget()

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    @property
    def expert(self) -> Expert:
        """Who answers since the last fit."""
        return self._expert

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Learn in the order of time; judged on the last fifth, which is learnt after that.

        Raises:
            PredictorError: no row has an outcome, or the prompts' sizes are missing.
        """
        start = time.process_time()
        known = learnable(METADATA_SPEC, METADATA_SPEC.frame(rows))
        held = int(known.height * HELD_OUT_SHARE) if known.height >= LEAST_ROWS else 0
        self._forget()
        self._trees = {}
        features, seen = self._replayed(known), known.height - held
        real = known[OUTCOME].cast(pl.Float64).to_numpy()
        if held and known[BLOCKS].list.len().fill_null(0).max():
            self._trees = _boosted(features[:seen], real[:seen], self._seed)
        self._remember(known.head(seen))
        ours, rival = self._judged(known.tail(held), features[seen:]) if held else (None, None)
        # What was judged on is learnt too, once the expert is chosen.
        is_prefix = self._expert == "prefix"
        self._trees = _boosted(features, real, self._seed) if is_prefix else {}
        digest = hashlib.sha256(real.tobytes() + np.ascontiguousarray(features).tobytes())
        self._model_id = f"{METADATA_SPEC.name}-{digest.hexdigest()[:12]}"
        notes = (f"{self._expert} answers: the best on the last fifth of the time",) * bool(held)
        return FitReport(seen, held, time.process_time() - start, ours, rival, notes)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Quantiles of each row.

        Raises:
            PredictorError: it was never fitted, or the prompts' sizes are missing.
        """
        if self._model_id.endswith("unfitted"):
            raise PredictorError(
                f"{METADATA_SPEC.name} was never fitted",
                hint="train it on recorded requests: servescope train",
            )
        rows = METADATA_SPEC.frame(rows)
        features = self._looked(rows) if self._expert == "prefix" else np.zeros((0, WIDTH))
        values, fallback = self._answers(self._expert, rows, features)
        made = limited(Quantiles.of(LEVELS, values), *limits_of(METADATA_SPEC, rows))
        return Prediction.raw(made, self._model_id, None, was_fallback=fallback)

    def observe(self, rows: pl.DataFrame) -> None:
        """Remember finished rows, and their blocks where they have them."""
        rows = METADATA_SPEC.frame(rows)
        self._remember(rows)
        outcomes = rows[OUTCOME].cast(pl.Float64).fill_null(np.nan).to_list()
        for asked, length in zip(_asked(rows), outcomes, strict=True):
            if asked[0] and np.isfinite(length):
                _, ticket = self._prefixes.arrive(*asked)
                self._prefixes.answered(ticket, length)

    def save(self, folder: Path) -> None:
        """Write what was learnt. Prefixes are not kept: conversations are over by then."""
        arrays, keys = self._kernel.arrays()
        for level, trees in self._trees.items():
            arrays |= trees.arrays(f"trees.{level}")
        settings = {"expert": self._expert, "keys": keys, "levels": list(self._trees)}
        artifact.write(folder, METADATA_SPEC, self._model_id, arrays, settings)
        self._histogram.save(folder / "histogram")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        model_id, arrays, settings = artifact.read(folder, METADATA_SPEC)
        made = cls()
        made._histogram = LengthHistogram.load(folder / "histogram", METADATA_SPEC)
        made._kernel.restore(arrays, settings["keys"])
        made._trees = {
            level: Trees.from_arrays(arrays, f"trees.{level}") for level in settings["levels"]
        }
        made._expert, made._model_id = settings["expert"], model_id
        return made

    def _forget(self) -> None:
        self._expert: Expert = "histogram"
        self._histogram = LengthHistogram(METADATA_SPEC)
        self._kernel = SizeKernel()
        self._prefixes = PrefixMemory()

    def _remember(self, rows: pl.DataFrame) -> None:
        self._histogram.observe(rows)
        cut = rows[CENSORED].fill_null(value=False) if CENSORED in rows.columns else None
        # Of an answer that was cut the length is not known: no neighbour to anybody.
        whole = rows if cut is None else rows.filter(~cut)
        sizes = whole[INPUT].fill_null(np.nan).to_list()
        lengths = whole[OUTCOME].cast(pl.Float64).fill_null(np.nan).to_list()
        keys = keys_of(METADATA_SPEC, whole)
        for key, size, length in zip(keys, sizes, lengths, strict=True):
            if np.isfinite(length):
                self._kernel.observe(key, size, length)

    def _replayed(self, rows: pl.DataFrame) -> Floats:
        """(n, WIDTH) prefix features, each from answers that had ended when the row arrived."""
        lengths = rows[OUTCOME].cast(pl.Float64).to_list()
        out = np.zeros((rows.height, WIDTH))
        writing: list[tuple[float, int, float]] = []
        ended = _ended(rows)
        for number, asked in enumerate(_asked(rows)):
            while writing and writing[0][0] <= asked[2]:
                _, ticket, length = heapq.heappop(writing)
                self._prefixes.answered(ticket, length)
            if asked[0]:
                out[number], ticket = self._prefixes.arrive(*asked)
                heapq.heappush(writing, (ended[number], ticket, lengths[number]))
        for _, ticket, length in writing:
            self._prefixes.answered(ticket, length)
        return out

    def _looked(self, rows: pl.DataFrame) -> Floats:
        out = np.zeros((rows.height, WIDTH))
        for number, asked in enumerate(_asked(rows)):
            out[number], _ = self._prefixes.look(*asked)
        return out

    def _answers(
        self, expert: Expert, rows: pl.DataFrame, features: Floats
    ) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """(values at `LEVELS`, whether the histogram had to answer for the expert)."""
        values = self._histogram.lengths(rows).quantiles().values
        fallback = np.zeros(rows.height, np.bool_)
        if expert == "prefix" and rows.height:
            columns = [self._trees[level].predict(features) for level in LEVELS]
            return np.sort(np.stack(columns, axis=1), axis=1), fallback
        if expert == "size":
            sizes = rows[INPUT].fill_null(np.nan).to_list()
            for number, key in enumerate(keys_of(METADATA_SPEC, rows)):
                found = self._kernel.quantiles(key, sizes[number])
                fallback[number] = found is None
                if found is not None:
                    values[number] = found
        return values, fallback

    def _judged(self, rows: pl.DataFrame, features: Floats) -> tuple[Scores, Scores]:
        """Choose the expert; the scores of it and of the histogram on these rows."""
        experts = [one for one in _EXPERTS if one != "prefix" or self._trees]
        made: dict[Expert, list[Floats]] = {one: [] for one in experts}
        for low in range(0, rows.height, _CHUNK):
            part = rows.slice(low, _CHUNK)
            for one in experts:
                made[one].append(self._answers(one, part, features[low : low + _CHUNK])[0])
            self._remember(part)
        whole = (~rows[CENSORED]).to_numpy()
        real = rows[OUTCOME].cast(pl.Float64).to_numpy()[whole]
        answers = {
            one: Quantiles.of(LEVELS, np.vstack(parts)).take(whole) for one, parts in made.items()
        }
        loss = {one: float(pinball(answers[one], real).mean()) for one in experts}
        best = min(experts, key=lambda one: loss[one])
        is_better = loss[best] < (1 - MARGIN_RATIO) * loss["histogram"]
        self._expert = best if is_better else "histogram"
        return score(answers[self._expert], real), score(answers["histogram"], real)


def load(folder: Path) -> MetadataLength:
    """A saved one, for the catalogue."""
    return MetadataLength.load(folder)


def _asked(rows: pl.DataFrame) -> list[tuple[list[int], float, float]]:
    """(blocks, size, seconds) of each row; the time of a row without one is unknown."""
    blocks = rows[BLOCKS].fill_null([]).to_list()
    sizes = rows[INPUT].fill_null(np.nan).to_list()
    seconds = (
        (rows[AT].dt.epoch("us") / 1e6).fill_null(np.nan).to_list()
        if AT in rows.columns
        else [float("nan")] * rows.height
    )
    return list(zip(blocks, sizes, seconds, strict=True))


def _ended(rows: pl.DataFrame) -> list[float]:
    """When the answer of each row had ended, in seconds; a guess where nobody says."""
    if AT not in rows.columns:
        return [-np.inf] * rows.height
    guess = rows[AT].dt.epoch("us") / 1e6 + SECONDS_PER_TOKEN * rows[OUTCOME].cast(pl.Float64)
    if FINISHED not in rows.columns:
        return guess.fill_null(-np.inf).to_list()
    known = rows[FINISHED].dt.epoch("us") / 1e6
    return known.fill_null(guess).fill_null(-np.inf).to_list()


def _boosted(features: Floats, real: Floats, seed: int) -> dict[float, Trees]:
    from sklearn.ensemble import HistGradientBoostingRegressor

    trees = {}
    for level in LEVELS:
        model = HistGradientBoostingRegressor(
            loss="quantile",
            quantile=level,
            learning_rate=0.05,
            max_iter=150,
            max_leaf_nodes=15,
            max_features=0.5,
            early_stopping=False,
            random_state=seed,
        )
        trees[level] = from_boosting(model.fit(features, real))
    return trees
