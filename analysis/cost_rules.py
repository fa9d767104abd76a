"""What an hour of a card costs, and how many cards a replica has: told, never guessed."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from store.queries.token_cost import Cost


@dataclass(frozen=True, slots=True)
class PoolRule:
    """A pool of replicas, as it is configured.

    Attributes:
        name: of the pool.
        match: labels of its targets; `*` stands for anything.
        gpus: cards of a replica; None is not told.
        gpu_type: of the cards; empty is not told.
        price_per_gpu_hour: None is not told.
    """

    name: str
    match: Mapping[str, str]
    gpus: int | None = None
    gpu_type: str = ""
    price_per_gpu_hour: float | None = None


class Told(NamedTuple):
    """A value and who told it."""

    value: float | None
    source: str


@dataclass(frozen=True, slots=True)
class CostRules:
    """Prices, cards and weights.

    Attributes:
        currency: what prices are in; empty means that no money is shown.
        gpu_hour: pattern of a type of card -> price of an hour; the first that fits counts.
        pool_gpu_hour: pool -> price of an hour of one of its cards.
        energy_per_kwh: price of a kilowatt-hour; None is not told.
        gpus: pool or model -> cards of a replica.
        pools: as configured.
        service: weights of tokens.
    """

    currency: str = ""
    gpu_hour: Mapping[str, float] = field(default_factory=dict)
    pool_gpu_hour: Mapping[str, float] = field(default_factory=dict)
    energy_per_kwh: float | None = None
    gpus: Mapping[str, int] = field(default_factory=dict)
    pools: tuple[PoolRule, ...] = ()
    service: Cost = field(default_factory=Cost)

    def pool_of(self, labels: Mapping[str, str]) -> str:
        """The pool of a target: a configured one that matches, its label `pool`, or its model."""
        for pool in self.pools:
            if all(fnmatch.fnmatchcase(labels.get(k, ""), p) for k, p in pool.match.items()):
                return pool.name
        return labels.get("pool") or labels.get("model") or "(no model)"

    def gpus_of(self, pool: str, labels: Mapping[str, str]) -> Told:
        """Cards of a replica of a pool and who told; one card where nobody did."""
        for name in (pool, labels.get("model", "")):
            if name in self.gpus:
                return Told(float(self.gpus[name]), "cost.gpus")
        rule = self._rule(pool)
        if rule is not None and rule.gpus is not None:
            return Told(float(rule.gpus), "the pool's settings or profile")
        told = labels.get("gpus", "")
        if told.isdigit():
            return Told(float(told), "the target's label gpus")
        return Told(1.0, "assumed: nobody told")

    def type_of(self, pool: str, labels: Mapping[str, str], seen: str | None) -> tuple[str, str]:
        """Type of the cards of a pool and who told; empty where nobody did."""
        rule = self._rule(pool)
        if rule is not None and rule.gpu_type:
            return rule.gpu_type, "the pool's profile"
        for label in ("gpu_type", "gpu_model"):
            if labels.get(label):
                return labels[label], f"the target's label {label}"
        return (seen, "cards that were read") if seen else ("", "nobody told")

    def price_of(self, pool: str, gpu_type: str) -> Told:
        """Price of an hour of a card and who told; None where nobody did, or in no currency."""
        if not self.currency:
            return Told(None, "cost.currency is not set")
        if pool in self.pool_gpu_hour:
            return Told(self.pool_gpu_hour[pool], "cost.pool_gpu_hour")
        rule = self._rule(pool)
        if rule is not None and rule.price_per_gpu_hour is not None:
            return Told(rule.price_per_gpu_hour, "the pool's settings or profile")
        for pattern, price in self.gpu_hour.items():
            if gpu_type and fnmatch.fnmatch(gpu_type.lower(), pattern.lower()):
                return Told(price, f"cost.gpu_hour {pattern}")
        return Told(None, "no price fits its type" if gpu_type else "its type of card is not told")

    def _rule(self, pool: str) -> PoolRule | None:
        return next((rule for rule in self.pools if rule.name == pool), None)
