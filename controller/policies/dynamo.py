"""NVIDIA Dynamo's planner: throughput by forecast, load by regression on what engines do.

Sources: ai-dynamo/dynamo components/src/dynamo/planner/core/{throughput_scaling,load_scaling}.py,
docs/components/planner/planner-guide.md. Not taken over: a reading that is not finite counts as 0
there (PR #14575); here the last good one stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from controller import observation as seen
from controller.capacity import requests_per_second
from controller.observation import Objective, Observation, PoolView
from controller.policies.windows import added
from controller.policy import Memory, PolicySpec, Proposal, Reason

THROUGHPUT_SECONDS, LOAD_SECONDS = 180.0, 5.0
SENSITIVITY, LEAST_OBSERVATIONS, MOST_SAMPLES = 0.8, 5, 64
# Kalman, local linear: variances of level, trend and reading.
_LEVEL, _TREND, _READING = 1.0, 0.1, 10.0

Mode = Literal["throughput", "load", "both"]
Forecast = Literal["constant", "kalman"]


@dataclass(frozen=True, slots=True)
class Dynamo:
    """Throughput gives a floor, load moves by one.

    Args:
        mode: which of the two decide.
        forecast: of the request rate.
        load_factor: on the predicted load; 1 as documented.
    """

    mode: Mode = "both"
    forecast: Forecast = "constant"
    load_factor: float = 1.0
    spec: PolicySpec = field(
        default=PolicySpec(
            "dynamo",
            "Dynamo planner",
            LOAD_SECONDS,
            "ai-dynamo/dynamo components/src/dynamo/planner",
            parameters={"throughput_seconds": 180, "load_seconds": 5, "sensitivity": 0.8},
            knob="load_factor",
            knob_values=(0.8, 0.9, 1.0, 1.15, 1.3, 1.6),
        )
    )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 5 s; throughput every 180 s."""
        targets, reasons, kept = {}, [], {}
        for pool in observation.pools:
            target, reason, mine = self._pool(observation, pool, memory.get(pool.name, {}))
            targets[pool.name] = target
            reasons.append(reason)
            kept[pool.name] = mine
        return Proposal(targets, tuple(reasons)), kept

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        kept = dict(memory)
        target, code, text = pool.target, "hold", "nothing is due"
        if self.mode != "load":
            target, code, text = self._throughput(observation, pool, kept)
        if self.mode != "throughput":
            floor = target if self.mode == "both" else pool.limits.least
            target, code, text = self._load(observation, pool, kept, floor)
        return self._kept(pool, target), Reason(pool.name, code, text), kept

    def _kept(self, pool: PoolView, target: int) -> int:
        return min(max(target, pool.limits.least, 1), pool.limits.most)

    def _throughput(
        self, observation: Observation, pool: PoolView, kept: dict[str, object]
    ) -> tuple[int, str, str]:
        at = observation.at
        rate = pool.reading(seen.REQUESTS_PER_SECOND).value
        rates: Sequence[Sequence[float]] = kept.get("rates", [])  # type: ignore[assignment]
        if rate is not None and math.isfinite(rate) and (not rates or at > rates[-1][0]):
            kept["rates"] = rates = added(rates, at, rate, THROUGHPUT_SECONDS)
        last: float | None = kept.get("planned_at")  # type: ignore[assignment]
        floor = int(kept.get("floor", pool.target))  # type: ignore[call-overload]
        if (last is not None and at - last < THROUGHPUT_SECONDS) or not rates:
            return floor, "interval", f"the next plan is due later; {floor} until then"
        mean = sum(value for _, value in rates) / len(rates)
        past: list[float] = [*kept.get("means", []), mean][-MOST_SAMPLES:]  # type: ignore[misc]
        kept["means"], kept["planned_at"] = past, at
        expected = self._expected(past) * self.load_factor
        capacity = _capacity(observation.objective, pool)
        if capacity is None:
            return floor, "no_profile", "what a replica can do is not known"
        floor = max(math.ceil(expected / capacity - 1e-9), 1)
        kept["floor"] = floor
        return floor, "throughput", f"{expected:.2f} requests/s over {capacity:.2f} a replica"

    def _expected(self, past: Sequence[float]) -> float:
        if self.forecast == "constant" or len(past) < LEAST_OBSERVATIONS:
            return past[-1]
        return max(_kalman(past), 0.0)

    def _load(
        self, observation: Observation, pool: PoolView, kept: dict[str, object], floor: int
    ) -> tuple[int, str, str]:
        target = max(pool.target, floor)
        if pool.starting or pool.supply != pool.target:
            return target, "in_flight", "a scaling is under way"
        ready = [one for one in pool.replicas if one.state == "ready"]
        if not ready or pool.profile is None:
            return target, "no_data", "no engine tells its load"
        waits = [_wait_seconds(pool, one.waiting_tokens or 0.0) for one in ready]
        paces = [
            pool.profile.step.seconds(0, one.requests_running or 0.0, one.context_tokens or 0.0)
            for one in ready
        ]
        objective, n = observation.objective, len(ready)
        ttft, tpot = objective.ttft_seconds or math.inf, objective.tpot_seconds or math.inf
        if all(w > ttft for w in waits) or all(p > tpot for p in paces):
            return target + 1, "load_up", "every engine's estimate misses the objective"
        spread = n / max(n - 1, 1)
        calm = all(w * spread < SENSITIVITY * ttft for w in waits) and all(
            p * spread < SENSITIVITY * tpot for p in paces
        )
        usage = pool.reading(seen.KV_CACHE_USAGE_RATIO).value or 0.0
        if n > 1 and calm and usage * spread < 1 and target - 1 >= floor:
            return target - 1, "load_down", "one fewer would still meet 80 % of the objective"
        return target, "steady", "within the objective"


def _wait_seconds(pool: PoolView, tokens: float) -> float:
    if pool.profile is None:
        return 0.0
    budget = pool.profile.token_budget
    steps = math.ceil(tokens / budget) if tokens else 0
    return steps * pool.profile.step.seconds(budget, 0, 0)


def _capacity(objective: Objective, pool: PoolView) -> float | None:
    if pool.profile is None:
        return None
    input_tokens = pool.reading(seen.INPUT_TOKENS).value or 1024.0
    output_tokens = pool.reading(seen.OUTPUT_TOKENS).value or 256.0
    hit = pool.reading(seen.PREFIX_HIT_RATIO).value or 0.0
    found = requests_per_second(
        pool.profile, objective, input_tokens * (1 - hit), output_tokens, pool.role
    )
    return found or None


def _kalman(values: Sequence[float]) -> float:
    """One step ahead by a local linear trend."""
    level, trend = values[0], 0.0
    p00, p01, p11 = 10.0, 0.0, 10.0
    for value in values[1:]:
        level += trend
        p00, p01, p11 = p00 + 2 * p01 + p11 + _LEVEL, p01 + p11, p11 + _TREND
        gain0, gain1 = p00 / (p00 + _READING), p01 / (p00 + _READING)
        miss = value - level
        level, trend = level + gain0 * miss, trend + gain1 * miss
        p11 -= gain1 * p01
        p00, p01 = (1 - gain0) * p00, (1 - gain0) * p01
    return level + trend
