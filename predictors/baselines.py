"""Naive rivals that need nothing but finished rows: one constant, and history by key.

They are light (numpy and polars alone), always on, and what everything else has to beat.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from predictors import artifact
from predictors.base import OUTCOME, FitReport, Prediction, Spec, learnable
from predictors.conformal import Key
from predictors.distribution import LEVELS, Floats, Quantiles
from predictors.scoring import score
from predictors.serving import keys_of, limited, limits_of
from store.errors import PredictorError

HELD_OUT_SHARE = 0.2
LEAST_HELD_OUT = 20


class History:
    """Quantiles of the last outcomes of a row's key; of its parent key while they are few.

    With `keys=()` it is the constant: the quantiles of everything that was learnt.

    Args:
        spec: what is predicted; its keys, general to specific, decide whose history counts.
        most_rows: how many outcomes of a key are remembered, newest first.
        least_rows: with fewer the parent key answers.
        most_keys: beyond it the key longest unused is forgotten.
    """

    def __init__(
        self, spec: Spec, most_rows: int = 1000, least_rows: int = 20, most_keys: int = 10_000
    ) -> None:
        self.spec = spec
        self._most_rows, self._least_rows, self._most_keys = most_rows, least_rows, most_keys
        self._seen: OrderedDict[Key, deque[float]] = OrderedDict()
        self._made: dict[Key, tuple[int, Floats]] = {}
        self._total = 0
        self._model_id = f"{spec.name}-unfitted"

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Remember the outcomes; judged on the last fifth before it is remembered too.

        Raises:
            PredictorError: no row has an outcome.
        """
        start = time.process_time()
        known = learnable(self.spec, self.spec.frame(rows))
        held = int(known.height * HELD_OUT_SHARE)
        held = held if held >= LEAST_HELD_OUT else 0
        self._seen.clear()
        self._made.clear()
        self._total = 0
        self.observe(known.head(known.height - held))
        scores = None
        if held:
            judged = known.tail(held)
            scores = score(self.predict(judged).quantiles, judged[OUTCOME].to_numpy())
            self.observe(judged)
        digest = hashlib.sha256(known[OUTCOME].cast(pl.Float64).to_numpy().tobytes()).hexdigest()
        self._model_id = f"{self.spec.name}-{digest[:12]}"
        return FitReport(known.height - held, held, time.process_time() - start, scores, scores)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """The history of each row's key.

        Raises:
            PredictorError: it has seen no outcome yet.
        """
        if not self._seen:
            raise PredictorError(
                f"{self.spec.name} has seen no finished row yet",
                hint="collect some first, or train on recorded ones: servescope train",
            )
        rows = self.spec.frame(rows)
        keys = keys_of(self.spec, rows)
        values = np.array([self.quantiles_of(key) for key in keys]).reshape(len(keys), len(LEVELS))
        made = limited(Quantiles.of(LEVELS, values), *limits_of(self.spec, rows))
        return Prediction.raw(made, self.model_id, self.spec.horizon_seconds)

    def quantiles_of(self, key: Key) -> Floats:
        """(k,) quantiles at `LEVELS` of one key or of the nearest parent with enough rows."""
        for depth in range(len(key), -1, -1):
            seen = self._seen.get(key[:depth])
            if seen is not None and (len(seen) >= self._least_rows or depth == 0):
                return self._quantiles(key[:depth], seen)
        raise PredictorError(f"{self.spec.name} has seen no finished row yet")

    def observe(self, rows: pl.DataFrame) -> None:
        """Remember finished rows; those without an outcome are left out."""
        real = rows[OUTCOME].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for key, value in zip(keys_of(self.spec, rows), real.tolist(), strict=True):
            if np.isfinite(value):
                self._total += 1
                self._remember(key, value)

    def save(self, folder: Path) -> None:
        """Write what is remembered."""
        keys = list(self._seen)
        sizes = np.array([len(self._seen[key]) for key in keys], np.int64)
        values = np.array([v for key in keys for v in self._seen[key]], np.float64)
        artifact.write(
            *(folder, self.spec, self.model_id, {"sizes": sizes, "values": values}),
            {"keys": [list(key) for key in keys], "limits": self._limits()},
        )

    @classmethod
    def load(cls, folder: Path, spec: Spec) -> Self:
        """Read what `save` wrote for `spec`.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        model_id, arrays, settings = artifact.read(folder, spec)
        made = cls(spec, *settings["limits"])
        parts = np.split(arrays["values"], np.cumsum(arrays["sizes"])[:-1])
        for key, part in zip(settings["keys"], parts, strict=True):
            made._seen[tuple(key)] = deque(part.tolist(), maxlen=made._most_rows)
        made._model_id = model_id
        return made

    def _limits(self) -> list[int]:
        return [self._most_rows, self._least_rows, self._most_keys]

    def _remember(self, key: Key, value: float) -> None:
        for depth in range(len(key) + 1):
            part = key[:depth]
            seen = self._seen.get(part)
            if seen is None:
                seen = self._seen[part] = deque(maxlen=self._most_rows)
            seen.append(value)
            self._seen.move_to_end(part)
        while len(self._seen) > self._most_keys:
            oldest = next(key for key in self._seen if key)
            del self._seen[oldest]
            self._made.pop(oldest, None)

    def _quantiles(self, key: Key, seen: Iterable[float]) -> Floats:
        # Sorting a thousand numbers for each question would cost more than the question may.
        made = self._made.get(key)
        size = len(self._seen[key])
        if made is None or self._total - made[0] > max(size // 20, 0):
            fresh = np.quantile(np.fromiter(seen, np.float64), LEVELS)
            made = self._made[key] = (self._total, fresh)
        return made[1]
