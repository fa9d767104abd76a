"""What replays tell by part: guards, pools, forecasts. JSON in each row; medians over the seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

NAMES = ("clips", "pool_gpu_hours", "forecasts")
# (pool, guard), (pool,) or (number,): where a number stands.
_Place = tuple[str, ...]


def medians(frame: pl.DataFrame) -> pl.DataFrame:
    """Each of `NAMES`, a list of JSON texts a row, as one JSON text of medians; null without any.

    Args:
        frame: with `seeds`, how many were done: a guard that never held with one of them counts 0.
    """
    made = {
        name: [
            _median(texts, seeds if name == "clips" else len(texts))
            for texts, seeds in zip(frame[name].to_list(), frame["seeds"], strict=True)
        ]
        for name in NAMES
    }
    return frame.with_columns(pl.Series(name, some, pl.String) for name, some in made.items())


def flat(told: Mapping[str, Any], before: _Place = ()) -> dict[_Place, float]:
    """Numbers by where they stand; what is no number is left out."""
    found: dict[_Place, float] = {}
    for name, value in told.items():
        if isinstance(value, Mapping):
            found |= flat(value, (*before, name))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[(*before, name)] = float(value)
    return found


def by_pool(frame: pl.DataFrame, fleet: Mapping[str, Any] | None) -> pl.DataFrame:
    """What rows of a summary tell of each pool.

    Columns: case, startup_seconds, policy, row, title, pool, role, profile, gpu_hours, cost,
    held (decisions that guards held or clipped), guards (which, as text).

    Args:
        frame: of `replay_frames.summary`.
        fleet: document of the run; None: of before there were fleets.
    """
    schema = {
        **dict.fromkeys(("case",), pl.String), "startup_seconds": pl.Float64,
        **dict.fromkeys(("policy", "row", "title", "pool", "role", "profile"), pl.String),
        "gpu_hours": pl.Float64, "cost": pl.Float64, "held": pl.Float64, "guards": pl.String,
    }  # fmt: skip
    pools = (fleet or {}).get("pools", [])
    rows = [
        {**{name: row[name] for name in list(schema)[:5]}, **_of_pool(pool, row, pools)}
        for row in frame.filter(pl.col("row") != "curve").iter_rows(named=True)
        for pool in pools
    ]
    return pl.DataFrame(rows, schema=schema)


def _of_pool(
    pool: Mapping[str, Any], row: Mapping[str, Any], pools: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    hours = json.loads(row["pool_gpu_hours"] or "{}").get(pool["name"])
    if hours is None and len(pools) == 1:
        hours = row["gpu_hours"]
    price = pool.get("price_per_hour")
    held = json.loads(row["clips"] or "{}").get(pool["name"], {})
    return {
        "pool": pool["name"], "role": pool["role"], "profile": pool["profile"],
        "gpu_hours": hours,
        "cost": None if hours is None or price is None else hours / pool["gpus"] * price,
        "held": float(sum(held.values())) if held else None,
        "guards": ", ".join(f"{name} {count:g}" for name, count in held.items()) or None,
    }  # fmt: skip


def _median(texts: Sequence[str], seeds: int) -> str | None:
    told = [flat(json.loads(text)) for text in texts]
    places = list(dict.fromkeys(place for one in told for place in one))
    if not places:
        return None
    made: dict[str, Any] = {}
    for place in places:
        values = [one[place] for one in told if place in one]
        values += [0.0] * max(seeds - len(texts), 0) if len(place) > 1 else []
        if len(place) > 1:
            values += [0.0] * (len(texts) - sum(place in one for one in told))
        at = made
        for name in place[:-1]:
            at = at.setdefault(name, {})
        at[place[-1]] = float(f"{statistics.median(values):.6g}")
    return json.dumps(made, sort_keys=True)
