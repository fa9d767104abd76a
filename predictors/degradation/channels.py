"""What the models look at: the metrics, and what queueing says about them.

Absolute counters give the application away and little else. What carries over to neighbours and
programs never seen is how near the host is to its limit, how much of its use the instance's own
load does not explain, and what a unit of work costs the instance now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.host_signals import ACHIEVED, OFFERED
from predictors.degradation.windows import Windows
from predictors.distribution import Floats

# A full resource is 25 times slower than an empty one, not infinitely: samples are averages.
ROOM = 1.04
UNDEGRADED = 0.9
LEAST_UNDEGRADED = 20
RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a model is fed.

    Attributes:
        values: (n, t, c) channels; NaN is unknown.
        steps: (n, t) whether the step was there.
    """

    values: Floats
    steps: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: npt.ArrayLike) -> Inputs:
        """The rows that an index or a mask names."""
        chosen = np.asarray(rows)
        return Inputs(self.values[chosen], self.steps[chosen])

    def summary(self) -> Floats:
        """(n, c * 5) mean, deviation, highest, lowest and newest of each channel over time."""
        known = np.isfinite(self.values) & self.steps[:, :, None]
        count = known.sum(axis=1)
        some = np.maximum(count, 1)
        given = np.where(known, self.values, 0.0)
        mean = given.sum(axis=1) / some
        apart = np.where(known, self.values - mean[:, None, :], 0.0)
        deviation = np.sqrt((apart**2).sum(axis=1) / some)
        highest = np.where(known, self.values, -np.inf).max(axis=1)
        lowest = np.where(known, self.values, np.inf).min(axis=1)
        last = np.maximum(self.steps.sum(axis=1) - 1, 0)
        newest = self.values[np.arange(len(self)), last]
        told = np.stack([mean, deviation, highest, lowest, newest], axis=2)
        told[count == 0] = np.nan
        return np.asarray(told.reshape(len(self), -1), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Channels:
    """How metrics become channels. Fitted on rows to learn from, kept with the model.

    Attributes:
        metrics: the vocabulary, m; others are not read.
        own_part: (h, 1 + m) for each host utilisation what the instance's own metrics explain of
            it where nothing was degraded: an intercept and one factor a metric.
    """

    metrics: tuple[str, ...]
    own_part: Floats

    @classmethod
    def fit(cls, windows: Windows, outcomes: Floats) -> Channels:
        """Learn what host use the own load explains, from rows that were not degraded."""
        mean = _means(windows)
        clean = outcomes >= UNDEGRADED
        own = [number for number, name in enumerate(windows.names) if name.startswith("self.")]
        parts = [_explained(mean, host, own, clean) for host in _places(windows.names, "host.")]
        width = 1 + len(windows.names)
        return cls(windows.names, np.array(parts).reshape(len(parts), width))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the channels, c."""
        return self.metrics + tuple(name for name, _ in self._derived())

    def inputs(self, windows: Windows) -> Inputs:
        """The channels of `windows`, whose metrics are `self.metrics`."""
        made = [windows.values]
        made += [value(windows.values)[:, :, None] for _, value in self._derived()]
        values = np.concatenate(made, axis=2)
        values[~np.isfinite(values)] = np.nan
        return Inputs(values, windows.steps)

    def _derived(self) -> list[tuple[str, Any]]:
        place = {name: number for number, name in enumerate(self.metrics)}
        hosts = _places(self.metrics, "host.")
        made: list[tuple[str, Any]] = []
        for number, host in enumerate(hosts):
            name = self.metrics[host]
            made.append((f"slowness({name})", _slowness(host, _full(name))))
            made.append((f"unexplained({name})", _unexplained(host, self.own_part[number])))
            own = [place[n] for n in self.metrics if _is_part_of(n, name)]
            if own:
                made.append((f"own_share({name})", _own_share(own, host)))
        if ACHIEVED in place:
            for number in [place[n] for n in self.metrics if n.startswith("self.")]:
                name = f"per_unit({self.metrics[number]})"
                made.append((name, _ratio(number, place[ACHIEVED])))
            if OFFERED in place:
                made.append(("achieved_share", _ratio(place[ACHIEVED], place[OFFERED])))
        for name in self.metrics:
            other = "neighbour." + name.removeprefix("self.")
            if name.startswith("self.") and other in place:
                made.append((f"ahead({name})", _difference(place[name], place[other])))
        return made

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For `artifact.write`; the names go into its settings."""
        return {"channels.own_part": self.own_part}


def _full(name: str) -> float:
    return 100.0 if name.endswith("_pct") else 1.0


def _places(names: tuple[str, ...], who: str) -> list[int]:
    """Utilisations of `who`: what is told in percent or as a ratio has an end."""
    ends = ("_pct", "_ratio")
    return [n for n, name in enumerate(names) if name.startswith(who) and name.endswith(ends)]


def _is_part_of(name: str, host: str) -> bool:
    what = host.removeprefix("host.")
    return name.startswith("self.") and (name == f"self.{what}" or name.endswith(f"_{what}"))


def _means(windows: Windows) -> Floats:
    known = np.isfinite(windows.values)
    total = np.where(known, windows.values, 0.0).sum(axis=1)
    count = known.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _explained(mean: Floats, host: int, own: list[int], clean: npt.NDArray[np.bool_]) -> Floats:
    part = np.zeros(1 + mean.shape[1])
    rows = clean & np.isfinite(mean[:, [host, *own]]).all(axis=1)
    if rows.sum() < LEAST_UNDEGRADED or not own:
        return part
    given, target = mean[rows][:, own], mean[rows, host]
    middle, spread = given.mean(axis=0), given.std(axis=0) + 1e-9
    scaled = (given - middle) / spread
    square = scaled.T @ scaled + RIDGE * len(target) * np.eye(len(own))
    factors = np.linalg.solve(square, scaled.T @ (target - target.mean())) / spread
    part[0] = target.mean() - middle @ factors
    part[1 + np.array(own)] = factors
    return part


def _slowness(host: int, full: float) -> Any:
    def value(given: Floats) -> Floats:
        return 1.0 / (ROOM - np.clip(given[:, :, host] / full, 0.0, 1.0))

    return value


def _unexplained(host: int, part: Floats) -> Any:
    own = np.flatnonzero(part[1:])

    def value(given: Floats) -> Floats:
        explained = part[0] + given[:, :, own] @ part[1 + own]
        return np.asarray(given[:, :, host] - explained, dtype=np.float64)

    return value


def _own_share(own: list[int], host: int) -> Any:
    def value(given: Floats) -> Floats:
        return _over(given[:, :, own].sum(axis=2), given[:, :, host])

    return value


def _ratio(above: int, below: int) -> Any:
    return lambda given: _over(given[:, :, above], given[:, :, below])


def _difference(one: int, other: int) -> Any:
    return lambda given: given[:, :, one] - given[:, :, other]


def _over(above: Floats, below: Floats) -> Floats:
    """A ratio; unknown where nothing is below the line."""
    there = np.abs(below) > 1e-9
    return np.where(there, above / np.where(there, below, 1.0), np.nan)
