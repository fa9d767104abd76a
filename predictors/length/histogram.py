"""Tier 0: the lengths lately seen of a model and route, of its parent while they are few.

Always on, needs no text, learns from every finished row at once, and costs microseconds. Rows that
were cut at their limit count as "at least so long" (product limit over the bins), so that a low
limit does not teach short answers.

Sources: Past-Future (ASPLOS 2025), arXiv 2507.10150; Kaplan, Meier (1958), Nonparametric
estimation from incomplete observations, JASA 53.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from predictors import artifact
from predictors.base import CENSORED, OUTCOME, FitReport, Prediction, Spec, learnable
from predictors.conformal import Key
from predictors.distribution import Floats
from predictors.length.bins import COUNT, Lengths, number_of
from predictors.length.spec import HISTOGRAM_SPEC
from predictors.scoring import score
from predictors.serving import keys_of, limits_of
from store.errors import PredictorError

HELD_OUT_SHARE, LEAST_HELD_OUT = 0.2, 20


@dataclass(frozen=True, slots=True)
class HistogramSettings:
    """How much is remembered.

    Attributes:
        memory_rows: rows count for about this many rows, newer ones more.
        parent_rows: the parent key counts as much as this many rows of the key's own.
        most_keys: beyond it the key longest unused is forgotten.
        is_keyed: False answers everything alike: the constant.
    """

    memory_rows: int = 2000
    parent_rows: float = 10.0
    most_keys: int = 10_000
    is_keyed: bool = True


@dataclass(slots=True)
class _Counts:
    ended: Floats = field(default_factory=lambda: np.zeros(COUNT))
    cut: Floats = field(default_factory=lambda: np.zeros(COUNT))
    rows: int = 0
    made_at: int = -1
    shares: Floats = field(default_factory=lambda: np.zeros(COUNT))


class LengthHistogram:
    """A conditional histogram of answer lengths. Not thread-safe: one owner.

    Args:
        spec: whose rival it is, for its keys and limits.
        settings: how much is remembered.
    """

    def __init__(
        self, spec: Spec = HISTOGRAM_SPEC, settings: HistogramSettings | None = None
    ) -> None:
        self.spec = spec
        self._settings = settings or HistogramSettings()
        self._seen: OrderedDict[Key, _Counts] = OrderedDict()
        self._model_id = f"{spec.name}-unfitted"

    @property
    def model_id(self) -> str:
        """Changes with every fit."""
        return self._model_id

    def fit(self, rows: pl.DataFrame) -> FitReport:
        """Remember the lengths; judged on the last fifth before that is remembered too.

        Raises:
            PredictorError: no row has an outcome.
        """
        start = time.process_time()
        known = learnable(self.spec, self.spec.frame(rows))
        held = int(known.height * HELD_OUT_SHARE)
        held = held if held >= LEAST_HELD_OUT else 0
        self._seen.clear()
        self.observe(known.head(known.height - held))
        scores = None
        if held:
            judged = known.tail(held).filter(~pl.col(CENSORED))
            scores = score(self.lengths(judged).quantiles(), judged[OUTCOME].to_numpy())
            self.observe(known.tail(held))
        digest = hashlib.sha256(known[OUTCOME].cast(pl.Float64).to_numpy().tobytes()).hexdigest()
        self._model_id = f"{self.spec.name}-{digest[:12]}"
        return FitReport(known.height - held, held, time.process_time() - start, scores, scores)

    def predict(self, rows: pl.DataFrame) -> Prediction:
        """The histogram of each row's key.

        Raises:
            PredictorError: it has seen no finished row yet.
        """
        made = self.lengths(self.spec.frame(rows)).quantiles()
        return Prediction.raw(made, self.model_id, self.spec.horizon_seconds)

    def lengths(self, rows: pl.DataFrame) -> Lengths:
        """The whole distribution of each row.

        Raises:
            PredictorError: it has seen no finished row yet.
        """
        found = [self.shares_of(key) for key in keys_of(self.spec, rows)]
        shares = np.array(found).reshape(len(found), COUNT)
        return Lengths(shares, limits_of(self.spec, rows)[1])

    def shares_of(self, key: Key) -> Floats:
        """(COUNT,) share of each bin for one key: the fast way, no frame needed.

        Args:
            key: general to specific, like ("llama", "chat"); a new one gets its parent's answer.

        Raises:
            PredictorError: it has seen no finished row yet.
        """
        if not self._settings.is_keyed:
            key = ()
        for depth in range(len(key), -1, -1):
            counts = self._seen.get(key[:depth])
            if counts is not None:
                return self._shares(key[:depth], counts)
        raise PredictorError(
            f"{self.spec.name} has seen no finished row yet",
            hint="collect some first, or train on recorded ones: servescope train",
        )

    def observe(self, rows: pl.DataFrame) -> None:
        """Remember finished rows; those without an outcome are left out."""
        real = rows[OUTCOME].cast(pl.Float64).fill_null(np.nan).to_numpy()
        cut = (
            rows[CENSORED].fill_null(value=False).to_list()
            if CENSORED in rows.columns
            else [False] * rows.height
        )
        finite = np.isfinite(real)
        bins = number_of(np.where(finite, np.maximum(real, 1.0), 1.0)).tolist()
        keys = keys_of(self.spec, rows)
        for number in np.flatnonzero(finite).tolist():
            self._remember(keys[number], bins[number], bool(cut[number]))

    def save(self, folder: Path) -> None:
        """Write what is remembered."""
        counts = list(self._seen.values())
        empty = np.zeros((0, COUNT))
        arrays = {
            "ended": np.stack([one.ended for one in counts]) if counts else empty,
            "cut": np.stack([one.cut for one in counts]) if counts else empty,
            "rows": np.array([one.rows for one in counts], np.int64),
        }
        settings = {name: getattr(self._settings, name) for name in _SETTINGS}
        keys = [list(key) for key in self._seen]
        artifact.write(
            folder, self.spec, self.model_id, arrays, {"keys": keys, "settings": settings}
        )

    @classmethod
    def load(cls, folder: Path, spec: Spec = HISTOGRAM_SPEC) -> Self:
        """Read what `save` wrote for `spec`.

        Raises:
            PredictorError: another predictor, another feature list, or changed bytes.
        """
        model_id, arrays, kept = artifact.read(folder, spec)
        made = cls(spec, HistogramSettings(**kept["settings"]))
        for number, key in enumerate(kept["keys"]):
            made._seen[tuple(key)] = _Counts(
                arrays["ended"][number].copy(),
                arrays["cut"][number].copy(),
                int(arrays["rows"][number]),
            )
        made._model_id = model_id
        return made

    def _remember(self, key: Key, place: int, is_cut: bool) -> None:
        keep = 1 - 1 / self._settings.memory_rows
        for depth in range(len(key) + 1 if self._settings.is_keyed else 1):
            part = key[:depth]
            counts = self._seen.get(part)
            if counts is None:
                counts = self._seen[part] = _Counts()
            counts.ended *= keep
            counts.cut *= keep
            (counts.cut if is_cut else counts.ended)[place] += 1
            counts.rows += 1
            self._seen.move_to_end(part)
        while len(self._seen) > self._settings.most_keys:
            del self._seen[next(key for key in self._seen if key)]

    def _shares(self, key: Key, counts: _Counts) -> Floats:
        # Counting again for each question would cost more than the question may.
        if counts.made_at < 0 or counts.rows - counts.made_at > counts.rows // 50:
            parent = self.shares_of(key[:-1]) if key else np.full(COUNT, 1 / COUNT)
            lean = self._settings.parent_rows if key else 0.05
            counts.shares = survived(counts.ended, counts.cut, parent, lean)
            counts.made_at = counts.rows
        return counts.shares


_SETTINGS = tuple(HistogramSettings.__dataclass_fields__)


def survived(ended: Floats, cut: Floats, parent: Floats, lean: float) -> Floats:
    """(COUNT,) shares of the bins from what ended and what was cut in each.

    Args:
        ended: (COUNT,) answers that ended in the bin.
        cut: (COUNT,) answers that were cut there, and would have ended there or later.
        parent: (COUNT,) shares to lean on.
        lean: as many rows the parent counts for.
    """
    mass = ended + lean * parent
    if not cut.any():
        return np.asarray(mass / mass.sum(), dtype=np.float64)
    total = mass + cut
    # At risk in a bin: all that got that far. What was cut in it went half-way on average.
    risk = np.cumsum(total[::-1])[::-1] - cut / 2
    hazard = np.clip(mass / np.maximum(risk, 1e-12), 0, 1)
    left = np.cumprod(1 - hazard)
    shares = np.concatenate([[1.0], left[:-1]]) * hazard
    # Nothing that long ever ended: all that is known is that it takes at least that.
    shares[int(np.flatnonzero(total)[-1])] += left[-1]
    return np.asarray(shares / shares.sum(), dtype=np.float64)
