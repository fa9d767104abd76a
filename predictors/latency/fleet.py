"""All engines that rows were seen of: one set of numbers each, around one shared prior.

A group is (model, engine, GPU type). The prior of a group is what its card, engine and model
suggest, moved by how far the groups that were seen are from their own suggestion, so that an
engine never seen starts from what all others taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from predictors.distribution import Floats
from predictors.latency.engine import DEFAULT_SLOTS, Fleet, Groups, completed
from predictors.latency.features import OUTPUT_TOKENS, PHYSICS_KEYS, State
from predictors.latency.fitting import LEAST, MOST, Evidence, capacity_of, engine_of, slots_of
from predictors.latency.life import Lives, curve_of
from predictors.latency.priors import prior_of

Key = tuple[str, ...]
# Groups pull the shared deviation as this many groups without any pull against it.
_SHRINK_GROUPS = 1.0
USUAL_PROMPT = 512.0
# Limits are reached to the token; counts that were estimated need some room.
_AT_LIMIT = 0.97


@dataclass(frozen=True, slots=True)
class Known:
    """The groups that were seen; group 0 is everything together and answers for the others.

    Attributes:
        keys: (g - 1) names of groups 1 and up.
        fleet: their numbers; those of group 0 are not read.
        deviation: (6,) how far engines are from their suggestion, in logarithms.
    """

    keys: tuple[Key, ...]
    fleet: Fleet
    deviation: Floats

    def groups(self, keys: Sequence[Key]) -> Groups:
        """(n,) number of each key's group; 0 where it was never seen."""
        numbers = {key: number + 1 for number, key in enumerate(self.keys)}
        return np.array([numbers.get(key, 0) for key in keys], np.int64)

    def logs(self, keys: Sequence[Key], groups: Groups) -> Floats:
        """(n, 6) parameters of each row."""
        made = self.fleet.logs[groups]
        strange = np.flatnonzero(groups == 0).tolist()
        if strange:
            new = {keys[row]: self.suggested(keys[row]) for row in strange}
            made[strange] = [new[keys[row]] for row in strange]
        return made

    def suggested(self, key: Key) -> Floats:
        """(6,) parameters of an engine that was never seen."""
        return np.asarray(np.clip(prior_of(*key) + self.deviation, LEAST, MOST))

    def without_lesson(self) -> Known:
        """The same, with suggestions as if nothing had been fitted; a fit starts where it was."""
        return replace(self, deviation=np.zeros(6))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For `artifact.write`."""
        fleet = self.fleet
        return {
            "fleet.logs": fleet.logs,
            "fleet.slots": fleet.slots,
            "fleet.capacities": fleet.capacities,
            "fleet.prompts": fleet.prompts,
            "fleet.survival": fleet.lives.survival,
            "fleet.means": fleet.lives.means,
            "fleet.deviation": self.deviation,
        }

    @classmethod
    def from_arrays(cls, keys: Sequence[Sequence[str]], arrays: dict[str, Any]) -> Known:
        """What `arrays` gave."""
        fleet = Fleet(
            arrays["fleet.logs"],
            arrays["fleet.slots"],
            arrays["fleet.capacities"],
            arrays["fleet.prompts"],
            Lives(arrays["fleet.survival"], arrays["fleet.means"]),
        )
        return cls(tuple(tuple(key) for key in keys), fleet, arrays["fleet.deviation"])


def physics_keys(rows: pl.DataFrame) -> list[Key]:
    """(model, engine, GPU type) of each row; "" unknown."""
    columns = [rows[name].to_list() for name in PHYSICS_KEYS]
    return [tuple(str(part or "") for part in key) for key in zip(*columns, strict=True)]


def known_of(rows: pl.DataFrame, state: State) -> Known:
    """Groups, lengths and slots of finished rows; engines still as suggested."""
    keys = physics_keys(rows)
    names = tuple(sorted(set(keys)))
    found = Known(names, _no_fleet(len(names)), np.zeros(6))
    groups = found.groups(keys)
    lengths = numbers_of(rows, OUTPUT_TOKENS)
    cut = lengths >= _AT_LIMIT * np.where(np.isnan(state.most), np.inf, state.most)
    is_known = lengths > 0
    curves = [curve_of(lengths[is_known], cut[is_known])]
    slots, capacities = [DEFAULT_SLOTS], [float("inf")]
    prompts = [_mean(state.own, USUAL_PROMPT)]
    for number in range(1, len(names) + 1):
        mine = groups == number
        taught = mine & is_known
        curves.append(curve_of(lengths[taught], cut[taught], curves[0][0]))
        shown = slots_of(state.take(mine))
        slots.append(shown if np.isfinite(shown) else DEFAULT_SLOTS)
        capacities.append(capacity_of(state.take(mine)))
        prompts.append(_mean(state.own[mine], prompts[0]))
    lives = Lives(np.stack([curve for curve, _ in curves]), np.array([mean for _, mean in curves]))
    logs = np.stack([np.zeros(6), *[found.suggested(name) for name in names]])
    sizes = np.array(slots), np.array(capacities), np.array(prompts)
    return Known(names, Fleet(logs, *sizes, lives), np.zeros(6))


def engines_of(known: Known, rows: pl.DataFrame, state: State, ttft: Floats, tpot: Floats) -> Known:
    """`known` with the engines fitted to these rows.

    Args:
        known: groups, lengths and slots; its engines are where the search starts.
        rows: finished rows.
        state: the same as arrays, as they came.
        ttft: seconds; NaN unknown.
        tpot: seconds; NaN unknown.
    """
    groups = known.groups(physics_keys(rows))
    tokens = numbers_of(rows, OUTPUT_TOKENS)
    every = Evidence(completed(state, known.fleet, groups), groups, ttft, tpot, tokens)
    logs = known.fleet.logs.copy()
    present = [number for number in range(1, len(known.keys) + 1) if (groups == number).any()]
    for number in present:
        prior = known.suggested(known.keys[number - 1])
        logs[number] = engine_of(
            every.take(groups == number), known.fleet, prior, known.fleet.logs[number]
        )
    away = [logs[number] - prior_of(*known.keys[number - 1]) for number in present]
    deviation = np.sum(away, axis=0) / (len(present) + _SHRINK_GROUPS)
    return Known(known.keys, replace(known.fleet, logs=logs), deviation)


def numbers_of(rows: pl.DataFrame, name: str) -> Floats:
    """A column as (n,) numbers, NaN unknown, also where there is no such column."""
    if name not in rows.columns:
        return np.full(rows.height, np.nan)
    return rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)


def _no_fleet(groups: int) -> Fleet:
    nothing = np.zeros(0)
    return Fleet(
        np.zeros((groups + 1, 6)), nothing, nothing, nothing, Lives(np.zeros((0, 0)), nothing)
    )


def _mean(values: Floats, otherwise: float) -> float:
    return float(values.mean()) if len(values) else otherwise
