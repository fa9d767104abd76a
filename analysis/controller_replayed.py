"""What a replay says the policy of each pool would have cost and kept: a course of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from analysis import replay_frames
from store.queries import replays as queries
from store.reader import Reader

# Of so many of the newest comparisons, those of the pools are looked for.
MOST_LOOKED_AT = 30
_NUMBERS = ("attainment_ratio", "gpu_hours", "cost", "regret_static_ratio")
SCHEMA: Mapping[str, Any] = {
    "pool": pl.String, "replay_id": pl.String, "created_at": pl.Datetime("us"),
    "trace": pl.String, "pools": pl.Int64, "policy": pl.String, "title": pl.String,
    "seeds": pl.Int64,
    **{f"{name}{end}": pl.Float64 for name in _NUMBERS for end in ("", "_low", "_high")},
    "is_validated": pl.Boolean, "validity": pl.String, "fit_error_median_ratio": pl.Float64,
    "fit_error_p99_ratio": pl.Float64,
}  # fmt: skip


def replayed(reader: Reader, policies: Mapping[str, str | None]) -> pl.DataFrame:
    """The newest finished comparison that holds a pool and the policy that decides it, by pool.

    Its numbers are of all pools of that comparison together: medians with their range over seeds.
    A comparison of one seed says nothing and is left out.

    Args:
        reader: the store.
        policies: the policy that decides, by pool; None where nothing was decided yet.

    Returns:
        Columns of `SCHEMA`; pools without such a comparison have no row.
    """
    listed = queries.listed(reader, limit=MOST_LOOKED_AT).filter(pl.col("state") == "done")
    found: dict[str, dict[str, Any]] = {}
    for run in listed.iter_rows(named=True):
        held = _pools(run["fleet"])
        wanted = [pool for pool in held if policies.get(pool) and pool not in found]
        if not wanted:
            continue
        summary = replay_frames.summary(
            queries.outcomes(reader, run["replay_id"]), run["goal_ratio"]
        )
        for pool in wanted:
            row = _row_of(summary, str(policies[pool]))
            if row is not None:
                kept = {name: row[name] for name in SCHEMA if name in row}
                kept |= {name: run[name] for name in SCHEMA if name in run}
                found[pool] = {"pool": pool, "pools": len(held), **kept}
        if len(found) == len(policies):
            break
    return pl.DataFrame(
        [{name: found[pool].get(name) for name in SCHEMA} for pool in sorted(found)],
        schema=dict(SCHEMA),
    )


def _pools(fleet: str | None) -> list[str]:
    return [str(one["name"]) for one in json.loads(fleet).get("pools", [])] if fleet else []


def _row_of(summary: pl.DataFrame, policy: str) -> dict[str, Any] | None:
    """What the policy came to, as it is shipped or as it is configured."""
    name = pl.col("policy").str.split("(").list.first()
    rows = summary.filter(
        (pl.col("row") == "default") & (name == policy.partition("(")[0])
        & pl.col("gpu_hours").is_not_null()
    )  # fmt: skip
    return None if rows.is_empty() else rows.row(0, named=True)
