"""Ours: the cheapest rule that would have kept the objective on the pool's own recent past.

Every few minutes simple rules (a floor, a gain on the present rate, how long peaks are remembered)
are tried on the rates of the last hours, with the start-up times that were learnt. Of those that
would have missed no more than is allowed the cheapest is followed. Keeping the highest number that
was ever needed is one of them, so it never costs more than doing nothing would have; when it is the
cheapest, the policy says that scaling cannot help. Forecasts raise the present rate where they
expect more within the start-up time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from controller import observation as seen
from controller.capacity import requests_per_second
from controller.numbers import Floats
from controller.observation import Observation, PoolView
from controller.policies.fluid import tried
from controller.policies.windows import added
from controller.policy import Memory, PolicySpec, Proposal, Reason

PERIOD_SECONDS = 15.0
PAST_SECONDS = 6 * 3600.0
# A rule is chosen anew this often, and not before there is this much past.
CHOOSE_SECONDS, LEAST_SECONDS = 300.0, 900.0
GAINS = (1.0, 1.15, 1.3, 1.6, 2.0, 2.5, 3.0)
HOLDS = (60.0, 180.0, 600.0)
FLOOR_SHARES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# Of what may be missed, only this share is planned for: the past is not the future.
PLANNED_SHARE = 0.5
_USUAL_INPUT, _USUAL_OUTPUT = 1024.0, 256.0
_LEVEL = 0.9


@dataclass(frozen=True, slots=True)
class Rule:
    """See `fluid`."""

    floor: float
    gain: float
    hold_seconds: float


@dataclass(frozen=True, slots=True)
class Risk:
    """Nothing to tune.

    Args:
        planned_share: of the misses that the objective allows.
    """

    planned_share: float = PLANNED_SHARE
    spec: PolicySpec = field(
        default=PolicySpec(
            "risk",
            "servescope, risk",
            PERIOD_SECONDS,
            "ours",
            parameters={"planned_share": PLANNED_SHARE},
            knob="planned_share",
            knob_values=(0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0),
        ),
        init=False,
    )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 15 s."""
        targets, reasons, advice, kept = {}, [], [], {}
        for pool in observation.pools:
            target, reason, words, mine = self._pool(observation, pool, memory.get(pool.name, {}))
            targets[pool.name] = target
            reasons.append(reason)
            advice += words
            kept[pool.name] = mine
        return Proposal(targets, tuple(reasons), tuple(advice)), kept

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, list[str], Memory]:
        at, rate = observation.at, pool.reading(seen.REQUESTS_PER_SECOND)
        if rate.fresh is None or pool.profile is None:
            what = "the request rate" if pool.profile else "what a replica can do"
            text = f"{what} is not known: held"
            return pool.target, Reason(pool.name, "unknown", text), [], dict(memory)
        past = memory.get("past", [])
        if not past or at - rate.age_seconds > past[-1][0] + 1e-6:  # type: ignore[operator]
            past = added(past, at - (rate.age_seconds or 0.0), _short(rate.fresh), PAST_SECONDS)
        capacity = self._capacity(observation, pool)
        chosen_at, rule = memory.get("chosen_at"), _rule(memory.get("rule"))
        words: list[str] = list(memory.get("advice", []))
        seconds = past[-1][0] - past[0][0]
        if seconds >= LEAST_SECONDS and (chosen_at is None or at - chosen_at >= CHOOSE_SECONDS):
            rule, words = self._chosen(observation, pool, past, capacity)
            chosen_at = at
        rule = rule or _first_rule(pool)
        target, numbers = _followed(pool, rule, past, capacity, at)
        kept = {
            "past": past,
            "chosen_at": chosen_at,
            "rule": [rule.floor, rule.gain, rule.hold_seconds],
            "advice": words,
        }
        text = (
            f"{numbers['highest']:.2f} requests/s at most lately, times {rule.gain:g}, over "
            f"{capacity:.2f} a replica; floor {rule.floor:g}"
        )
        code = "floor" if target == rule.floor else "rate"
        return target, Reason(pool.name, code, text, numbers), words, kept

    def _capacity(self, observation: Observation, pool: PoolView) -> float:
        told = (pool.reading(seen.INPUT_TOKENS).value, pool.reading(seen.OUTPUT_TOKENS).value)
        input_tokens, output_tokens = told[0] or _USUAL_INPUT, told[1] or _USUAL_OUTPUT
        if pool.profile is None:
            return 1e-3
        hit = pool.reading(seen.PREFIX_HIT_RATIO).value or 0.0
        return max(
            requests_per_second(
                pool.profile, observation.objective, input_tokens * (1 - hit), output_tokens,
                pool.role,
            ),
            1e-3,
        )  # fmt: skip

    def _chosen(
        self,
        observation: Observation,
        pool: PoolView,
        past: Sequence[Sequence[float]],
        capacity: float,
    ) -> tuple[Rule, list[str]]:
        rates, seconds = np.array([value for _, value in past]), observation.scrape_seconds
        startup = pool.startup.quantile(_LEVEL) if pool.startup else 0.0
        bound = observation.objective.ttft_seconds or math.inf
        allowed = (1 - observation.objective.attainment_ratio) * self.planned_share
        peak = math.ceil(float(rates.max()) / capacity)
        total = max(float(rates.sum()) * seconds, 1e-9)
        best: tuple[float, float, Rule] | None = None
        for rule in _rules(peak):
            paid, missed = tried(
                rates, seconds, capacity, math.ceil(startup / seconds), bound, rule.floor,
                rule.gain, int(rule.hold_seconds / seconds), float(pool.limits.least),
                float(pool.limits.most),
            )  # fmt: skip
            # The cheapest of those that keep the objective; else the one that misses least.
            key = (max(missed / total - allowed, 0.0), paid)
            if best is None or key < best[:2]:
                best = (*key, rule)
        rule = best[2] if best else _first_rule(pool)
        fixed = peak * seconds * len(rates)
        if best and rule.floor >= peak and best[1] >= 0.95 * fixed and peak > pool.limits.least:
            return rule, [
                f"autoscaling cannot help {pool.name} here: load grows faster than a replica starts"
                f" ({startup:.0f} s); keep {peak} warm"
            ]
        return rule, []


