"""Suspects for what a signal suffered, the likeliest first, each with its evidence.

A suspect's score (0 to 1) multiplies four answers:

1. did it change, by the measure of its own past (`change`);
2. is the change large enough to matter: for means and shares of requests, does it carry as many
   seconds or failures as the target suffered; else, is it large among signals of its kind;
3. does it move with the target, and first (`dependence`);
4. is it explained by something earlier at its place: a limit or a stock that fills explains the
   use that follows from it, not the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.root_cause.change import Changes, Floors, changes
from analysis.root_cause.dependence import Dependence, dependence
from analysis.root_cause.table import Case, Floats, Signal

# What explains what at one place, the earlier the deeper.
_DEPTH = {"limit": 0, "stock": 1, "flow": 2}
LEAST_SCORE = 0.1
LEAST_BEFORE = 10
LEAST_DURING = 2
# Below this many usual changes the target did not change.
LEAST_MULTIPLE = 3.0


@dataclass(frozen=True, slots=True)
class Weights:
    """The constants of a ranking; docs/degradation.md says how far they matter.

    Attributes:
        half_multiple: a change of this many usual changes counts half.
        together: share of the score that moving with the target decides, 0 to 1.
        explained: power with which an earlier signal at the same place takes from a later one.
        other_quantity: what an outcome of another quantity than the target's counts, 0 to 1.
        consequence: what remains of the score of a signal that follows the target.
        most_lag_steps: how far ahead of the target a cause is looked for.
        floors: what a change must at least come to.
    """

    half_multiple: float = 5.0
    together: float = 0.5
    explained: float = 3.0
    other_quantity: float = 0.5
    consequence: float = 0.5
    most_lag_steps: int = 3
    floors: Floors = field(default_factory=Floors)


@dataclass(frozen=True, slots=True)
class Suspect:
    """One signal that may have brought it about.

    Attributes:
        signal: which.
        score: 0 to 1, no probability.
        before: its value before the onset, in its own unit.
        during: its value in the fault, weighted by what the target suffered.
        multiple: its change over what such a change usually comes to.
        together: correlation with the target, at best shift, 0 to 1; None where the target told
            nothing to go by.
        lead_seconds: how much earlier than the target it moved, at that shift.
        carried: share of what the target suffered that it carries, or its size among its kind.
    """

    signal: Signal
    score: float
    before: float
    during: float
    multiple: float
    together: float | None
    lead_seconds: float
    carried: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Suspects by score, and why the first is not to be believed.

    Attributes:
        suspects: signals that changed for the worse, at most one a key.
        why_unknown: None, or why the evidence is too thin to name anything.
        target_multiple: the target's own change over what such a change usually comes to.
    """

    suspects: Sequence[Suspect]
    why_unknown: str | None
    target_multiple: float


def rank(case: Case, weights: Weights | None = None) -> Ranking:
    """Rank all signals of a case but its target."""
    used = weights or Weights()
    seen = changes(case, used.floors)
    moved = dependence(case, used.most_lag_steps)
    sure = seen.multiple / (seen.multiple + used.half_multiple)
    carried = _carried(case, seen, sure, used)
    scores = sure * carried * _together(moved, used)
    scores = _unexplained(case.signals, scores, sure * carried, used.explained)
    suspects = [
        _suspect(case, seen, moved, float(scores[i]), float(carried[i]), i)
        for i in np.argsort(-scores, kind="stable").tolist()
        if i != case.target and scores[i] > 0
    ]
    target = float(seen.multiple[case.target])
    return Ranking(suspects, _why_unknown(case, suspects, target), target)


def _carried(case: Case, seen: Changes, sure: Floats, used: Weights) -> Floats:
    """(columns,) does each carry what the target suffered: 0 to 1."""
    target = case.signals[case.target]
    suffered = _amount(case, seen, case.target)
    asked = [
        seen.size[i] * sure[i]
        for i, signal in enumerate(case.signals)
        if signal.role == "load" and signal.place == target.place
    ]
    made = seen.size.copy()
    for i, signal in enumerate(case.signals):
        if signal.role == "load" and asked:
            # More asked for elsewhere does no harm unless more arrives where it hurts.
            made[i] = min(made[i], max(asked))
        elif signal.role == "outcome" and target.role == "outcome":
            amount = _amount(case, seen, i)
            if amount is not None and suffered and _quantity(signal) == _quantity(target):
                made[i] = min(1.0, amount / suffered)
            if signal.kind != target.kind:
                made[i] *= used.other_quantity
    return made


def _quantity(signal: Signal) -> str:
    return signal.kind.split(":")[0]


def _amount(case: Case, seen: Changes, i: int) -> float | None:
    """Seconds, failures or the like that a change adds up to in a step; None where unknown."""
    signal = case.signals[i]
    if not signal.is_additive or signal.counted_by is None:
        return None
    count = case.column(signal.place, signal.counted_by)
    if count is None or not np.isfinite(seen.during[count]) or not np.isfinite(seen.harm[i]):
        return None
    return max(0.0, float(seen.harm[i])) * float(seen.during[count])


def _together(moved: Dependence, used: Weights) -> Floats:
    if not moved.is_known or not np.any(moved.leads > 0):
        return np.ones(len(moved.leads))
    factor = 1 - used.together + used.together * moved.leads
    is_consequence = moved.follows > moved.leads + 0.1
    return np.where(is_consequence, factor * used.consequence, factor)


def _unexplained(
    signals: Sequence[Signal], scores: Floats, evidence: Floats, power: float
) -> Floats:
    """Scores less what deeper signals at the same place explain."""
    made = scores.copy()
    for i, signal in enumerate(signals):
        depth = _DEPTH.get(signal.role)
        if depth is None:
            continue
        deeper = [
            evidence[j]
            for j, other in enumerate(signals)
            if other.place == signal.place and _DEPTH.get(other.role, depth) < depth
        ]
        made[i] *= (1 - max(deeper, default=0.0)) ** power
    return made


def _suspect(
    case: Case, seen: Changes, moved: Dependence, score: float, carried: float, i: int
) -> Suspect:
    signal = case.signals[i]
    return Suspect(
        signal=signal,
        score=score,
        before=_told(signal, seen.before[i]),
        during=_told(signal, seen.during[i]),
        multiple=float(seen.multiple[i]),
        together=float(moved.leads[i]) if moved.is_known else None,
        lead_seconds=float(moved.lag_steps[i]) * case.step_seconds,
        carried=carried,
    )


def _told(signal: Signal, oriented: float) -> float:
    if signal.ceiling is not None:
        return float(signal.ceiling - oriented)
    return float(-oriented if signal.harm < 0 else oriented)


def _why_unknown(case: Case, suspects: Sequence[Suspect], target: float) -> str | None:
    values = case.values[:, case.target]
    before = int(np.isfinite(values[: case.onset]).sum())
    during = int(np.isfinite(values[case.onset :]).sum())
    if before < LEAST_BEFORE or during < LEAST_DURING:
        return (
            f"{before} samples before and {during} since are too few: "
            f"{LEAST_BEFORE} and {LEAST_DURING} are needed"
        )
    if target < LEAST_MULTIPLE:
        return f"what it suffered is only {target:.1f} times its usual change"
    if not suspects or suspects[0].score < LEAST_SCORE:
        return "no other signal changed enough with it"
    return None
