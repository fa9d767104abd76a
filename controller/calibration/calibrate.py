"""Calibration: fit to the earlier rows, judge on the later ones, say both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from controller.calibration.fit import Fit, FitSettings, fit
from controller.calibration.judge import Judged, errors_of, judge, usual_objective
from controller.calibration.limits import Limits, limits_of
from controller.calibration.placing import placed, unequal
from controller.calibration.recorded import LEAST_ROWS, Recorded, Times
from controller.calibration.rivals import RIVALS
from controller.calibration.simulated import simulate
from controller.observation import Objective
from controller.profile import FitError, Profile
from store.errors import ControllerError

Told = Callable[[float], None]

BOUND_RATIO, BOUND_POINTS = 0.10, 5.0
_LEAST_JUDGED = 30
_MOST_LEFT_OUT = 0.05


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a calibration.

    Attributes:
        name: of the profile.
        source: where the rows are from, for people.
        fit_ratio: share of the time that is fitted to, the rest is judged on; of the requests in
            their order where the time leaves too few on a side, as after an idle hour.
        replicas: behind one router, where nobody said who served whom; None: as many as are
            known of.
        objective: when a request is good; None: what nine of ten requests kept.
        bound_ratio: median E2E error above which it is not validated.
        bound_points: miss of the attainment above which it is not validated.
        given: limits that are known: sequences, cache_tokens, token_budget, is_chunked.
        gpus: cards of a replica.
        gpu_type: of the cards.
        price_per_hour: of a replica; None unknown.
        settings: how much is spent.
    """

    name: str
    source: str
    fit_ratio: float = 0.5
    replicas: int | None = None
    objective: Objective | None = None
    bound_ratio: float = BOUND_RATIO
    bound_points: float = BOUND_POINTS
    given: Mapping[str, int | bool | None] = field(default_factory=dict)
    gpus: int = 1
    gpu_type: str = ""
    price_per_hour: float | None = None
    settings: FitSettings = field(default_factory=FitSettings)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What came of it.

    Attributes:
        profile: with its error.
        judged: of the simulator on the later rows.
        on_fitted: of the simulator on the rows that it was fitted to.
        rivals: rules without a simulator on the later rows, the nearest first.
        objective: that attainment is about.
        rows_fitted: how many.
        rows_judged: how many.
        fit: how it was found.
        limits: of a batch, and where they are from.
    """

    profile: Profile
    judged: Judged
    on_fitted: Judged
    rivals: tuple[Judged, ...]
    objective: Objective
    rows_fitted: int
    rows_judged: int
    fit: Fit
    limits: Limits


def calibrate(
    recorded: Recorded, wish: Wish, gauges: pl.DataFrame | None = None, told: Told | None = None
) -> Calibration:
    """Fit to the first part of the time and judge on the rest.

    Args:
        recorded: requests.
        wish: what is wanted.
        gauges: scrapes of the same engines; see `limits_of`.
        told: called with the share that is done.

    Raises:
        ControllerError: too few rows on either side, or nothing ever overlapped.
    """
    where = placed(recorded, wish.replicas, gauges)
    recorded = where.recorded
    at = _split(recorded, wish)
    seen = recorded.before(at)
    _overlapping(seen)
    limits = limits_of(gauges, seen, wish.given)
    found = fit(seen, limits, where.replicas, wish.settings, told)
    simulated = simulate(recorded, found.profile, where.replicas)
    later = recorded.workload.arrived >= at
    objective = wish.objective or usual_objective(seen)
    judged = judge("simulator", simulated.take(later), recorded.times.take(later), objective)
    on_fitted = judge("simulator", simulated.take(~later), recorded.times.take(~later), objective)
    rivals = _rivals(recorded, seen, later, objective)
    error = _error(judged, rivals, wish)
    profile = replace(
        found.profile, name=wish.name, error=error, source=wish.source, gpus=wish.gpus,
        gpu_type=wish.gpu_type, price_per_hour=wish.price_per_hour,
        notes=(*where.notes, *_notes(recorded, limits, simulated)),
    )  # fmt: skip
    counts = int((~later).sum()), int(later.sum())
    return Calibration(profile, judged, on_fitted, rivals, objective, *counts, found, limits)


def _split(recorded: Recorded, wish: Wish) -> float:
    """Second at which the judged part begins."""
    if not 0.1 <= wish.fit_ratio <= 0.9:
        raise ControllerError(
            f"{wish.fit_ratio:g} of the time is no part to fit to", hint="0.1 to 0.9"
        )
    arrived = recorded.workload.arrived
    by_time = recorded.workload.seconds * wish.fit_ratio
    for at in (by_time, arrived[int(len(recorded) * wish.fit_ratio)]):
        before = int(np.searchsorted(arrived, at))
        after = len(recorded) - before
        if before >= LEAST_ROWS // 2 and after >= _LEAST_JUDGED:
            return float(at)
    raise ControllerError(
        f"{before} requests to fit to and {after} to judge on are too few",
        hint=f"{LEAST_ROWS // 2} and {_LEAST_JUDGED} are needed: widen the range, or send more",
    )


def _overlapping(seen: Recorded) -> None:
    """Without two requests at a time nothing is known of batches.

    Raises:
        ControllerError: there never were.
    """
    at = seen.workload.arrived
    ended = np.maximum.accumulate(at + seen.times.e2e)
    if not (at[1:] < ended[:-1]).any():
        raise ControllerError(
            "no two of these requests ever overlapped: nothing is known of batches",
            hint="take a range with more traffic",
        )


def _rivals(
    recorded: Recorded, seen: Recorded, later: np.ndarray, objective: Objective
) -> tuple[Judged, ...]:
    real = recorded.times.take(later)
    made = [
        judge(name, rule(seen, recorded).take(later), real, objective)
        for name, rule in RIVALS.items()
    ]
    return tuple(sorted(made, key=lambda one: one.misses["e2e"].median_ratio))


def _error(judged: Judged, rivals: tuple[Judged, ...], wish: Wish) -> FitError:
    return FitError.of(
        {
            **errors_of(judged),
            "source": wish.source,
            "rival_median_ratio": rivals[0].misses["e2e"].median_ratio,
            "bound_ratio": wish.bound_ratio,
            "bound_points": wish.bound_points,
        }
    )


def _notes(recorded: Recorded, limits: Limits, simulated: Times) -> list[str]:
    notes = [
        f"{name} is assumed: nothing told it or showed it"
        for name, origin in (limits.origins or {}).items()
        if origin == "assumed"
    ]
    differing = unequal(recorded, simulated)
    if differing is not None:
        notes.append(differing)
    everything = len(recorded) + recorded.left_out
    if recorded.left_out > _MOST_LEFT_OUT * everything:
        notes.append(
            f"{recorded.left_out:,} of {everything:,} requests failed or lack sizes or times: the"
            " load they were is not in the simulation"
        )
    return notes
