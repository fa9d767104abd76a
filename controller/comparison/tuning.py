"""Bayesian search for the settings of a policy: cost against attainment, one budget for all.

Optuna's tree-structured Parzen estimator with two directions (Ozaki et al., "Multiobjective
Tree-Structured Parzen Estimator", JAIR 2022), seeded and in one thread: the same search gives the
same settings.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from controller.comparison.pareto import Point
from controller.comparison.spaces import Choice, Dimension
from store.errors import ControllerError

# (parameters) -> (GPU-hours, attainment) of each seed; empty when it failed.
Judge = Callable[[Mapping[str, Any]], Sequence[tuple[float, float]]]


def searched(
    space: Mapping[str, Dimension],
    known: Sequence[Mapping[str, Any]],
    judge: Judge,
    trials: int,
    goal: float,
    seed: int = 0,
) -> list[Point]:
    """Settings that were tried, each with its medians over seeds.

    Args:
        space: what may be changed.
        known: settings to try first, as parts of the space; they count as trials.
        judge: replays one setting.
        trials: how many.
        goal: attainment; beyond it little is gained, so the search looks about there.
        seed: of the search.

    Raises:
        ControllerError: the library of the extra is not there.
    """
    optuna = _optuna()
    study = optuna.create_study(
        directions=["minimize", "maximize"],
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(trials // 4, 4)),
    )
    for parameters in known:
        study.enqueue_trial({name: parameters[name] for name in space if name in parameters})
    done: dict[str, Point | None] = {}
    for _ in range(trials):
        trial = study.ask()
        parameters = {name: _suggested(trial, name, what) for name, what in space.items()}
        key = json.dumps(parameters, sort_keys=True)
        if key not in done:
            done[key] = _point(parameters, judge(parameters))
        point = done[key]
        if point is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, [point.gpu_hours, min(point.attainment_ratio, (1 + goal) / 2)])
    return [point for point in done.values() if point is not None]


def _point(parameters: dict[str, Any], told: Sequence[tuple[float, float]]) -> Point | None:
    if not told:
        return None
    hours, ratios = zip(*told, strict=True)
    return Point(parameters, statistics.median(hours), statistics.median(ratios))


def _suggested(trial: Any, name: str, what: Dimension) -> Any:
    if isinstance(what, Choice):
        return trial.suggest_categorical(name, list(what.values))
    if what.is_whole:
        return trial.suggest_int(name, int(what.low), int(what.high), log=what.is_log)
    # Four digits: what comes out can be written down and read.
    value = trial.suggest_float(name, what.low, what.high, log=what.is_log)
    return float(f"{value:.4g}")


def needed() -> None:
    """Refuse early.

    Raises:
        ControllerError: the library of the extra is not there.
    """
    _optuna()


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ControllerError(
            "tuning needs optuna, which is not installed",
            hint="pip install 'servescope[tune]', or leave --tune out",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
