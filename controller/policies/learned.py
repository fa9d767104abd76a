"""Learnt in hindsight: a small network answers what the future turned out to need.

Trained on replayed traces alone: each row is the last hour as it was seen, its label the rate that
had to be served before a replica asked for then could be ready. Of its quantiles a high one is
followed, because one replica too few costs more than one too many. Outside the range of what it
learnt from it does not act: a named rule does, and says so. Live it runs only where its weights
carry the record of a back-test that it won.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from controller.capacity import requests_per_second
from controller.numbers import Floats
from controller.observation import Observation, PoolView
from controller.policies.kubernetes_hpa import kubernetes_hpa
from controller.policies.learned_features import (
    features,
    present_rate,
    rates_before,
    remembered_rates,
)
from controller.policies.learned_network import Network, load_network
from controller.policies.pairing import shared
from controller.policies.parts import bounded, each_pool, in_range, one_of, sizes, up
from controller.policies.windows import added, within
from controller.policy import Memory, Policy, PolicySpec, Proposal, Reason
from store.errors import ControllerError

PERIOD_SECONDS, LEVEL, HOLD_SECONDS = 15.0, 0.92, 15.0
FALLBACKS = ("kubernetes-hpa", "hold")
SPEC = PolicySpec(
    "learned",
    "Learnt in hindsight",
    PERIOD_SECONDS,
    "ours",
    parameters={
        "level": LEVEL,
        "margin": 1.0,
        "hold_seconds": HOLD_SECONDS,
        "fallback": FALLBACKS[0],
    },
    knob="level",
    knob_values=(0.5, 0.75, 0.85, 0.92, 0.96, 0.99),
)


@dataclass(frozen=True, slots=True)
class Learned:
    """A high quantile of what will be needed, times the present rate, over what a replica serves.

    Args:
        level: quantile that is followed.
        margin: on the need.
        hold_seconds: the highest need of so long counts.
        fallback: the rule outside of what was learnt: "kubernetes-hpa" on ongoing requests, or
            "hold".
        weights: file; "" takes the shipped one.
        digest: SHA-256 that the file must have; "" takes any, and is then filled in.
        network: read from `weights` where it is not given.
    """

    level: float = LEVEL
    margin: float = 1.0
    hold_seconds: float = HOLD_SECONDS
    fallback: str = FALLBACKS[0]
    weights: str = ""
    digest: str = ""
    network: Network | None = field(default=None, compare=False, repr=False)
    spec: PolicySpec = field(default=SPEC, init=False)

    def __post_init__(self) -> None:
        """Refuse what was not learnt, and weights that changed."""
        in_range(SPEC.name, "level", self.level, 0.01, 0.999)
        in_range(SPEC.name, "margin", self.margin, 0.01, 100)
        in_range(SPEC.name, "hold_seconds", self.hold_seconds, 0, 3600)
        one_of(SPEC.name, "fallback", self.fallback, FALLBACKS)
        if self.network is None:
            object.__setattr__(self, "network", load_network(self.weights))
        found = self._network.digest
        if self.digest and self.digest != found:
            raise ControllerError(
                f"policy learned: the weights have changed since ({found[:12]} now)",
                hint="give the file of that time, or no digest",
            )
        object.__setattr__(self, "digest", found)

    @property
    def _network(self) -> Network:
        if self.network is None:
            raise ControllerError("policy learned has no weights")
        return self.network

    def check_gate(self) -> None:
        """Whether it may run live.

        Raises:
            ControllerError: no back-test is on record, or it did not beat the default there.
        """
        gate = self._network.gate
        if not gate:
            raise ControllerError(
                "policy learned has no record of a back-test: it runs in replay alone",
                hint="train and judge it: python -m benchmarks.learned_policy",
            )
        if gate.get("beats") is not True:
            raise ControllerError(
                f"policy learned did not beat {gate.get('default')} on {gate.get('trace')}:"
                " it runs in replay alone",
                hint=f"train it on your own traffic, or run {gate.get('default')}",
            )

    def decide(self, observation: Observation, memory: Memory) -> tuple[Proposal, Memory]:
        """Every 15 s."""
        return each_pool(shared(observation), memory, self._pool)

    def _pool(
        self, observation: Observation, pool: PoolView, memory: Memory
    ) -> tuple[int, Reason, Memory]:
        at = observation.at
        before = memory.get("past")
        if before is None:
            before = rates_before(pool, at, observation.scrape_seconds)
        past = remembered_rates(before, pool, at)
        # The rule looks on all the time, so that it is not new when it is asked.
        instead, rule_memory = self._rule(observation, pool, memory.get("rule", {}))
        kept: dict[str, Any] = {"past": past, "rule": rule_memory}
        kept["needs"] = list(memory.get("needs", []))
        row = features(past, pool, at, PERIOD_SECONDS)
        why = self._doubt(pool, row)
        if row is None or why or pool.profile is None:
            text = f"{why}: {self.fallback} decides"
            return instead, Reason(pool.name, "outside", text), kept
        capacity = requests_per_second(
            pool.profile, observation.objective, *sizes(pool), role=pool.role
        )
        if capacity <= 0:
            text = f"no replica serves such requests inside the objective: {self.fallback} decides"
            return instead, Reason(pool.name, "no_capacity", text), kept
        network = self._network
        ratio = math.exp(float(np.interp(self.level, network.levels, network.quantiles(row))))
        rate = ratio * present_rate(past, at)
        # Rounded, so that another machine's last digit is no other replica.
        need = round(self.margin * rate / capacity, 6)
        kept["needs"] = added(kept["needs"], at, need, self.hold_seconds)
        target = bounded(pool, up(max(within(kept["needs"], at, self.hold_seconds))))
        text = f"{rate:.2f} requests/s with {self.level:.0%} over {capacity:.2f} a replica"
        numbers = {"ratio": round(ratio, 6), "rate": round(rate, 6), "capacity": capacity}
        return target, Reason(pool.name, "learned", text, numbers), kept

    def _doubt(self, pool: PoolView, row: Floats | None) -> str:
        if pool.profile is None:
            return "what a replica can do is not known"
        if row is None:
            return "too little is known of the last minutes"
        return self._network.outside(row)

    def _rule(self, observation: Observation, pool: PoolView, memory: Memory) -> tuple[int, Memory]:
        if self.fallback == "hold":
            return pool.target, {}
        rule: Policy = kubernetes_hpa()
        proposal, kept = rule.decide(replace(observation, pools=(pool,)), {pool.name: memory})
        return proposal.targets[pool.name], kept[pool.name]
