"""What answers had whose prompts were about as long, lately: weighted quantiles of neighbours.

The size of a prompt often names the application that sent it, because each has a template of its
own; and applications change. So neighbours in size count by how near their rank is, and less the
older they are.

Source: Nadaraya-Watson weights on a conditional distribution (Hall, Wolff, Yao (1999), JASA 94).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.conformal import Key
from predictors.distribution import LEVELS, Floats


@dataclass(frozen=True, slots=True)
class KernelSettings:
    """Which neighbours count.

    Attributes:
        reach_rows: neighbours on each side, the nearest most.
        memory_rows: a row this much older counts e times less.
        most_rows: remembered of a key.
        least_rows: with fewer the parent key answers.
        most_keys: beyond it the key longest unused is forgotten.
    """

    reach_rows: int = 130
    memory_rows: int = 3000
    most_rows: int = 20_000
    least_rows: int = 100
    most_keys: int = 500


@dataclass(slots=True)
class _Rows:
    """The rows of a key: those in order of size, and the newest, not yet sorted in."""

    sizes: Floats = field(default_factory=lambda: np.zeros(0))
    lengths: Floats = field(default_factory=lambda: np.zeros(0))
    ages: Floats = field(default_factory=lambda: np.zeros(0))
    new: list[tuple[float, float, float]] = field(default_factory=list)
    count: int = 0

    def sort_in(self, most: int) -> None:
        """Put the newest rows in their places."""
        if not self.new:
            return
        fresh = np.array(self.new)
        self.new.clear()
        sizes = np.concatenate([self.sizes, fresh[:, 0]])
        lengths = np.concatenate([self.lengths, fresh[:, 1]])
        ages = np.concatenate([self.ages, fresh[:, 2]])
        if len(ages) > most:
            kept = ages > self.count - most
            sizes, lengths, ages = sizes[kept], lengths[kept], ages[kept]
        order = np.argsort(sizes, kind="stable")
        self.sizes, self.lengths, self.ages = sizes[order], lengths[order], ages[order]


class SizeKernel:
    """Lengths by the size of the prompt. Not thread-safe: one owner."""

    def __init__(self, settings: KernelSettings | None = None) -> None:
        self._settings = settings or KernelSettings()
        self._keys: OrderedDict[Key, _Rows] = OrderedDict()

    def observe(self, key: Key, size: float, length: float) -> None:
        """Remember one finished answer; an unknown size teaches nothing."""
        if not np.isfinite(size):
            return
        for depth in range(len(key) + 1):
            rows = self._keys.setdefault(key[:depth], _Rows())
            self._keys.move_to_end(key[:depth])
            rows.count += 1
            rows.new.append((size, length, float(rows.count)))
        while len(self._keys) > self._settings.most_keys:
            del self._keys[next(one for one in self._keys if one)]

    def quantiles(self, key: Key, size: float) -> Floats | None:
        """(k,) at `LEVELS`; None where too little was seen or the size is unknown."""
        rows = self._rows(key)
        if rows is None or not np.isfinite(size):
            return None
        rows.sort_in(self._settings.most_rows)
        reach = self._settings.reach_rows
        place = int(np.searchsorted(rows.sizes, size))
        near = slice(max(place - reach, 0), place + reach)
        ages, lengths = rows.ages[near], rows.lengths[near]
        ranks = np.abs(np.arange(near.start, near.start + len(ages)) + 0.5 - place)
        fading = np.exp((ages - rows.count) / self._settings.memory_rows)
        return weighted_quantiles(lengths, np.maximum(1 - ranks / reach, 1e-3) * fading)

    def arrays(self) -> tuple[dict[str, npt.NDArray[Any]], list[list[str]]]:
        """For `artifact.write`: arrays, and the keys in their order."""
        for rows in self._keys.values():
            rows.sort_in(self._settings.most_rows)
        kept = list(self._keys.values())
        table = [np.stack([rows.sizes, rows.lengths, rows.ages], axis=1) for rows in kept]
        return {
            "kernel.rows": np.concatenate([np.zeros((0, 3)), *table]),
            "kernel.sizes": np.array([len(rows.sizes) for rows in kept], np.int64),
            "kernel.counts": np.array([rows.count for rows in kept], np.int64),
        }, [list(key) for key in self._keys]

    def restore(self, arrays: dict[str, npt.NDArray[Any]], keys: list[list[str]]) -> None:
        """Go on where `arrays` was taken."""
        parts = np.split(arrays["kernel.rows"], np.cumsum(arrays["kernel.sizes"])[:-1])
        for key, part, count in zip(keys, parts, arrays["kernel.counts"].tolist(), strict=False):
            sizes, lengths, ages = np.ascontiguousarray(part.T)
            self._keys[tuple(key)] = _Rows(sizes, lengths, ages, [], int(count))

    def _rows(self, key: Key) -> _Rows | None:
        for depth in range(len(key), -1, -1):
            rows = self._keys.get(key[:depth])
            if rows is not None and rows.count >= self._settings.least_rows:
                return rows
        return None


def weighted_quantiles(values: Floats, weights: Floats) -> Floats:
    """(k,) quantiles at `LEVELS` of values that count by their weights."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    asked = np.asarray(LEVELS) * below[-1]
    place = np.minimum(np.searchsorted(below, asked), len(values) - 1)
    return np.asarray(values[order][place], dtype=np.float64)
