"""Online conformal correction of quantiles, per key, shrunk to the parent key.

Each level of each key has an offset. When an outcome falls above a predicted quantile the offset
goes up by `rate * level`, when below it goes down by `rate * (1 - level)`, so that in the long run
a share `level` of the outcomes lies below, whatever the distribution does. Offsets are added to
the logarithm of quantities whose errors are ratios, and to the value itself otherwise.

Source: Gibbs and Candes (2021), Adaptive conformal inference under distribution shift; the
quantile-tracking form of Angelopoulos, Candes, Tibshirani (2023), Conformal PID control.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.base import CALIBRATED, RAW, WARMING
from predictors.distribution import Floats, Quantiles
from store.errors import PredictorError

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConformalSettings:
    """How fast and how far offsets move.

    Attributes:
        rate: step of an offset on a miss, as a share of the key's running spread of errors.
        first_rate: the same for a key's first outcomes; it falls with 1/sqrt(n) to `rate`.
        shrink_rows: with this many outcomes a key's own offset counts as much as its parent's.
        calibrated_rows: from here on its intervals are called calibrated.
        most_keys: beyond it the key longest unused is forgotten (its parent answers again).
        log_floor: added before taking logarithms, in the unit of the quantity.
    """

    rate: float = 0.05
    first_rate: float = 0.5
    shrink_rows: int = 50
    calibrated_rows: int = 100
    most_keys: int = 10_000
    log_floor: float = 1.0


@dataclass(slots=True)
class _Track:
    offsets: Floats
    spread: float = 0.0
    n: int = 0


class OnlineConformal:
    """Corrects quantiles by what came true. Not thread-safe: one owner.

    Args:
        levels: (k,) of the quantiles.
        is_log: whether errors are ratios.
        settings: how fast it learns.
    """

    def __init__(
        self, levels: Floats, is_log: bool, settings: ConformalSettings | None = None
    ) -> None:
        self._levels = np.asarray(levels, dtype=np.float64)
        self._is_log = is_log
        self._settings = settings or ConformalSettings()
        self._tracks: OrderedDict[Key, _Track] = OrderedDict()

    def correct(
        self, quantiles: Quantiles, keys: Sequence[Key]
    ) -> tuple[Quantiles, npt.NDArray[np.int8]]:
        """Corrected quantiles and how far each row is calibrated.

        Args:
            quantiles: n rows as the model made them.
            keys: of each row, general to specific; () is everything.
        """
        offsets, seen = self._of_rows(keys)
        values = self._back(self._scaled(quantiles.values) + offsets)
        state = np.where(seen >= self._settings.calibrated_rows, CALIBRATED, WARMING)
        state = np.where(seen == 0, RAW, state).astype(np.int8)
        return Quantiles.of(quantiles.levels, values), state

    def observe(self, quantiles: Quantiles, keys: Sequence[Key], outcomes: npt.ArrayLike) -> None:
        """Learn from what came true, in the order in which it did.

        Args:
            quantiles: as the model made them, before any correction.
            keys: as in `correct`.
            outcomes: (n,); NaN is unknown and teaches nothing.
        """
        real = np.asarray(outcomes, dtype=np.float64)
        scaled, target = self._scaled(quantiles.values), self._scaled(real)
        for number in np.flatnonzero(np.isfinite(real)).tolist():
            self._learn(keys[number], scaled[number], float(target[number]))

    def widen(self, factor: float) -> None:
        """Push all offsets away from the median at once: the reaction to drift.

        Args:
            factor: spreads of error added at the outermost levels, >= 0.
        """
        direction = (self._levels - 0.5) * 2
        for track in self._tracks.values():
            track.offsets = track.offsets + factor * track.spread * direction
            track.n = min(track.n, self._settings.calibrated_rows - 1)

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as plain lists and numbers."""
        return {
            "levels": self._levels.tolist(),
            "is_log": self._is_log,
            "tracks": [
                [list(key), track.offsets.tolist(), track.spread, track.n]
                for key, track in self._tracks.items()
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            PredictorError: it belongs to other levels or another scale.
        """
        if state.get("levels") != self._levels.tolist() or state.get("is_log") != self._is_log:
            raise PredictorError(
                "the calibration belongs to another model",
                hint="start without it; intervals are raw until outcomes arrive",
            )
        self._tracks = OrderedDict(
            (tuple(key), _Track(np.asarray(offsets, dtype=np.float64), float(spread), int(n)))
            for key, offsets, spread, n in state["tracks"]
        )

    def _learn(self, key: Key, predicted: Floats, real: float) -> None:
        # The parent's offset is what the child's is measured against, so general ones go first.
        base = np.zeros_like(self._levels)
        for depth in range(len(key) + 1):
            track = self._track(key[:depth])
            share = self._share(track.n, depth)
            used = base + share * (track.offsets - base)
            self._step(track, used, predicted, real)
            base = used

    def _step(self, track: _Track, used: Floats, predicted: Floats, real: float) -> None:
        settings = self._settings
        error = abs(real - float(np.interp(0.5, self._levels, predicted)))
        weight = max(0.01, 1 / (track.n + 1))
        track.spread += weight * (error - track.spread)
        track.n += 1
        pace = max(settings.rate, settings.first_rate / np.sqrt(track.n)) * max(track.spread, 1e-9)
        missed = real > predicted + used
        track.offsets = track.offsets + pace * np.where(missed, self._levels, self._levels - 1)

    def _of_rows(self, keys: Sequence[Key]) -> tuple[Floats, npt.NDArray[np.int64]]:
        known: dict[Key, tuple[Floats, int]] = {}
        offsets = np.empty((len(keys), len(self._levels)))
        seen = np.empty(len(keys), np.int64)
        for number, key in enumerate(keys):
            if key not in known:
                known[key] = self._of_key(key)
            offsets[number], seen[number] = known[key]
        return offsets, seen

    def _of_key(self, key: Key) -> tuple[Floats, int]:
        used, seen = np.zeros_like(self._levels), 0
        for depth in range(len(key) + 1):
            track = self._tracks.get(key[:depth])
            if track is None:
                break
            used = used + self._share(track.n, depth) * (track.offsets - used)
            seen = track.n
        return used, seen

    def _share(self, n: int, depth: int) -> float:
        # The root has no parent to lean on.
        return 1.0 if depth == 0 else n / (n + self._settings.shrink_rows)

    def _track(self, key: Key) -> _Track:
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = _Track(np.zeros_like(self._levels))
            while len(self._tracks) > self._settings.most_keys:
                oldest = next(iter(self._tracks))
                if oldest == ():
                    self._tracks.move_to_end(oldest)
                    continue
                del self._tracks[oldest]
        self._tracks.move_to_end(key)
        return track

    def _scaled(self, values: npt.ArrayLike) -> Floats:
        given = np.asarray(values, dtype=np.float64)
        if not self._is_log:
            return given
        return np.log(np.maximum(given, 0.0) + self._settings.log_floor)

    def _back(self, values: Floats) -> Floats:
        if not self._is_log:
            return values
        # Beyond e^80 nothing physical is meant; a finite number is easier to clamp.
        return np.exp(np.minimum(values, 80.0)) - self._settings.log_floor
