"""NVIDIA Dynamo's planner: throughput by forecast, load by what the engines do.

Sources: ai-dynamo/dynamo components/src/dynamo/planner/core/{throughput_scaling,load_scaling}.py,
docs/components/planner/planner-guide.md. Not taken over: a reading that is not finite counts as 0
there (PR #14575); here nothing is learnt from it. Left out: Prophet, plugins, the power budget. Its
default bounds (TTFT 500 ms, ITL 50 ms) and its budget of 8 GPUs are the objective and the limits of
the pool here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from controller import observation as seen
from controller.capacity import requests_per_second
from controller.observation import Observation, PoolView
from controller.policies.dynamo_load import by_objective, by_thresholds, engines_of
from controller.policies.forecasts import PREDICTORS, expected
from controller.policies.pairing import shared
from controller.policies.parts import (
    USUAL_INPUT_TOKENS,
    USUAL_OUTPUT_TOKENS,
    bounded,
    each_pool,
    in_range,
    one_of,
    told,
    up,
)
from controller.policies.windows import added, mean, within
from controller.policy import MOST_REPLICAS, Memory, PolicySpec, Proposal, Reason

THROUGHPUT_SECONDS, LOAD_SECONDS = 180.0, 5.0
SENSITIVITY, MOST_SAMPLES, MOST_STEP = 0.8, 64, 8
SCALINGS, TARGETS = ("throughput", "load", "both"), ("sla", "throughput", "latency")
_SERIES = (
    seen.REQUESTS_PER_SECOND,
    seen.INPUT_TOKENS,
    seen.OUTPUT_TOKENS,
    seen.PREFIX_HIT_RATIO,
)
SPEC = PolicySpec(
    "dynamo",
    "Dynamo planner, throughput and load",
    LOAD_SECONDS,
    "ai-dynamo/dynamo components/src/dynamo/planner",
    parameters={
        "scaling": "both",
        "forecast": "arima",
        "target": "sla",
        "throughput_seconds": THROUGHPUT_SECONDS,
        "load_seconds": LOAD_SECONDS,
        "sensitivity": SENSITIVITY,
        "most_step": MOST_STEP,
        "load_factor": 1.0,
    },
    knob="load_factor",
    knob_values=(0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.6),
)
THROUGHPUT_SPEC = replace(
    SPEC, name="dynamo-throughput", title="Dynamo planner, throughput",
    parameters={**SPEC.parameters, "scaling": "throughput"},
)  # fmt: skip
LOAD_SPEC = replace(
    SPEC, name="dynamo-load", title="Dynamo planner, load",
    parameters={**SPEC.parameters, "scaling": "load"},
    knob="sensitivity", knob_values=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dynamo:
    """Throughput gives a floor, load moves by one.

    Args:
        scaling: which of the two decide: "throughput", "load" or "both".
        forecast: of the request rate and sizes: "constant", "arima" or "kalman".
        target: of load scaling: "sla" goes by the objective; "throughput" and "latency" are its
            easy modes.
        load_factor: on the predicted load; 1 as documented.
        sensitivity: share of the objective that must hold after a replica went.
        throughput_seconds: between two plans.
        most_step: replicas that one plan may add or take.
        spec: name and period.
    """

    scaling: str = "both"
    forecast: str = "arima"
    target: str = "sla"
    load_factor: float = 1.0
    sensitivity: float = SENSITIVITY
    throughput_seconds: float = THROUGHPUT_SECONDS
    most_step: int = MOST_STEP
    spec: PolicySpec = field(default=SPEC)

    def __post_init__(self) -> None:
        """Refuse what its configuration refuses."""
        name = self.spec.name
        one_of(name, "scaling", self.scaling, SCALINGS)
        one_of(name, "forecast", self.forecast, PREDICTORS)
        one_of(name, "target", self.target, TARGETS)
        in_range(name, "load_factor", self.load_factor, 0.01, 100)
        in_range(name, "sensitivity", self.sensitivity, 0, 1)
        in_range(name, "throughput_seconds", self.throughput_seconds, LOAD_SECONDS, 86_400)
        in_range(name, "most_step", self.most_step, 1, MOST_REPLICAS)

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 5 s; a plan every 180 s."""
        return each_pool(shared(observation), memory, self._pool)

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        kept = dict(memory)
        target, code, text = pool.target, "hold", "nothing is due"
        if self.scaling != "load":
            target, code, text = self._throughput(observation, pool, kept)
        if self.scaling != "throughput":
            floor = int(kept.get("floor", 1)) if self.scaling == "both" else 1
            target, code, text = self._load(observation, pool, max(floor, 1))
        return bounded(pool, max(target, 1)), Reason(pool.name, code, text), kept

    def _throughput(
        self, observation: Observation, pool: PoolView, kept: dict[str, Any]
    ) -> tuple[int, str, str]:
        at = observation.at
        gathered = _gathered(pool, at, kept.get("seen", {}), self.throughput_seconds)
        kept["seen"] = gathered
        last = kept.setdefault("planned_at", at)
        floor = int(kept.get("floor", pool.target))
        means = {
            name: mean(within(gathered.get(name, []), at, self.throughput_seconds))
            for name in _SERIES
        }
        if at - last < self.throughput_seconds:
            return floor, "interval", f"the next plan is due later; {floor} until then"
        kept["planned_at"] = at
        kept["seen"] = {}
        if means[seen.REQUESTS_PER_SECOND] is None:
            return floor, "no_data", "no request rate came in: the last plan stays"
        if pool.profile is None:
            return floor, "no_profile", "what a replica can do is not known"
        ahead = self._expected(means, kept)
        rate = ahead[seen.REQUESTS_PER_SECOND] * self.load_factor
        hit = min(ahead[seen.PREFIX_HIT_RATIO], 1.0)
        prompt = ahead[seen.INPUT_TOKENS] * (1 - hit)
        capacity = requests_per_second(
            pool.profile, observation.objective, prompt, ahead[seen.OUTPUT_TOKENS], pool.role
        )
        if capacity <= 0:
            return floor, "no_capacity", "no replica serves such requests inside the objective"
        wanted = max(up(rate / capacity), 1)
        floor = min(max(wanted, pool.target - self.most_step), pool.target + self.most_step)
        kept["floor"] = floor
        return floor, "throughput", f"{rate:.2f} requests/s over {capacity:.2f} a replica"

    def _expected(self, means: dict[str, float | None], kept: dict[str, Any]) -> dict[str, float]:
        """The next interval of each series; what was never told is taken to be usual."""
        usual = {seen.INPUT_TOKENS: USUAL_INPUT_TOKENS, seen.OUTPUT_TOKENS: USUAL_OUTPUT_TOKENS}
        pasts, orders = dict(kept.get("means", {})), dict(kept.get("orders", {}))
        ahead = {}
        for name, value in means.items():
            past: Sequence[float] = pasts.get(name, [])
            if value is not None:
                pasts[name] = past = [*past, float(f"{value:.6g}")][-MOST_SAMPLES:]
            if not past:
                ahead[name] = usual.get(name, 0.0)
                continue
            ahead[name], order = expected(self.forecast, past, orders.get(name))
            if order:
                orders[name] = order
        kept["means"], kept["orders"] = pasts, orders
        return ahead

    def _load(self, observation: Observation, pool: PoolView, floor: int) -> tuple[int, str, str]:
        target = max(pool.target, floor)
        if pool.starting or pool.supply != pool.target:
            return target, "in_flight", "a scaling is under way"
        engines = engines_of(pool)
        if engines is None or pool.profile is None:
            return target, "no_data", "not every engine tells its load"
        if self.target == "sla":
            step = by_objective(
                pool, pool.profile, observation.objective, engines, self.sensitivity
            )
        else:
            step = by_thresholds(pool, pool.profile, engines, self.target)
        if step > 0:
            return max(pool.target + 1, floor), "load_up", "every engine's estimate misses"
        if step < 0 and pool.target - 1 >= floor:
            return pool.target - 1, "load_down", "one fewer would still do"
        code = "floor" if step < 0 or target > pool.target else "steady"
        return target, code, f"the engines ask for no change; at least {floor}"


