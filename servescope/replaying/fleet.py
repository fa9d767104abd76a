"""Fleets to replay: pools from a file, from a document over the API, or as they are configured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from analysis.slo_model import Slo
from controller.codec import canonical
from controller.comparison.fleets import FleetPool, profile_of
from controller.guards import PoolRules
from controller.pools import Pool
from controller.pools import profile_of as profile_in
from controller.profile import Profile
from controller.settings import ControllerSettings
from controller.startup import StartupTimes
from servescope.controlling.assembly import objective_of
from store import toml
from store.errors import InputError, ServescopeError
from store.nearest import nearest_hint

ALL = "all"
_COUNTS = ("least", "most", "initial", "gpus", "most_up", "most_down")
_NUMBERS = (
    "startup", "price_per_hour", "up_cooldown_seconds", "down_cooldown_seconds", "stale_seconds",
    "least_share",
)  # fmt: skip
_TEXTS = ("name", "role")
_KEYS = (*_TEXTS, "profile", *_COUNTS, *_NUMBERS)
_RULES = ("most_up", "most_down", "up_cooldown_seconds", "down_cooldown_seconds", "stale_seconds",
          "least_share")  # fmt: skip
_BUDGET = ("most_gpus", "most_per_hour")

Pools = tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class LivePools:
    """Configured pools, as a replay takes them.

    Attributes:
        pools: documents of a fleet.
        objective: of their requests, as text.
        most_gpus: of all of them.
        most_per_hour: of all of them.
        policy: that decides them today, by name with its parameters; "" where they differ.
        notes: what people should know.
    """

    pools: Pools
    objective: str
    most_gpus: int | None
    most_per_hour: float | None
    policy: str
    notes: tuple[str, ...]


def read_file(path: Path) -> dict[str, Any]:
    """{"fleet": pools, and gpus and most_per_hour where there is a budget} of a TOML file.

    Raises:
        InputError: it cannot be read, or is no fleet.
    """
    try:
        told = toml.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, toml.TomlError) as error:
        raise InputError(f"no fleet can be read: {error}", where=str(path)) from error
    odd = sorted(set(told) - {"pool", *_BUDGET})
    if odd or not isinstance(told.get("pool"), list):
        what = f"'{odd[0]}' is nothing a fleet has" if odd else "there is no [[pool]]"
        raise InputError(
            what, where=str(path), hint=f"write [[pool]] tables, and {' and '.join(_BUDGET)}"
        )
    found: dict[str, Any] = {"fleet": told["pool"]}
    for name, key in zip(_BUDGET, ("gpus", "most_per_hour"), strict=True):
        if name in told:
            found[key] = told[name]
    return found


def checked(told: Any) -> Pools:
    """Documents of pools: names, kinds and ranges of what they hold.

    Raises:
        InputError: naming pool and key.
    """
    if not isinstance(told, list | tuple) or not all(isinstance(one, Mapping) for one in told):
        raise InputError("a fleet is a list of pools", hint='[{"name": "a", "profile": "…"}]')
    return tuple(_checked(number, dict(one)) for number, one in enumerate(told, 1))


def _checked(number: int, pool: dict[str, Any]) -> dict[str, Any]:
    name = pool.get("name")
    where = f"pool {name}" if isinstance(name, str) else f"pool {number} of the fleet"
    if not isinstance(name, str) or not name:
        raise InputError(f"{where} has no name", hint='give each pool a name = "…"')
    for key, value in pool.items():
        if key not in _KEYS:
            raise InputError(f"{where}: there is no '{key}'", hint=nearest_hint(key, _KEYS))
        problem = _problem(key, value)
        if problem:
            raise InputError(f"{where}: {key} must be {problem}, not {value!r}")
    return pool


def _problem(key: str, value: Any) -> str:
    """What a value should be; "" where it is."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if key == "profile":
        return "" if isinstance(value, str | Mapping) else "a name, a file or a profile"
    if key in _TEXTS:
        return "" if isinstance(value, str) else "a text"
    if key in _COUNTS:
        is_count = is_number and value == int(value) and 0 <= value <= 100_000
        return "" if is_count else "a whole number, 0 or more"
    is_fine = is_number and math.isfinite(value) and value >= 0
    return "" if is_fine else "a number, 0 or more"


def fleet_of(
    pools: Pools,
    find: Callable[[str], Profile],
    usual: Mapping[str, Any],
    most_of: Callable[[Profile, str], int],
) -> tuple[FleetPool, ...]:
    """Pools that can be replayed.

    Args:
        pools: of `checked`.
        find: a profile by its name.
        usual: profile and least of pools that do not say.
        most_of: replicas at most of a profile in a role, for pools that do not say.

    Raises:
        InputError: a profile is none.
        ControllerError: there is no such profile.
    """
    return tuple(_pool({**usual, **one}, find, most_of) for one in pools)


