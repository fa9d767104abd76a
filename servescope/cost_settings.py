"""What GPU time and energy cost, and how many cards a replica has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from analysis.cost_rules import CostRules, PoolRule
from controller.settings import ControllerSettings, PoolSettings
from store.errors import ServescopeError
from store.queries.token_cost import Cost


@dataclass(frozen=True, slots=True)
class CostSettings:
    """Table `[cost]`: prices; where one is missing GPU-hours are shown, never a guess.

    Attributes:
        currency: of all prices, such as EUR; without it no money is shown.
        gpu_hour: price of an hour of a card by its type, such as `*h100*`; `*` stands for anything,
            the first that fits counts.
        pool_gpu_hour: price of an hour of a card by pool; goes before its type and its profile.
        energy_per_kwh: price of a kilowatt-hour; unset is not known.
        gpus: cards of a replica by pool or model, where neither its pool, its profile nor its label
            `gpus` tells; 0 for engines without cards.
        input_weight: service of a prompt token, by which a replica's time is shared.
        output_weight: service of a token of the answer.
        cached_weight: service of a prompt token that was found in the cache.
    """

    currency: str = ""
    gpu_hour: dict[str, float] = field(default_factory=dict)
    pool_gpu_hour: dict[str, float] = field(default_factory=dict)
    energy_per_kwh: float | None = None
    gpus: dict[str, int] = field(default_factory=dict)
    input_weight: float = 1.0
    output_weight: float = 2.0
    cached_weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        _not_negative("gpu_hour", self.gpu_hour)
        _not_negative("pool_gpu_hour", self.pool_gpu_hour)
        _not_negative("gpus", self.gpus)
        weights = {"input": self.input_weight, "output": self.output_weight,
                   "cached": self.cached_weight}  # fmt: skip
        _not_negative("weights", weights)
        if self.input_weight + self.output_weight <= 0:
            raise ValueError("cost.input_weight and cost.output_weight must not both be 0")
        if self.energy_per_kwh is not None and not _is_price(self.energy_per_kwh):
            raise ValueError("cost.energy_per_kwh must not be negative")
        is_priced = self.gpu_hour or self.pool_gpu_hour or self.energy_per_kwh is not None
        if is_priced and not self.currency.strip():
            raise ValueError('cost.currency must say what prices are in, such as "EUR"')
        if len(self.currency) > 12:
            raise ValueError("cost.currency must be short, such as EUR")

    def rules(self, controller: ControllerSettings) -> CostRules:
        """What the view of cost goes by.

        Args:
            controller: its pools' profiles tell cards and prices.
        """
        return CostRules(
            self.currency.strip(), self.gpu_hour, self.pool_gpu_hour, self.energy_per_kwh,
            self.gpus, tuple(_rule(one) for one in controller.pools()),
            Cost(self.input_weight, self.output_weight, self.cached_weight),
        )  # fmt: skip


def _rule(told: PoolSettings) -> PoolRule:
    """A pool with the cards and the price of its profile; one that cannot be read tells nothing."""
    from controller.pools import profile_of

    try:
        profile = profile_of(told)
    except ServescopeError:
        profile = None
    gpus = profile.gpus if profile else told.gpus
    price = profile.price_per_hour if profile else told.price_per_hour
    each = price / gpus if price is not None and gpus else None
    return PoolRule(told.name, told.match, gpus, profile.gpu_type if profile else "", each)


def _not_negative(name: str, values: Mapping[str, float]) -> None:
    for key, value in values.items():
        if not _is_price(value):
            raise ValueError(f"cost.{name} of {key} is {value}, it must not be negative")


def _is_price(value: float) -> bool:
    return math.isfinite(value) and value >= 0
