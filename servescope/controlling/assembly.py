"""Settings -> pools, policies, actuators, the loop."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.slo_model import Slo
from controller.actuators import registry as actuators
from controller.actuators.base import Actuator
from controller.book import Book
from controller.codec import canonical
from controller.hands import Hands
from controller.leases import Leases
from controller.leases.file import FileLeases
from controller.loop import Loop
from controller.modes import ACTING
from controller.observation import Objective
from controller.observe import StoreEyes
from controller.outcomes import Outcomes
from controller.policies import registry as policies
from controller.policy import Policy
from controller.pools import Pool, fleets_of, profile_of
from controller.settings import ControllerSettings, PoolSettings
from controller.shadows import Shadows
from store.clock import Clock
from store.database import Database
from store.errors import ConfigError, ControllerError, ServescopeError
from store.reader import Reader

WHERE = "controller.pool {}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to be controlled; nothing was touched yet.

    Attributes:
        settings: of the loop.
        pools: with objectives and profiles.
        policies: of each pool.
        actuators: of each pool; pools of one platform share one.
    """

    settings: ControllerSettings
    pools: tuple[Pool, ...]
    policies: Mapping[str, Policy]
    actuators: Mapping[str, Actuator]


def plan(settings: ControllerSettings, slos: Sequence[Slo], clock: Clock) -> Plan:
    """Check everything that can be checked before anything starts.

    Raises:
        ConfigError: naming the pool and what is wrong with it.
    """
    if settings.mode in ACTING:
        raise ConfigError(
            f"no pool begins in '{settings.mode}'",
            where="controller.mode",
            hint="set off or dry-run here, then: servescope controller mode active --pool NAME",
        )
    made, deciding = [], {}
    for one in settings.pools():
        try:
            made.append(Pool(one, objective_of(one, settings, slos), profile_of(one)))
            policy = policies.make(one.policy, **one.parameters)
            policies.check_mode(policy, settings.mode)
        except ServescopeError as error:
            raise ConfigError(
                error.message, where=WHERE.format(one.name), hint=error.hint
            ) from error
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"policy {one.policy}: {error}", where=WHERE.format(one.name),
                hint="see docs/policies.md",
            ) from error  # fmt: skip
        deciding[one.name] = policy
    check_budget(made, settings)
    return Plan(settings, tuple(made), deciding, actuators_of(settings.pools(), clock))


def objective_of(
    pool: PoolSettings, settings: ControllerSettings, slos: Sequence[Slo]
) -> Objective:
    """What the pool's requests are judged by: its own, then the table's.

    Raises:
        ControllerError: an objective that is named is not there.
    """
    base = Objective(settings.ttft_seconds, settings.tpot_seconds, settings.attainment_ratio)
    name = pool.slo or settings.slo
    if name:
        found = next((slo for slo in slos if slo.name == name), None)
        if found is None:
            raise ControllerError(
                f"there is no objective '{name}'",
                hint=f"slo.toml has {', '.join(slo.name for slo in slos) or 'none'}",
            )
        base = Objective(found.ttft_seconds, found.tpot_seconds, found.target_ratio)
    own = {
        key: float(value)
        for key in ("ttft_seconds", "tpot_seconds", "attainment_ratio")
        if (value := getattr(pool, key)) is not None
    }
    return replace(base, **own)


def check_budget(pools: Sequence[Pool], settings: ControllerSettings) -> None:
    """The least must be affordable, with the cards and prices of the profiles.

    Raises:
        ConfigError: it is not.
    """
    gpus = sum(pool.settings.least * pool.gpus for pool in pools)
    cost = sum(pool.settings.least * (pool.price_per_hour or 0.0) for pool in pools)
    for bound, needed, name in (
        (settings.most_gpus, gpus, "most_gpus"),
        (settings.most_per_hour, cost, "most_per_hour"),
    ):
        if bound is not None and needed > bound:
            raise ConfigError(
                f"the pools need {needed:g} at least, but {name} is {bound:g}",
                where=f"controller.{name}",
                hint="raise it, or lower `least`",
            )


def actuators_of(pools: Sequence[PoolSettings], clock: Clock) -> dict[str, Actuator]:
    """One actuator for all pools of a kind with the same settings.

    Raises:
        ConfigError: no such kind, or settings that cannot work.
    """
    kinds = {one.kind: one for one in actuators.describe()}
    groups: dict[bytes, list[tuple[str, dict[str, Any]]]] = {}
    for pool in pools:
        kind = kinds.get(pool.kind)
        own = {setting.name for setting in kind.pool} if kind else set()
        given = {key: value for key, value in pool.actuator.items() if key != "kind"}
        shared = {key: value for key, value in given.items() if key not in own}
        mine = {key: value for key, value in given.items() if key in own}
        groups.setdefault(canonical((pool.kind, shared)), []).append((pool.name, mine))
    made: dict[str, Actuator] = {}
    first = {pool.name: pool for pool in pools}
    for members in groups.values():
        pool = first[members[0][0]]
        names = {key for _, mine in members for key in mine}
        given = {key: value for key, value in pool.actuator.items() if key not in names | {"kind"}}
        made |= dict.fromkeys(
            (name for name, _ in members), _made(pool, {**given, "pools": dict(members)}, clock)
        )
    return made


def _made(pool: PoolSettings, given: Mapping[str, Any], clock: Clock) -> Actuator:
    try:
        return actuators.create(pool.kind, given, clock)
    except ServescopeError as error:
        raise ConfigError(
            str(error.message), where=WHERE.format(pool.name), hint=error.hint
        ) from error


def loop_of(
    planned: Plan,
    database: Database,
    clock: Clock,
    scrape_seconds: float,
    leases: Leases | None = None,
) -> Loop:
    """The loop; nothing is read or started yet.

    Args:
        planned: what is controlled.
        database: the store.
        clock: the time.
        scrape_seconds: how often targets are scraped.
        leases: of this process; None keeps them in files beside the store.
    """
    settings = planned.settings
    names = tuple(pool.name for pool in planned.pools)
    book = Book(database, clock, names, settings.mode)
    leases = leases or FileLeases(lease_folder(settings, database.path), socket.gethostname())
    hands = Hands(planned.actuators, book, leases, settings.actuator_limit_seconds)
    eyes = eyes_of(settings, database.reader, clock, scrape_seconds)
    outcomes = Outcomes(book, eyes, settings.settle_seconds)
    fleets = fleets_of(planned.pools, planned.policies, settings)
    # What candidates are told must not wait for, or hold up, what the pools are told.
    own = eyes_of(settings, database.reader, clock, scrape_seconds)
    shadows = Shadows(book, made_again, settings, own)
    return Loop(fleets, eyes, hands, book, leases, settings, clock, outcomes, shadows)


def eyes_of(
    settings: ControllerSettings, reader: Reader, clock: Clock, scrape_seconds: float
) -> StoreEyes:
    """Looks at the store; for one thread at a time."""
    return StoreEyes(
        reader, clock, settings.window_seconds, settings.requests_lag_seconds, scrape_seconds
    )


def lease_folder(settings: ControllerSettings, store: Path | None) -> Path | None:
    """Where the locks lie; None for a store in memory."""
    if settings.lease_folder:
        return Path(settings.lease_folder).expanduser()
    return None if store is None else store.with_name(f"{store.name}.leases")


def made_again(name: str, parameters: Mapping[str, Any]) -> Policy:
    """A policy of the ledger."""
    return policies.make(name, **parameters)