def _pool(
    told: Mapping[str, Any],
    find: Callable[[str], Profile],
    most_of: Callable[[Profile, str], int],
) -> FleetPool:
    name, role = told["name"], told.get("role", "whole")
    profile = _profile(name, told["profile"], find)
    profile = replace(
        profile,
        gpus=int(told.get("gpus", profile.gpus)),
        price_per_hour=told.get("price_per_hour", profile.price_per_hour),
    )
    least = int(told["least"])
    most = told.get("most")
    initial, startup = told.get("initial"), told.get("startup")
    rules = {key: told[key] for key in _RULES if key in told}
    return FleetPool(
        name, profile, role, least,
        max(most_of(profile, role), least) if most is None else int(most),
        None if initial is None else int(initial),
        None if startup is None else StartupTimes.about(float(startup)),
        PoolRules(**rules) if rules else None,
    )  # fmt: skip


def _profile(pool: str, told: str | Mapping[str, Any], find: Callable[[str], Profile]) -> Profile:
    if isinstance(told, str):
        return find(told)
    try:
        return profile_of(told)
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(
            f"pool {pool}: that is no profile: {error}",
            hint="give a name, or what servescope calibrate --out wrote",
        ) from error


def inlined(pools: Pools, find: Callable[[str], Profile]) -> Pools:
    """The same with profiles of files as what they hold, for a server that reads no files."""
    made = []
    for one in pools:
        told = one.get("profile")
        is_file = isinstance(told, str) and (told.endswith(".json") or "/" in told)
        made.append({**one, "profile": asdict(find(str(told)))} if is_file else one)
    return tuple(made)


def live(names: Sequence[str], settings: ControllerSettings, slos: Sequence[Slo]) -> LivePools:
    """Configured pools by name.

    Args:
        names: of pools, or "all".
        settings: table `[controller]`.
        slos: objectives of slo.toml.

    Raises:
        InputError: no such pool, one without a profile, or pools of several models.
        ControllerError: an objective or a profile is not there.
    """
    known = {one.name: one for one in settings.pools()}
    if not known:
        raise InputError(
            "no pools are configured", hint="write [[controller.pool]] tables, or give --fleet"
        )
    wanted = list(known) if list(names) == [ALL] else list(names)
    for name in wanted:
        if name not in known:
            hint = nearest_hint(name, (*known, ALL), lists_all=True)
            raise InputError(f"there is no pool '{name}'", hint=hint)
    try:
        found = [
            Pool(known[name], objective_of(known[name], settings, slos), profile_in(known[name]))
            for name in wanted
        ]
    except ServescopeError as error:
        raise InputError(error.message, hint=error.hint) from error
    _one_stream(found)
    return _told(found, settings)


def _one_stream(pools: Sequence[Pool]) -> None:
    """Refuse pools that cannot be told apart from several fleets."""
    for pool in pools:
        if pool.profile is None:
            raise InputError(
                f"pool {pool.name} has no profile, so nobody knows what a replica can do",
                hint="servescope calibrate --out FILE, and profile = FILE in its table",
            )
    models = {pool.settings.match.get("model") for pool in pools} - {None}
    if len(models) > 1:
        raise InputError(
            f"the pools serve several models ({', '.join(sorted(map(str, models)))}), and what is"
            " replayed is one stream of requests",
            hint="name the pools of one model",
        )
    if len({pool.objective for pool in pools}) > 1:
        raise InputError("the pools have several objectives", hint="name those of one objective")


def _told(pools: Sequence[Pool], settings: ControllerSettings) -> LivePools:
    goal = pools[0].objective
    bounds = {"ttft": goal.ttft_seconds, "tpot": goal.tpot_seconds}
    parts = [f"{name}={value:g}" for name, value in bounds.items() if value is not None]
    deciding = {canonical((one.settings.policy, dict(one.settings.parameters))) for one in pools}
    first = pools[0].settings
    given = ",".join(f"{name}={value}" for name, value in first.parameters.items()
                     if isinstance(value, int | float | str))  # fmt: skip
    policy = f"{first.policy}({given})" if given else first.policy
    learned = [one.name for one in pools if one.startup is None]
    notes = [
        f"start-up times of {', '.join(learned)} are learned live; here they are as asked"
    ] if learned else []  # fmt: skip
    return LivePools(
        tuple(_document(one) for one in pools),
        ",".join([*parts, f"attainment={goal.attainment_ratio:g}"]),
        settings.most_gpus, settings.most_per_hour,
        policy if len(deciding) == 1 else "", tuple(notes),
    )  # fmt: skip


def _document(pool: Pool) -> dict[str, Any]:
    s = pool.settings
    made: dict[str, Any] = {
        "name": pool.name, "role": s.role, "least": s.least, "most": s.most,
        "profile": asdict(pool.profile) if pool.profile else "",
        "most_up": s.most_up, "most_down": s.most_down,
        "up_cooldown_seconds": s.up_cooldown_seconds,
        "down_cooldown_seconds": s.down_cooldown_seconds,
        "stale_seconds": s.stale_seconds, "least_share": s.least_share,
        "startup": None if isinstance(s.startup, str) else float(s.startup),
    }  # fmt: skip
    return {key: value for key, value in made.items() if value is not None}