def _rules(peak: int) -> list[Rule]:
    floors = sorted({math.ceil(share * peak) for share in FLOOR_SHARES})
    return [Rule(float(f), gain, hold) for f in floors for gain in GAINS for hold in HOLDS]


def _first_rule(pool: PoolView) -> Rule:
    """Before anything is known of the pool: what is there stays, and rates may double."""
    return Rule(float(pool.target), 2.0, 600.0)


def _rule(kept: Sequence[float] | None) -> Rule | None:
    return Rule(*kept) if kept else None


def _followed(
    pool: PoolView, rule: Rule, past: Sequence[Sequence[float]], capacity: float, at: float
) -> tuple[int, dict[str, float]]:
    rates: Floats = np.array([v for t, v in past if at - t <= rule.hold_seconds] or [past[-1][1]])
    highest = max(float(rates.max()), _expected(pool))
    need = math.ceil(rule.gain * highest / capacity - 1e-9)
    target = int(min(max(rule.floor, need, pool.limits.least), pool.limits.most))
    return target, {"highest": highest, "capacity": capacity, "needed": float(need)}


def _expected(pool: PoolView) -> float:
    """The rate expected within the start-up time, by the forecast's middle; 0 without one."""
    lead = pool.startup.quantile(_LEVEL) if pool.startup else 0.0
    found = [
        float(np.interp(0.5, one.levels, one.values))
        for one in pool.forecasts
        if one.signal == seen.REQUESTS_PER_SECOND and one.horizon_seconds <= max(lead, 600.0)
    ]
    return max(found, default=0.0)


def _short(value: float) -> float:
    """Four digits are enough to remember."""
    return float(f"{value:.4g}")