def _gathered(
    pool: PoolView, at: float, before: dict[str, Any], seconds: float
) -> dict[str, list[list[float]]]:
    """What came in since the last plan, each scrape once."""
    made: dict[str, list[list[float]]] = dict(before)
    for name in _SERIES:
        value, age = told(pool, name), pool.reading(name).age_seconds
        if value is None or age is None:
            continue
        past, scraped_at = made.get(name, []), at - age
        if not past or scraped_at > past[-1][0] + 1e-3:
            made[name] = added(past, scraped_at, value, seconds)
    return made


def throughput_only(
    forecast: str = "arima",
    load_factor: float = 1.0,
    throughput_seconds: float = THROUGHPUT_SECONDS,
    most_step: int = MOST_STEP,
) -> Dynamo:
    """Plans alone, every 180 s; see `Dynamo`."""
    # It looks every 5 s too, so that a plan rests on every scrape of its interval.
    return Dynamo(
        "throughput", forecast, "sla", load_factor, SENSITIVITY, throughput_seconds, most_step,
        THROUGHPUT_SPEC,
    )  # fmt: skip


def load_only(sensitivity: float = SENSITIVITY, target: str = "sla") -> Dynamo:
    """Steps of one alone, every 5 s; see `Dynamo`."""
    return Dynamo("load", "constant", target, 1.0, sensitivity, spec=LOAD_SPEC)
