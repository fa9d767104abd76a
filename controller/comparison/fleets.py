"""Pools that are replayed together: what each is, what contradicts itself, how they are sized.

All entry pools (whole ones and prefill ones) take their share of one stream of requests: each goes
to the replica with the fewest outstanding ones, counted by what its kind can serve. The first
prefill pool sends to the first decoding one, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from controller.comparison import sizing
from controller.comparison.naming import parsed
from controller.guards import FleetRules, PoolRules
from controller.observation import Objective
from controller.profile import FitError, Profile, StepTimes
from controller.startup import StartupTimes

ROLES = ("whole", "prefill", "decode")
ENTRY_ROLES = ("whole", "prefill")
# Which policies see more than one pool at a time; all others decide each pool alone.
PAIRS = ("risk", "heteroscale", "dynamo", "dynamo-throughput", "dynamo-load", "tokenscale")
# Ours is told that the whole pools of a fleet serve one stream, unless somebody says together= .
TYPES = ("risk", "melange")


@dataclass(frozen=True, slots=True)
class FleetPool:
    """One pool of a fleet that is replayed.

    Attributes:
        name: unique; lower-case letters, digits, dots, dashes.
        profile: of its replicas, with cards and price.
        role: "whole", "prefill" or "decode".
        least: replicas.
        most: replicas.
        initial: replicas at the start; None: with the others enough for the first five minutes.
        startup: how long its replicas take; None: as the comparison says.
        rules: what its operator allows, where guards are replayed; None: the guards' defaults.
    """

    name: str
    profile: Profile
    role: str = "whole"
    least: int = 1
    most: int = 40
    initial: int | None = None
    startup: StartupTimes | None = None
    rules: PoolRules | None = None

    @property
    def guarded_by(self) -> PoolRules:
        """Its rules, inside its limits."""
        return replace(self.rules or PoolRules(), least=self.least, most=self.most)

    @classmethod
    def of_document(cls, told: Mapping[str, Any]) -> FleetPool:
        """What `asdict` made of it."""
        given = dict(told)
        given["profile"] = profile_of(given["profile"])
        startup, rules = given.pop("startup"), given.pop("rules")
        if startup is not None:
            startup = StartupTimes(tuple(startup["levels"]), tuple(startup["seconds"]))
        return cls(**given, startup=startup, rules=None if rules is None else PoolRules(**rules))


def profile_of(told: Mapping[str, Any]) -> Profile:
    """A profile from what `asdict` made of it."""
    given = dict(told)
    step, error = StepTimes(**given.pop("step")), given.pop("error", None)
    notes = tuple(given.pop("notes", ()))
    judged = FitError.of(error) if error else None
    return Profile(step=step, error=judged, notes=notes, **given)


def rules_of(told: Mapping[str, Any]) -> FleetRules:
    """Rules of all pools from what `asdict` made of them."""
    pools = {name: PoolRules(**one) for name, one in told["pools"].items()}
    return FleetRules(pools, told["most_gpus"], told["most_per_hour"])


def is_priced(pools: Sequence[FleetPool]) -> bool:
    """Whether all of it has a price."""
    return all(pool.profile.price_per_hour is not None for pool in pools)


def is_unlike(pools: Sequence[FleetPool]) -> bool:
    """Whether its cards are of several types, so that their hours cannot be added up."""
    return len({pool.profile.gpu_type for pool in pools}) > 1


def ranks_by_cost(pools: Sequence[FleetPool]) -> bool:
    """Whether money is what fleets are compared by: cards differ, and prices are known."""
    return is_unlike(pools) and is_priced(pools)


def unit_of(pool: FleetPool, *, by_cost: bool) -> float:
    """What a replica costs an hour, in what is compared."""
    return (pool.profile.price_per_hour or 0.0) if by_cost else float(pool.profile.gpus)


def kinds_of(
    pools: Sequence[FleetPool],
    objective: Objective,
    sizes: tuple[float, float],
    hits: Mapping[str, float] | None = None,
) -> list[sizing.Kind]:
    """The pools as sizing sees them, for requests of a mean size.

    Args:
        pools: of the fleet.
        objective: of its requests.
        sizes: prompt and output tokens.
        hits: share of the prompts that caches of a pool know, by name.
    """
    by_cost = ranks_by_cost(pools)
    return [
        sizing.Kind(
            pool.name, pool.role,
            sizing.per_second(
                pool.profile, pool.role, objective, sizes, (hits or {}).get(pool.name, 0.0)
            ),
            unit_of(pool, by_cost=by_cost), pool.least, pool.most,
        )
        for pool in pools
    ]  # fmt: skip


def manner(pools: Sequence[FleetPool], policy: str) -> str:
    """How a policy decides a fleet of several pools; "" where there is one."""
    if len(pools) < 2:
        return ""
    name, given = parsed(policy)
    has_pairs = any(pool.role == "decode" for pool in pools)
    has_types = sum(pool.role == "whole" for pool in pools) > 1
    if has_pairs and name in PAIRS:
        return "together"
    if has_types and name in TYPES and given.get("together") != "":
        return "together"
    return "pool by pool"
