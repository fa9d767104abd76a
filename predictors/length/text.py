"""Tier 1: the length of an answer from the words of its prompt, in well under a millisecond."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from predictors import artifact
from predictors.base import CENSORED, OUTCOME, FitReport, Prediction, learnable
from predictors.distribution import Floats
from predictors.length.bins import COUNT, Lengths
from predictors.length.features import TextFeatures, fit_features
from predictors.length.histogram import LengthHistogram
from predictors.length.network import Network, Recipe, train
from predictors.length.pairs import (
    MOST_MODELS,
    MOST_ROUTES,
    examples_of,
    held_out,
    numbered,
    numbers_of,
    pairs_of,
)
from predictors.length.second import SecondOpinion, fit_second
from predictors.length.spec import INPUT, KEYS, PROMPT, TEXT_SPEC
from predictors.length.told import taught
from predictors.scoring import pinball, score
from predictors.serving import keys_of, limits_of
from store.errors import PredictorError

# What networks are too sure of is flattened by one of these; by the single one where nothing was
# held out to choose on.
_TEMPERATURE = 1.15
_TEMPERATURES = (1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4)


@dataclass(frozen=True, slots=True)
class TextSettings:
    """How the predictor learns.

    Attributes:
        recipe: of the networks.
        least_prompts: with fewer distinct prompts the histogram answers.
        most_prompts: only the newest so many are learnt from.
        held_out_ratio: of the prompts, kept to judge the fit; at most `most_held_out`.
        most_held_out: prompts.
        trees: of the second opinion; 0 leaves the answer to the networks.
        seed: of everything random.
    """

    recipe: Recipe = field(default_factory=Recipe)
    least_prompts: int = 200
    most_prompts: int = 60_000
    held_out_ratio: float = 0.05
    most_held_out: int = 1000
    trees: int = 120
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Learnt:
    features: TextFeatures
    network: Network
    second: SecondOpinion | None
    models: Mapping[str, int]
    routes: Mapping[str, int]
    temperature: float


class TextLength:
    """Lengths from hashed words, word vectors and surface. Not thread-safe: one owner.

    Rows to learn from may have `answer_text`: it is read for its words, never for its length.
    """

    spec = TEXT_SPEC

    def __init__(self, settings: TextSettings | None = None) -> None:
        self._settings = settings or TextSettings()
        self._histogram = LengthHistogram(TEXT_SPEC)
        self._learnt: _Learnt | None = None
        self._model_id = f"{TEXT_SPEC.name}-unfitted"

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Learn from prompts and the lengths of their answers; judged on prompts left out.

        Raises:
            PredictorError: no row has an outcome, or there are no prompts.
        """
        start = time.process_time()
        known = learnable(TEXT_SPEC, TEXT_SPEC.frame(rows))
        settings = self._settings
        held, kept = held_out(known, settings.held_out_ratio, settings.most_held_out)
        self._histogram = LengthHistogram(TEXT_SPEC)
        self._histogram.fit(kept)
        self._learnt, notes = self._learn(kept)
        self._model_id = f"{TEXT_SPEC.name}-{_digest(known, self._settings)}"
        ours = rival = None
        judged = held.filter(~pl.col(CENSORED))
        if judged.height:
            real = judged[OUTCOME].to_numpy()
            self._calibrate(judged, real)
            ours = score(self.lengths(judged).quantiles(), real)
            rival = score(self._histogram.lengths(judged).quantiles(), real)
        seconds = time.process_time() - start
        return FitReport(kept.height, held.height, seconds, ours, rival, notes)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """Quantiles of each row; the histogram's where no network could be trained.

        Raises:
            PredictorError: it was never fitted, or there are no prompts.
        """
        made = self.lengths(rows).quantiles()
        fallback = np.full(rows.height, self._learnt is None)
        return Prediction.raw(made, self.model_id, None, was_fallback=fallback)

    def lengths(self, rows: pl.DataFrame) -> Lengths:
        """The whole distribution of each row: rank, P(ends within), what remains.

        Raises:
            PredictorError: it was never fitted, or there are no prompts.
        """
        self._ask_fitted()
        rows = TEXT_SPEC.frame(rows)
        if self._learnt is None:
            return self._histogram.lengths(rows)
        prompts = rows[PROMPT].to_list()
        sizes = rows[INPUT].to_numpy().astype(np.float64)
        keys = keys_of(TEXT_SPEC, rows)
        # One prompt asked of many models is read once.
        places: dict[tuple[str | None, float | str], int] = {}
        of_row = [places.setdefault(one, len(places)) for one in _alike(prompts, sizes)]
        first = np.unique(of_row, return_index=True)[1] if of_row else np.zeros(0, np.int64)
        inputs = self._learnt.features.of([prompts[one] for one in first], sizes[first])
        shares = self._shares(self._learnt, inputs[of_row], keys)
        made = Lengths(shares, limits_of(TEXT_SPEC, rows)[1])
        return made.tempered(self._learnt.temperature)

    def observe(self, rows: pl.DataFrame) -> None:
        """Keep the histogram fresh; the network learns at the next fit."""
        self._histogram.observe(rows)

    def save(self, folder: Path) -> None:
        """Write the network, what was learnt about texts, and the histogram beside them."""
        arrays: dict[str, Any] = {"is_learnt": np.array([self._learnt is not None])}
        names: dict[str, Any] = {"models": {}, "routes": {}}
        if self._learnt is not None:
            arrays |= self._learnt.features.arrays() | self._learnt.network.arrays()
            arrays |= self._learnt.second.arrays() if self._learnt.second else {}
            names = {"models": dict(self._learnt.models), "routes": dict(self._learnt.routes)}
            names["temperature"] = self._learnt.temperature
        artifact.write(folder, TEXT_SPEC, self.model_id, arrays, names)
        self._histogram.save(folder / "histogram")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        model_id, arrays, names = artifact.read(folder, TEXT_SPEC)
        made = cls()
        made._histogram = LengthHistogram.load(folder / "histogram", TEXT_SPEC)
        if arrays["is_learnt"][0]:
            features, network = TextFeatures.from_arrays(arrays), Network.from_arrays(arrays)
            numbers, temperature = (names["models"], names["routes"]), names["temperature"]
            second = SecondOpinion.from_arrays(arrays)
            made._learnt = _Learnt(features, network, second, *numbers, temperature)
        made._model_id = model_id
        return made

    def _ask_fitted(self) -> None:
        if self._model_id.endswith("unfitted"):
            raise PredictorError(
                f"{TEXT_SPEC.name} was never fitted",
                hint="train it on recorded prompts: servescope train",
            )

    def _learn(self, known: pl.DataFrame) -> tuple[_Learnt | None, tuple[str, ...]]:
        pairs = pairs_of(known, self._settings.most_prompts)
        if len(pairs.prompts) < self._settings.least_prompts:
            return None, (
                f"{len(pairs.prompts)} distinct prompts are too few to learn words from"
                f" (at least {self._settings.least_prompts}): the histogram answers",
            )
        seed = self._settings.seed
        features = fit_features(pairs.prompts, pairs.input_tokens, pairs.answers, seed)
        inputs = features.of(pairs.prompts, pairs.input_tokens)
        models = numbered(pairs.frame[KEYS[0]].to_list(), MOST_MODELS)
        routes = numbered(pairs.frame[KEYS[1]].to_list(), MOST_ROUTES)
        examples = examples_of(pairs, inputs, models, routes)
        features, told = taught(features, pairs.prompts, examples)
        examples = replace(examples, inputs=np.hstack([inputs, told]))
        recipe = self._settings.recipe
        network = train(examples, len(models) + 1, len(routes) + 1, recipe, seed)
        trees = self._settings.trees
        second = fit_second(examples, features.leading, len(models) + 1, trees, seed)
        notes = () if pairs.answers else ("no answers to read words from: prompts alone",)
        return _Learnt(features, network, second, models, routes, _TEMPERATURE), notes

    def _calibrate(self, judged: pl.DataFrame, real: Floats) -> None:
        """Choose the temperature on prompts that the networks did not see."""
        if self._learnt is None:
            return
        raw = self.lengths(judged).tempered(1 / self._learnt.temperature)
        losses = [pinball(raw.tempered(one).quantiles(), real).mean() for one in _TEMPERATURES]
        # One number: that the same prompts judge the fit flatters it by next to nothing.
        best = float(_TEMPERATURES[int(np.argmin(losses))])
        self._learnt = replace(self._learnt, temperature=best)

    def _shares(self, learnt: _Learnt, inputs: Any, keys: list[tuple[str, ...]]) -> Floats:
        if not keys:
            return np.zeros((0, COUNT))
        models = numbers_of([key[0] for key in keys], learnt.models)
        routes = numbers_of([key[1] for key in keys], learnt.routes)
        shares = learnt.network.shares(inputs, models, routes)
        return learnt.second.moved(shares, inputs, models) if learnt.second else shares


def load(folder: Path) -> TextLength:
    """A saved one, for the catalogue."""
    return TextLength.load(folder)


def _alike(prompts: list[str | None], sizes: Floats) -> list[tuple[str | None, float | str]]:
    # NaN is unequal to itself, so it would make every prompt of unknown size a new one.
    known = np.isfinite(sizes)
    return [
        (prompt, size if is_known else "")
        for prompt, size, is_known in zip(prompts, sizes.tolist(), known, strict=True)
    ]


def _digest(known: pl.DataFrame, settings: TextSettings) -> str:
    found = hashlib.sha256(known[OUTCOME].cast(pl.Float64).to_numpy().tobytes())
    found.update(repr(sorted(asdict(settings).items())).encode())
    for text in known[PROMPT].fill_null("").unique().sort():
        found.update(text.encode("utf-8", "replace"))
    return found.hexdigest()[:12]
