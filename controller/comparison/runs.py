"""One replay as a row: what was asked, what came of it, or why it failed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from controller.comparison.building import built
from controller.comparison.naming import STATIC, fixed_of, parsed
from controller.comparison.protocol import Case, Comparison
from controller.replay import Outcome, ReplaySettings, replay
from controller.simulator.fleet import PoolPlan

Told = Callable[[float], None]
MOST_LANES = 1000
REFERENCES = ("static-peak", "clairvoyant")
MOST_REASON = 300
NUMBERS = (
    "attainment_ratio", "refused_ratio", "gpu_hours", "cost", "ttft_p50_seconds",
    "ttft_p95_seconds", "ttft_p99_seconds", "tpot_p50_seconds", "tpot_p95_seconds",
    "tpot_p99_seconds", "worst_minute_ratio", "scale_events", "most_replicas", "requests",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """One replay that is wanted.

    Attributes:
        case: number of the case.
        part: "test" or "tuning".
        policy: name.
        row: which row of the results it belongs to: "default", "tuned", "hindsight", "curve",
            "static-peak" or "clairvoyant".
        startup_seconds: of a replica.
        seed_number: place of the seed among the comparison's.
        parameters: in place of the policy's own.
        has_lanes: whether the course of replicas is kept.
    """

    case: int
    part: str
    policy: str
    row: str
    startup_seconds: float
    seed_number: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    has_lanes: bool = False


def row_of(
    run: Run, comparison: Comparison, cases: Sequence[Case], told: Told | None = None
) -> dict[str, Any]:
    """Replay, and tell what came of it; nothing that a policy does gets out of here.

    Args:
        run: what is wanted.
        comparison: shared by all.
        cases: shared by all.
        told: called with the share that is done.
    """
    case, began = cases[run.case], time.monotonic()
    seed = comparison.seeds[run.seed_number]
    row: dict[str, Any] = {
        "case": case.name,
        "startup_seconds": run.startup_seconds,
        "policy": run.policy,
        "title": run.policy,
        "row": run.row,
        "parameters": json.dumps(dict(run.parameters), sort_keys=True),
        "seed": seed,
    }
    try:
        segment = case.segment(run.part, run.seed_number)
        policy = built(run.policy, run.parameters, segment.workload, comparison.fleet)
        row["title"] = policy.spec.title
        plans = comparison.plans(run.startup_seconds, segment.workload)
        settings = _begun(run, comparison, comparison.settings(segment))
        if run.row in REFERENCES:
            # What could be had at best is not held by anybody's guards.
            settings = replace(settings, has_guards=False)
        past = _pasts(plans, settings.initial, segment.past)
        outcome = replay(
            policy, segment.workload, plans, settings, seed, segment.forecasts, history=past,
            told=told,
        )  # fmt: skip
        if segment.forecasts is not None:
            row["forecasts"] = _json(segment.forecasts.told())
    except Exception as error:  # noqa: BLE001 - a policy may do anything; its row says what
        return row | failed(f"{type(error).__name__}: {error}") | _spent(began)
    return row | _told(outcome) | _spent(began) | _lanes(outcome, has_lanes=run.has_lanes)


def _begun(run: Run, comparison: Comparison, settings: ReplaySettings) -> ReplaySettings:
    """A fixed fleet is there from the beginning."""
    fixed = fixed_replicas(run)
    if not fixed:
        return settings
    told = fixed if isinstance(fixed, Mapping) else dict.fromkeys(settings.initial, fixed)
    most = {pool.name: pool.most for pool in comparison.pools}
    initial = {
        name: min(int(told.get(name, first)), most[name])
        for name, first in settings.initial.items()
    }
    return replace(settings, initial=initial)


def fixed_replicas(run: Run) -> int | Mapping[str, int] | None:
    """Of a fixed fleet how many, or how many of each pool; None of any other policy."""
    name, given = parsed(run.policy)
    if name != STATIC:
        return None
    found: int | Mapping[str, int] | None = fixed_of({**given, **run.parameters}).get("replicas")
    return found


def _pasts(
    plans: Sequence[PoolPlan], initial: Mapping[str, int], past: tuple[float, ...]
) -> dict[str, tuple[float, ...]]:
    """The rates of before, shared by the entry pools as replicas that were there would have."""
    sizes = {plan.name: max(initial[plan.name], 0) * plan.weight for plan in plans if plan.is_entry}
    if len(sizes) < 2:
        return dict.fromkeys(sizes, past)
    whole = max(sum(sizes.values()), 1e-9)
    return {
        name: tuple(float(f"{one * mine / whole:.4g}") for one in past)
        for name, mine in sizes.items()
    }


def failed(reason: str) -> dict[str, Any]:
    """The end of a row that came to nothing."""
    return {"state": "failed", "reason": reason[:MOST_REASON], **dict.fromkeys(NUMBERS)}


def _told(outcome: Outcome) -> dict[str, Any]:
    numbers = {name: _known(getattr(outcome, name)) for name in NUMBERS}
    advice = list(outcome.advice)[-3:]
    more = {
        "clips": _json(outcome.clips),
        "pool_gpu_hours": _json(outcome.pool_gpu_hours)
        if len(outcome.pool_gpu_hours) > 1
        else None,
    }
    return {"state": "done", "reason": None, **numbers, "advice": advice, **more}


def _json(told: Mapping[str, Any]) -> str | None:
    return json.dumps(told, sort_keys=True) if told else None


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _spent(began: float) -> dict[str, Any]:
    return {"run_seconds": time.monotonic() - began}


def _lanes(outcome: Outcome, *, has_lanes: bool) -> dict[str, Any]:
    if not has_lanes:
        return {}
    step = math.ceil(len(outcome.lanes) / MOST_LANES) or 1
    pools = sorted({lane[1] for lane in outcome.lanes})
    kept = [[lane for lane in outcome.lanes if lane[1] == pool][::step] for pool in pools]
    return {"lanes": [list(lane) for lane in sorted(one for some in kept for one in some)]}
