"""Pools as they are controlled: settings with their profile, objective and policy, in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from controller.codec import canonical
from controller.guards import FleetRules, PoolRules
from controller.observation import Limits, Objective
from controller.policy import Policy
from controller.profile import Profile
from controller.settings import ControllerSettings, PoolSettings
from controller.startup import StartupTimes


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool.

    Attributes:
        settings: as configured.
        objective: of its requests.
        profile: what a replica can do, with its cards and price; None unknown.
    """

    settings: PoolSettings
    objective: Objective
    profile: Profile | None

    @property
    def name(self) -> str:
        """Of the pool."""
        return self.settings.name

    @property
    def limits(self) -> Limits:
        """Between what it may be scaled."""
        return Limits(self.settings.least, self.settings.most)

    @property
    def rules(self) -> PoolRules:
        """What the operator allows of it."""
        s = self.settings
        return PoolRules(
            s.least, s.most, s.most_up, s.most_down, float(s.up_cooldown_seconds),
            float(s.down_cooldown_seconds), float(s.stale_seconds), float(s.least_share),
        )  # fmt: skip

    @property
    def startup(self) -> StartupTimes | None:
        """As configured; None where it is learned."""
        told = self.settings.startup
        return None if isinstance(told, str) else StartupTimes.about(float(told))

    @property
    def gpus(self) -> int:
        """Cards of a replica."""
        return self.profile.gpus if self.profile else self.settings.gpus or 1

    @property
    def price_per_hour(self) -> float | None:
        """Of a replica; None unknown."""
        return self.profile.price_per_hour if self.profile else self.settings.price_per_hour


@dataclass(frozen=True, slots=True)
class Fleet:
    """Pools that one policy decides together.

    Attributes:
        name: its pools, joined.
        policy: decides.
        parameters: canonical JSON of what it was made with.
        pools: at least one; one objective.
        rules: what the operator allows.
    """

    name: str
    policy: Policy
    parameters: str
    pools: tuple[Pool, ...]
    rules: FleetRules

    @property
    def objective(self) -> Objective:
        """Of its requests."""
        return self.pools[0].objective


def fleets_of(
    pools: Sequence[Pool], policies: Mapping[str, Policy], settings: ControllerSettings
) -> tuple[Fleet, ...]:
    """Pools with the same policy, parameters and objective together.

    Args:
        pools: all of them.
        policies: of each pool, by its name.
        settings: the budget.
    """
    groups: dict[bytes, list[Pool]] = {}
    for pool in pools:
        told = (pool.settings.policy, dict(pool.settings.parameters), pool.objective)
        groups.setdefault(canonical(told), []).append(pool)
    return tuple(
        Fleet(
            "+".join(pool.name for pool in group),
            policies[group[0].name],
            canonical(dict(group[0].settings.parameters)).decode(),
            tuple(group),
            FleetRules(
                {pool.name: pool.rules for pool in group},
                settings.most_gpus,
                settings.most_per_hour,
            ),
        )
        for group in groups.values()
    )


def profile_of(settings: PoolSettings) -> Profile | None:
    """The profile of a pool, with the cards and the price that its settings name.

    Raises:
        ControllerError: the file is no profile.
    """
    if not settings.profile:
        return None
    found = Profile.load(Path(settings.profile).expanduser())
    price = settings.price_per_hour
    return replace(
        found,
        gpus=settings.gpus or found.gpus,
        price_per_hour=found.price_per_hour if price is None else float(price),
    )
