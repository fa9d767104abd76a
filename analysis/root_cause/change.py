"""How much each signal changed when the target did, measured by its own past.

The change is a mean of the fault's samples, weighted by how much the target suffered at each, less
the median of the samples right before. The same is computed for every stretch of the past: its
robust spread is what such a change usually comes to, with all the slow drift that the signal has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.root_cause.table import Case, Floats

# With fewer stretches of the past their spread is no measure.
_LEAST_STRETCHES = 6
_MAD = 1.4826


@dataclass(frozen=True, slots=True)
class Floors:
    """What a change must at least come to, as a share of the signal's level.

    Attributes:
        near: where the samples before the onset follow each other up to it.
        across_gap: where nothing tells how the level moved until the onset.
        of_peers: share of the usual level of its kind.
    """

    near: float = 0.02
    across_gap: float = 0.1
    of_peers: float = 0.001


@dataclass(frozen=True, slots=True)
class Changes:
    """(columns,) arrays; NaN where a signal was not sampled on both sides.

    Attributes:
        before: level before the onset, oriented (see `Case.oriented`).
        during: level in the fault.
        harm: the change in the harmful direction; below 0 it got better.
        usual: what such a change usually comes to.
        unit: the signal's own, else the root mean square of the levels of all signals of its kind,
            before and during.
        weights: (fault rows,) how much of the target's suffering fell on each; they add up to 1.
    """

    before: Floats
    during: Floats
    harm: Floats
    usual: Floats
    unit: Floats
    weights: Floats

    @property
    def multiple(self) -> Floats:
        """Change over usual change, from 0; 0 where it is unknown."""
        return np.nan_to_num(np.clip(self.harm / self.usual, 0.0, None))

    @property
    def size(self) -> Floats:
        """Share of change in change + the usual level of its kind, 0 to 1."""
        change = np.nan_to_num(np.clip(self.harm, 0.0, None))
        whole = change + np.nan_to_num(self.unit)
        return np.divide(change, whole, out=np.zeros_like(change), where=whole > 0)


def changes(case: Case, floors: Floors) -> Changes:
    """How all signals of a case changed at its onset."""
    values, onset = case.oriented, case.onset
    start = case.reference_start
    has_gap = start == onset
    past = _median(values[:onset])
    before = past if has_gap else _median(values[start:onset])
    before = np.where(np.isnan(before), past, before)
    weights = _weights(values[onset:, case.target] - before[case.target])
    during = _weighted(values[onset:], weights)
    harm = _weighted(values[onset:] - before, weights)
    either = np.array([signal.harm == 0 for signal in case.signals])
    history = values[: onset if has_gap else start]
    spread = _spread(history, weights, 0 if has_gap else onset - start)
    if len(history) == 0:
        spread = _deviation(values[:onset])
    unit = _units(case, before, during)
    floor = floors.across_gap if has_gap else floors.near
    parts = (np.nan_to_num(spread), floor * np.abs(np.nan_to_num(before)), floors.of_peers * unit)
    usual = np.sqrt(sum(np.square(part) for part in parts))
    return Changes(
        before=before,
        during=during,
        harm=np.where(either, np.abs(harm), harm),
        usual=np.where(usual > 0, usual, np.nan),
        unit=unit,
        weights=weights,
    )


def _weights(suffered: Floats) -> Floats:
    positive = np.clip(np.nan_to_num(suffered), 0.0, None)
    if positive.sum() <= 0:
        positive = np.ones(len(suffered))
    made: Floats = positive / positive.sum()
    return made


def _weighted(rows: Floats, weights: Floats) -> Floats:
    """(columns,) weighted mean of the known rows; NaN where none of weight is known."""
    known = np.isfinite(rows) * weights[:, None]
    total = known.sum(axis=0)
    added = (np.nan_to_num(rows) * known).sum(axis=0)
    made: Floats = np.divide(added, total, out=np.full(rows.shape[1], np.nan), where=total > 0)
    return made


def _spread(history: Floats, weights: Floats, reference: int) -> Floats:
    """(columns,) robust spread of the same change over stretches of the past."""
    span = reference + len(weights)
    starts = range(0, len(history) - span + 1, max(1, span // 3))
    if len(starts) < _LEAST_STRETCHES:
        return _deviation(history)
    past = _median(history)
    seen = []
    for start in starts:
        stretch = history[start : start + span]
        level = _median(stretch[:reference]) if reference else past
        seen.append(_weighted(stretch[reference:] - level, weights))
    found = np.abs(np.array(seen))
    rare = 0.5 * np.sqrt(_mean(np.square(found)))
    made: Floats = np.fmax(_MAD * _median(found), rare)
    return made


def _deviation(rows: Floats) -> Floats:
    made: Floats = _MAD * _median(np.abs(rows - _median(rows)))
    return made


def _units(case: Case, before: Floats, during: Floats) -> Floats:
    """(columns,) root mean square of the levels of each kind."""
    made = np.zeros(len(case.signals))
    kinds = np.array([signal.kind for signal in case.signals])
    for kind in np.unique(kinds):
        here = kinds == kind
        levels = np.concatenate([before[here], during[here]])
        known = levels[np.isfinite(levels)]
        made[here] = np.sqrt(np.mean(np.square(known))) if len(known) else 0.0
    given = np.array([np.nan if s.unit is None else s.unit for s in case.signals])
    return np.where(np.isnan(given), made, given)


def _median(rows: Floats) -> Floats:
    """(columns,) of the known rows; NaN where there is none, without a warning."""
    if len(rows) == 0:
        return np.full(rows.shape[1], np.nan)
    known = ~np.all(np.isnan(rows), axis=0)
    made = np.full(rows.shape[1], np.nan)
    made[known] = np.nanmedian(rows[:, known], axis=0)
    return made


def _mean(rows: Floats) -> Floats:
    known = np.isfinite(rows)
    total = known.sum(axis=0)
    added = np.nan_to_num(rows).sum(axis=0)
    made: Floats = np.divide(added, total, out=np.full(rows.shape[1], np.nan), where=total > 0)
    return made
