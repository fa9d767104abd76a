"""Settings of the control loop: the table `[controller]` and its `[[controller.pool]]`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from controller.modes import MODES
from store.nearest import nearest_hint

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_ABOVE_ZERO = (
    "lease_seconds",
    "window_seconds",
    "policy_limit_seconds",
    "actuator_limit_seconds",
    "settle_seconds",
    "approve_seconds",
)
_BETWEEN: Mapping[str, tuple[int, int]] = {
    "requests_lag_seconds": (0, 300), "rehearse_hours": (0, 8760), "most_shadows": (0, 20),
    "snapshot_steps": (1, 10_000),
}  # fmt: skip
LEARNED = "learned"
ROLES = ("whole", "prefill", "decode")


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """One table `[[controller.pool]]`: replicas that are scaled together.

    Attributes:
        name: unique; lower-case letters, digits, dots, dashes.
        match: which targets are its replicas, by label: model, instance, engine, or any label that
            discovery knows; `*` stands for anything.
        actuator: what starts and stops replicas: `kind` and what that kind needs.
        policy: a name from `servescope controller policies`.
        parameters: of the policy.
        role: whole, prefill or decode.
        least: replicas.
        most: replicas.
        most_up: replicas more in one decision; unset is no bound.
        most_down: replicas fewer in one decision; unset is no bound.
        up_cooldown_seconds: after any change, before more are asked for.
        down_cooldown_seconds: after any change, before fewer are asked for.
        stale_seconds: older readings count as stale.
        least_share: of the replicas that must have told something, for a scale-down.
        profile: file with what a replica can do, from `servescope calibrate`.
        startup: seconds of a start, or "learned".
        gpus: cards of a replica; unset takes the profile's.
        price_per_hour: of a replica; unset takes the profile's.
        slo: an objective's name in slo.toml; unset takes the bounds below, or those of the table.
        ttft_seconds: bound on the time to first token.
        tpot_seconds: bound on the time per output token.
        attainment_ratio: share of good requests.
    """

    name: str
    match: Mapping[str, str]
    actuator: Mapping[str, Any] = field(default_factory=lambda: {"kind": "desired"})
    policy: str = "risk"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    role: str = "whole"
    least: int = 1
    most: int = 10
    most_up: int | None = None
    most_down: int | None = 1
    up_cooldown_seconds: float = 0.0
    down_cooldown_seconds: float = 300.0
    stale_seconds: float = 60.0
    least_share: float = 0.9
    profile: str = ""
    startup: float | str = LEARNED
    gpus: int | None = None
    price_per_hour: float | None = None
    slo: str = ""
    ttft_seconds: float | None = None
    tpot_seconds: float | None = None
    attainment_ratio: float | None = None

    @property
    def kind(self) -> str:
        """Of its actuator."""
        return str(self.actuator.get("kind", ""))


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """Table `[controller]`: what the server scales, and how carefully.

    Attributes:
        pool: tables `[[controller.pool]]`; without one nothing is controlled.
        mode: of pools that nobody set: off or dry-run.
        slo: name of an objective in slo.toml that requests are judged by; empty takes the next
            three.
        ttft_seconds: bound on the time to first token; unset is none.
        tpot_seconds: bound on the time per output token; unset is none.
        attainment_ratio: share of the requests that must be good.
        most_gpus: cards of all pools together; unset is no bound.
        most_per_hour: cost of all pools together; unset is no bound.
        window_seconds: over which rates are measured.
        requests_lag_seconds: after which the row of an ended request is in the store.
        policy_limit_seconds: a policy that takes longer is not heard.
        actuator_limit_seconds: a platform that takes longer has not answered.
        settle_seconds: after which a decision is judged by what happened.
        approve_seconds: how long a decision waits for a person.
        rehearse_hours: of decisions in dry-run before a pool may act.
        lease_folder: where the locks of pools lie; empty is beside the store. Servers of a lake
            keep leases in its PostgreSQL instead.
        lease_seconds: there, after which another server has the pools of one that is gone; at most
            half of the shortest period of a policy lets it act within two of its steps.
        most_shadows: candidates that are asked beside the policy that decides, of each pool.
        snapshot_steps: after so many steps what a policy remembers is kept whole again.
        retention_days: steps older than this are deleted; unset keeps all.
    """

    pool: tuple[dict[str, Any], ...] = ()
    mode: str = "dry-run"
    slo: str = ""
    ttft_seconds: float | None = 2.0
    tpot_seconds: float | None = 0.1
    attainment_ratio: float = 0.99
    most_gpus: int | None = None
    most_per_hour: float | None = None
    window_seconds: float = 15.0
    requests_lag_seconds: float = 5.0
    policy_limit_seconds: float = 10.0
    actuator_limit_seconds: float = 10.0
    settle_seconds: float = 300.0
    approve_seconds: float = 600.0
    rehearse_hours: float = 24.0
    lease_folder: str = ""
    lease_seconds: float = 6.0
    most_shadows: int = 3
    snapshot_steps: int = 40
    retention_days: float | None = 30.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        if self.mode not in MODES:
            raise ValueError(f"controller.mode must be one of {', '.join(MODES)}")
        for name in _ABOVE_ZERO:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"controller.{name} must be above 0")
        for name, (lowest, highest) in _BETWEEN.items():
            if not lowest <= getattr(self, name) <= highest:
                raise ValueError(f"controller.{name} must be between {lowest} and {highest}")
        if not 0 < self.attainment_ratio < 1:
            raise ValueError("controller.attainment_ratio must be between 0 and 1")
        self.pools()

    def pools(self) -> tuple[PoolSettings, ...]:
        """The pools, checked.

        Raises:
            ValueError: naming the pool and the setting.
        """
        made = tuple(_pool(number, table) for number, table in enumerate(self.pool, 1))
        names = [pool.name for pool in made]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"controller.pool: two pools are called '{name}'")
        least_gpus = sum(pool.least * (pool.gpus or 1) for pool in made)
        if self.most_gpus is not None and least_gpus > self.most_gpus:
            raise ValueError(
                f"controller.most_gpus is {self.most_gpus}, but the pools must have {least_gpus}"
                " at least: raise it, or lower `least`"
            )
        least_cost = sum(pool.least * (pool.price_per_hour or 0.0) for pool in made)
        if self.most_per_hour is not None and least_cost > self.most_per_hour:
            raise ValueError(
                f"controller.most_per_hour is {self.most_per_hour:g}, but the pools cost"
                f" {least_cost:g} at least: raise it, or lower `least`"
            )
        return made


_KINDS: Mapping[str, tuple[type, ...]] = {
    "name": (str,), "match": (dict,), "actuator": (dict,), "policy": (str,), "parameters": (dict,),
    "role": (str,), "least": (int,), "most": (int,), "most_up": (int,), "most_down": (int,),
    "profile": (str,), "startup": (int, float, str), "gpus": (int,), "slo": (str,),
}  # fmt: skip


def _pool(number: int, table: Mapping[str, Any]) -> PoolSettings:
    where = f"controller.pool {table.get('name') or number}"
    known = [one.name for one in fields(PoolSettings)]
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"{where}: no setting '{key}'; {nearest_hint(key, known)}")
        kinds = _KINDS.get(key, (int, float))
        if isinstance(value, bool) or not isinstance(value, kinds):
            text = f"{where}: {key} must be {_words(kinds)}, not {value!r}"
            raise ValueError(text)  # noqa: TRY004 - settings speak by ValueError
    for key in ("name", "match"):
        if not table.get(key):
            raise ValueError(f"{where}: {key} is missing")
    pool = PoolSettings(**table)
    for problem in _problems(pool):
        raise ValueError(f"{where}: {problem}")
    return pool


def _words(kinds: tuple[type, ...]) -> str:
    words = {str: "a text", dict: "a table", int: "a whole number", float: "a number"}
    return " or ".join(words[kind] for kind in kinds if not (kind is int and float in kinds))


def _problems(pool: PoolSettings) -> list[str]:
    """What cannot be, the first thing first."""
    found = []
    if not _NAME.fullmatch(pool.name):
        found.append("name must be lower-case letters, digits, dots and dashes")
    if not all(isinstance(value, str) and value for value in pool.match.values()):
        found.append("match must be texts by label")
    if not pool.kind:
        found.append("actuator needs a kind")
    if pool.role not in ROLES:
        found.append(f"role must be one of {', '.join(ROLES)}")
    return found + _numbers(pool)


def _numbers(pool: PoolSettings) -> list[str]:
    found = []
    if pool.least < 0 or pool.most < 1 or pool.least > pool.most:
        found.append(f"least {pool.least} and most {pool.most} contradict each other")
    for name in ("most_up", "most_down", "gpus"):
        value = getattr(pool, name)
        if value is not None and value < 1:
            found.append(f"{name} must be at least 1")
    for name in ("up_cooldown_seconds", "down_cooldown_seconds", "price_per_hour"):
        value = getattr(pool, name)
        if value is not None and not 0 <= value < math.inf:
            found.append(f"{name} must be 0 or more")
    if not pool.stale_seconds > 0:
        found.append("stale_seconds must be above 0")
    if not 0 < pool.least_share <= 1:
        found.append("least_share must be above 0 and at most 1")
    return found + _bounds(pool)


def _bounds(pool: PoolSettings) -> list[str]:
    found = []
    is_word = isinstance(pool.startup, str)
    if (is_word and pool.startup != LEARNED) or (
        not is_word and not 0 <= float(pool.startup) < 1e6
    ):
        found.append(f'startup must be seconds, or "{LEARNED}"')
    for name in ("ttft_seconds", "tpot_seconds"):
        value = getattr(pool, name)
        if value is not None and not 0 < value < math.inf:
            found.append(f"{name} must be above 0")
    if pool.attainment_ratio is not None and not 0 < pool.attainment_ratio < 1:
        found.append("attainment_ratio must be between 0 and 1")
    if pool.profile and not Path(pool.profile).expanduser().is_file():
        found.append(f"there is no profile {pool.profile}; make one: servescope calibrate")
    return found
