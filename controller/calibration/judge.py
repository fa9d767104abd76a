"""How far simulated latencies are from recorded ones: of each request, and of all together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.calibration.recorded import Recorded, Times
from controller.numbers import Floats
from controller.observation import Objective
from store.errors import ControllerError

QUANTITIES = ("ttft", "tpot", "e2e")
QUANTILES = (0.5, 0.9, 0.95, 0.99)
# What never ended in the simulation is as wrong as can be; JSON has no infinity.
_MOST_ERROR = 1e6


@dataclass(frozen=True, slots=True)
class Miss:
    """Of one quantity.

    Attributes:
        median_ratio: of |simulated - real| / real, request by request.
        p95_ratio: its 95 % quantile.
        p99_ratio: its 99 % quantile.
        bias_ratio: median of (simulated - real) / real.
        quantiles: level -> quantile of what is real and of what is simulated, seconds.
        rows: that have both.
    """

    median_ratio: float
    p95_ratio: float
    p99_ratio: float
    bias_ratio: float
    quantiles: Mapping[float, tuple[float, float]]
    rows: int

    def quantile_ratio(self, level: float) -> float:
        """Simulated over real quantile of all requests together, less 1."""
        measured, simulated = self.quantiles[level]
        return simulated / measured - 1


@dataclass(frozen=True, slots=True)
class Judged:
    """One way to know latencies beforehand, on rows that it did not see.

    Attributes:
        name: of the way.
        misses: quantity -> how far; a quantity that it does not tell is left out.
        attainment: share of the requests that meet the objective as it says; None untold.
        recorded_attainment: as they did.
    """

    name: str
    misses: Mapping[str, Miss]
    attainment: float | None
    recorded_attainment: float

    @property
    def attainment_points(self) -> float | None:
        """Told less recorded, percentage points."""
        if self.attainment is None:
            return None
        return 100 * (self.attainment - self.recorded_attainment)


def judge(name: str, told: Times, real: Times, objective: Objective) -> Judged:
    """Compare.

    Args:
        name: of the way.
        told: NaN where it says nothing.
        real: as recorded.
        objective: when a request is good.
    """
    misses = {}
    for quantity in QUANTITIES:
        found = _miss(getattr(told, quantity), getattr(real, quantity))
        if found is not None:
            misses[quantity] = found
    complete = np.isfinite(told.ttft).any()
    return Judged(
        name, misses, attainment(told, objective) if complete else None, attainment(real, objective)
    )


def attainment(times: Times, objective: Objective) -> float:
    """Share that is good; what has no time is not."""
    good = np.isfinite(times.e2e)
    if objective.ttft_seconds is not None:
        good &= times.ttft <= objective.ttft_seconds
    if objective.tpot_seconds is not None:
        good &= ~(times.tpot > objective.tpot_seconds)
    return float(good.mean()) if len(good) else float("nan")


def usual_objective(recorded: Recorded) -> Objective:
    """What 90 % of the requests kept, each for itself: where nobody said what is good."""
    tpot = recorded.times.tpot[np.isfinite(recorded.times.tpot)]
    return Objective(
        ttft_seconds=_round(float(np.quantile(recorded.times.ttft, 0.9))),
        tpot_seconds=_round(float(np.quantile(tpot, 0.9))) if len(tpot) else None,
    )


def _round(value: float) -> float:
    """Two digits that matter."""
    return float(f"{value:.2g}")


def _miss(told: Floats, real: Floats) -> Miss | None:
    known = np.isfinite(real) & (real > 0)
    both = known & np.isfinite(told)
    if not both.any():
        return None
    signed = (told[both] - real[both]) / real[both]
    # What never ended in the simulation is as wrong as can be.
    sizes = np.concatenate([np.abs(signed), np.full(int(known.sum() - both.sum()), np.inf)])
    return Miss(
        float(np.median(sizes)),
        float(np.quantile(sizes, 0.95, method="higher")),
        float(np.quantile(sizes, 0.99, method="higher")),
        float(np.median(signed)),
        {
            level: (float(np.quantile(real[both], level)), float(np.quantile(told[both], level)))
            for level in QUANTILES
        },
        int(known.sum()),
    )


def errors_of(judged: Judged) -> dict[str, Any]:
    """As the fields of a `controller.profile.FitError`, but for its source; plain values.

    Raises:
        ControllerError: no end-to-end time was recorded.
    """
    if "e2e" not in judged.misses:
        raise ControllerError("the window has no end-to-end times")
    found: dict[str, Any] = {"rows": judged.misses["e2e"].rows, "quantiles": _quantiles(judged)}
    for quantity, prefix in (("e2e", ""), ("ttft", "ttft_"), ("tpot", "tpot_")):
        miss = judged.misses.get(quantity)
        for name in ("median_ratio", "p95_ratio", "p99_ratio"):
            found[prefix + name] = None if miss is None else min(getattr(miss, name), _MOST_ERROR)
    found["attainment_points"] = judged.attainment_points
    return found


def _quantiles(judged: Judged) -> list[dict[str, Any]]:
    return [
        {"quantity": quantity, "level": level, "measured_seconds": real, "simulated_seconds": told}
        for quantity in QUANTITIES
        if quantity in judged.misses
        for level, (real, told) in judged.misses[quantity].quantiles.items()
    ]
