"""What a step was given and what came of it, as canonical JSON and back, without a loss.

Fields stand in the order of their classes and keys of mappings sorted, so equal things give equal
bytes. Numbers that are none (NaN, infinity) are "missing" before a policy sees them: `sanitised`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from controller.guards import Clip, FleetRules, PoolRules, Standing
from controller.observation import (
    ForecastView,
    Limits,
    Objective,
    Observation,
    PoolView,
    Reading,
    ReplicaView,
)
from controller.observation import Grade as _Grade
from controller.policy import Proposal
from controller.profile import FitError, Profile, StepTimes
from controller.startup import StartupTimes
from store.errors import ControllerError

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True, slots=True)
class Given:
    """Everything that a step depends on, besides the policy and its memory.

    Attributes:
        observation: what was seen.
        rules: what the operator allows.
        standing: what the controller knows besides.
        failure: why the policy was not heard ("" when it was): it hung, or was still busy.
    """

    observation: Observation
    rules: FleetRules
    standing: Standing
    failure: str = ""


def canonical(value: Any) -> bytes:
    """Equal things give equal bytes.

    Raises:
        ControllerError: it is no JSON.
    """
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except (orjson.JSONEncodeError, TypeError) as error:
        raise ControllerError(f"this cannot be kept as JSON: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def digest(text: str | bytes) -> str:
    """A short name of a content."""
    whole = text.encode() if isinstance(text, str) else text
    return hashlib.sha256(whole).hexdigest()[:24]


@cache
def code_version() -> str:
    """Names the code that decides: what other code decided need not come out the same."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return digest(b"".join(file.read_bytes() for file in files))[:12]


def sanitised(observation: Observation) -> Observation:
    """The observation with every number finite or missing, as built-in types."""
    return replace(observation, pools=tuple(_pool_clean(pool) for pool in observation.pools))


def _pool_clean(pool: PoolView) -> PoolView:
    signals = {name: _reading_clean(one) for name, one in pool.signals.items()}
    replicas = tuple(one if _is_sound(one) else _replica_clean(one) for one in pool.replicas)
    forecasts = tuple(
        one for one in pool.forecasts if all(map(math.isfinite, (*one.levels, *one.values)))
    )
    history = tuple(float(one) for one in pool.history) if _is_finite(pool.history) else ()
    return replace(pool, signals=signals, replicas=replicas, forecasts=forecasts, history=history)


def _is_finite(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values))


def _reading_clean(one: Reading) -> Reading:
    value, age = _number(one.value), _number(one.age_seconds)
    if one.value is not None and value is None:
        return Reading(None, _Grade.MISSING, age, 0.0)
    share = one.share if math.isfinite(one.share) else 0.0
    return Reading(value, _Grade(one.grade), age, float(share))


_NUMBERS = (
    "scrape_age_seconds",
    "requests_running",
    "requests_waiting",
    "kv_cache_usage_ratio",
    "waiting_tokens",
    "context_tokens",
)


def _is_sound(one: ReplicaView) -> bool:
    for name in _NUMBERS:
        value = getattr(one, name)
        if value is not None and (type(value) is not float or value - value != 0.0):
            return False
    return True


def _replica_clean(one: ReplicaView) -> ReplicaView:
    age = _number(one.age_seconds) or 0.0
    numbers = [_number(getattr(one, name)) for name in _NUMBERS]
    return ReplicaView(one.name, one.state, age, *numbers)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    made = float(value)
    return made if math.isfinite(made) else None


def given_bytes(given: Given) -> bytes:
    """`given_of` gives it back."""
    observation = _shallow(given.observation)
    observation["pools"] = [
        # A thousand replicas with the name of every field would be most of the record.
        {
            **_shallow(pool),
            "profile": _lean(pool.profile),
            "replicas": [_row(one) for one in pool.replicas],
        }
        for pool in given.observation.pools
    ]
    return canonical({**_shallow(given), "observation": observation})


def _shallow(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _lean(profile: Profile | None) -> Profile | None:
    """Without the quantiles it was judged by: a kilobyte a step that no policy goes by."""
    if profile is None or profile.error is None or not profile.error.quantiles:
        return profile
    return replace(profile, error=replace(profile.error, quantiles=()))


def _row(one: ReplicaView) -> tuple[Any, ...]:
    return (
        one.name, one.state, one.age_seconds, one.scrape_age_seconds, one.requests_running,
        one.requests_waiting, one.kv_cache_usage_ratio, one.waiting_tokens, one.context_tokens,
    )  # fmt: skip


def given_of(text: str | bytes) -> Given:
    """What `given_bytes` wrote.

    Raises:
        ControllerError: it is not such a text.
    """
    try:
        told = orjson.loads(text)
        rules, standing = told["rules"], told["standing"]
        return Given(
            _observation(told["observation"]),
            _rules(rules),
            _standing(standing),
            told["failure"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ControllerError(f"the record of a decision cannot be read: {error!r}") from error


def _rules(told: Mapping[str, Any]) -> FleetRules:
    pools = {name: PoolRules(**one) for name, one in told["pools"].items()}
    return FleetRules(**{**told, "pools": pools})


def _standing(told: Mapping[str, Any]) -> Standing:
    leased = told["leased"]
    return Standing(**{**told, "leased": None if leased is None else frozenset(leased)})


def _observation(told: Mapping[str, Any]) -> Observation:
    pools = tuple(_pool(one) for one in told["pools"])
    return Observation(told["at"], pools, Objective(**told["objective"]), told["scrape_seconds"])


def _pool(told: Mapping[str, Any]) -> PoolView:
    startup = told["startup"]
    return PoolView(
        **{
            **told,
            "limits": Limits(**told["limits"]),
            "signals": {name: _reading(one) for name, one in told["signals"].items()},
            "replicas": tuple(ReplicaView(*one) for one in told["replicas"]),
            "profile": _profile(told["profile"]),
            "startup": startup
            and StartupTimes(tuple(startup["levels"]), tuple(startup["seconds"])),
            "forecasts": tuple(
                ForecastView(
                    **{**one, "levels": tuple(one["levels"]), "values": tuple(one["values"])}
                )
                for one in told["forecasts"]
            ),
            "history": tuple(told.get("history", ())),
        }
    )


def _reading(told: Mapping[str, Any]) -> Reading:
    return Reading(**{**told, "grade": _Grade(told["grade"])})


def _profile(told: Mapping[str, Any] | None) -> Profile | None:
    if told is None:
        return None
    error = told["error"]
    return Profile(
        **{
            **told,
            "step": StepTimes(**told["step"]),
            "error": error and FitError.of(error),
            "notes": tuple(told.get("notes", ())),
        }
    )


def proposal_json(proposal: Proposal | None) -> Any:
    """For the record."""
    return proposal and {
        "targets": dict(proposal.targets),
        "reasons": list(proposal.reasons),
        "advice": list(proposal.advice),
    }


def clips_json(clips: tuple[Clip, ...]) -> list[Clip]:
    """For the record."""
    return list(clips)
