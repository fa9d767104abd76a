"""A start as a sum of phases, each with its own distribution, mixed where a cache decides.

    total = queue + image + weight bytes / bandwidth * loads at the time + import + profile
            + compile (cached or not) + graphs + first requests

Phases that bytes explain are answered as bytes / bandwidth times the ratio that such phases had;
others by their history. A phase whose cache state is known answers from starts in that state; where
it is unknown, hits and misses are mixed by how often each was seen: two humps, not a wide one.
Phases are added as if independent, which is what their sum of medians and tails needs least.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from predictors.base import OUTCOME
from predictors.cold_start.spec import INSTANCE, MODEL
from predictors.distribution import LEVELS, Floats, Quantiles
from store.errors import PredictorError

PHASE, IS_CACHED, TOTAL = "phase", "is_cached", "total"
BY_BYTES = frozenset({"weights", "image"})
LEAST_ROWS = 3
_DRAWS = 2048
_KEPT = 200


@dataclass(frozen=True, slots=True)
class _Seen:
    """Outcomes of one phase in one cache state and place; ratios where bytes explain them."""

    values: Floats


class PhasedStart:
    """Distribution of each phase and of their sum.

    Args:
        seed: of the draws that add phases up.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._seen: dict[tuple[str, ...], _Seen] = {}
        self._cached: dict[tuple[str, ...], float] = {}
        self._phases: tuple[str, ...] = ()

    @property
    def phases(self) -> tuple[str, ...]:
        """Those that were seen, in alphabetical order."""
        return self._phases

    def fit(self, rows: pl.DataFrame) -> None:
        """Learn from phases that ended.

        Args:
            rows: `phase`, `outcome` (s); optionally `model`, `instance`, `is_cached` (null:
                unknown), `weight_bytes`, `bandwidth_bytes_per_second`, `concurrent_loads`.

        Raises:
            PredictorError: no phase with an outcome.
        """
        known = _complete(rows).filter(pl.col(OUTCOME).is_finite() & (pl.col(OUTCOME) >= 0))
        if known.is_empty():
            raise PredictorError("no phase of a start has ended yet, so none can be learnt from")
        self._phases = tuple(known[PHASE].unique().sort().to_list())
        found: dict[tuple[str, ...], list[float]] = {}
        states: dict[tuple[str, ...], list[float]] = {}
        for row in known.iter_rows(named=True):
            for place in _places(row):
                if row[IS_CACHED] is not None:
                    states.setdefault((row[PHASE], *place), []).append(float(row[IS_CACHED]))
                for state in {_state(row[IS_CACHED]), "any"}:
                    for name, value in _measured(row):
                        found.setdefault((row[PHASE], name, state, *place), []).append(value)
        self._seen = {key: _Seen(np.sort(values[-_KEPT:])) for key, values in found.items()}
        # One hit and one miss on top: the next start may always differ.
        self._cached = {k: (sum(v) + 1) / (len(v) + 2) for k, v in states.items()}

    def predict(self, starts: pl.DataFrame) -> Mapping[str, Quantiles]:
        """Each phase and `total`, one row a start.

        Args:
            starts: columns of `fit` without `phase` and `outcome`; `is_cached_<phase>` tells the
                cache state of a phase (null or absent: unknown).

        Raises:
            PredictorError: nothing was learnt yet.
        """
        if not self._phases:
            raise PredictorError("no start was seen yet", hint="collect some first")
        places = np.random.default_rng(self._seed)
        drawn = {phase: np.empty((starts.height, _DRAWS)) for phase in self._phases}
        orders = {phase: places.permutation(_DRAWS) for phase in self._phases}
        rows = _complete(starts.with_columns(pl.lit("").alias(PHASE)))
        for number, row in enumerate(rows.iter_rows(named=True)):
            for phase in self._phases:
                drawn[phase][number] = self._draws(phase, row)[orders[phase]]
        total = sum(drawn.values(), np.zeros((starts.height, _DRAWS)))
        return {name: _quantiles(draws) for name, draws in (*drawn.items(), (TOTAL, total))}

    def _draws(self, phase: str, row: Mapping[str, Any]) -> Floats:
        """Evenly spaced quantiles of one phase of one start, low to high."""
        told = row.get(f"is_cached_{phase}")
        if told is not None:
            return self._of_state(phase, _state(told), row, _DRAWS)
        hit = next(
            (
                self._cached[key]
                for place in _places(row)
                if (key := (phase, *place)) in self._cached
            ),
            None,
        )
        if hit is None:
            return self._of_state(phase, "any", row, _DRAWS)
        hits = round(hit * _DRAWS)
        parts = [
            self._of_state(phase, state, row, count)
            for state, count in (("hit", hits), ("miss", _DRAWS - hits))
        ]
        return np.sort(np.concatenate(parts))

    def _of_state(self, phase: str, state: str, row: Mapping[str, Any], count: int) -> Floats:
        even = (np.arange(count) + 0.5) / max(count, 1)
        expected = _expected(row) if phase in BY_BYTES else None
        for name, scale in (("ratio", expected), ("seconds", 1.0)):
            if scale is None:
                continue
            for wanted in (state, "any"):
                for least in (LEAST_ROWS, 1):
                    for place in _places(row):
                        seen = self._seen.get((phase, name, wanted, *place))
                        if seen is not None and len(seen.values) >= least:
                            return np.quantile(seen.values, even) * scale
        return np.zeros(count)


def _complete(rows: pl.DataFrame) -> pl.DataFrame:
    if PHASE not in rows.columns:
        raise PredictorError(f"phases need the column {PHASE!r}")
    kinds: dict[str, Any] = {
        MODEL: pl.String, INSTANCE: pl.String, IS_CACHED: pl.Boolean, "weight_bytes": pl.Float64,
        "bandwidth_bytes_per_second": pl.Float64, "concurrent_loads": pl.Float64,
    }  # fmt: skip
    return rows.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in kinds.items() if name not in rows.columns
    )


def _places(row: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Whose history counts: the model on this host, the model, everybody."""
    model, instance = row[MODEL] or "", row[INSTANCE] or ""
    return [(model, instance), (model,), ()]


def _state(is_cached: Any) -> str:
    return "any" if is_cached is None else "hit" if is_cached else "miss"


def _expected(row: Mapping[str, Any]) -> float | None:
    """Seconds that bytes and bandwidth ask for; loads at the same time share the bandwidth."""
    size, speed = row["weight_bytes"], row["bandwidth_bytes_per_second"]
    if not size or not speed or size <= 0 or speed <= 0:
        return None
    return float(size / speed * (1 + max(row["concurrent_loads"] or 0.0, 0.0)))


def _measured(row: Mapping[str, Any]) -> list[tuple[str, float]]:
    made = [("seconds", float(row[OUTCOME]))]
    expected = _expected(row) if row[PHASE] in BY_BYTES else None
    return made if expected is None else [*made, ("ratio", float(row[OUTCOME]) / expected)]


def _quantiles(draws: Floats) -> Quantiles:
    return Quantiles.of(LEVELS, np.quantile(draws, LEVELS, axis=1).T)


def bandwidth(loads: pl.DataFrame, by: tuple[str, ...] = ("tier", INSTANCE)) -> pl.DataFrame:
    """Measured bandwidth of each tier and host, in bytes per second, from loads that ended.

    Args:
        loads: `weight_bytes`, `outcome` (s), `by`; optionally `concurrent_loads`, which shared it.
        by: what has a bandwidth of its own.

    Returns:
        `by`, bandwidth_bytes_per_second (median), loads.
    """
    share = (
        pl.col("concurrent_loads").fill_null(0) + 1 if "concurrent_loads" in loads.columns else 1
    )
    speed = pl.col("weight_bytes") / pl.col(OUTCOME) * share
    return (
        loads.filter((pl.col(OUTCOME) > 0) & (pl.col("weight_bytes") > 0))
        .group_by(by, maintain_order=True)
        .agg(speed.median().alias("bandwidth_bytes_per_second"), pl.len().alias("loads"))
        .sort(by)
    )
