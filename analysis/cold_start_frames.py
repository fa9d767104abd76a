"""The tables of the cold starts page: one row a start, a stretch, a group, a day."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from analysis.cold_start_phases import SHOWN, UNATTRIBUTED
from analysis.cold_start_starts import Start
from analysis.cold_start_warmth import Warmth

STARTS_SCHEMA: dict[str, Any] = {
    "instance": pl.String,
    "model": pl.String,
    "node": pl.String,
    "cache_state": pl.String,
    "began_at": pl.Datetime("us"),
    "ready_at": pl.Datetime("us"),
    "warm_at": pl.Datetime("us"),
    "outcome": pl.String,
    "ready_seconds": pl.Float64,
    "warm_seconds": pl.Float64,
    "expected_p50_seconds": pl.Float64,
    "expected_p90_seconds": pl.Float64,
    "full_speed_seconds": pl.Float64,
    "slow_requests": pl.Int64,
    **{f"{name}_seconds": pl.Float64 for name in SHOWN},
    "first_token_seconds": pl.Float64,
    "waited_request_seconds": pl.Float64,
    "ready_evidence": pl.String,
    "sources": pl.String,
}
SEGMENTS_SCHEMA: dict[str, Any] = {
    "start": pl.String,
    "instance": pl.String,
    "began_at": pl.Datetime("us"),
    "phase": pl.String,
    "start_seconds": pl.Float64,
    "seconds": pl.Float64,
    "source": pl.String,
}
GROUPS_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "node": pl.String,
    "cache_state": pl.String,
    "starts": pl.Int64,
    "ready": pl.Int64,
    "never_ready": pl.Int64,
    "ready_p50_seconds": pl.Float64,
    "ready_p95_seconds": pl.Float64,
    "warm_p50_seconds": pl.Float64,
    "slowest_phase": pl.String,
    "slowest_phase_mean_seconds": pl.Float64,
    "unattributed_ratio": pl.Float64,
}
DAYS_SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us"),
    "ready": pl.Int64,
    "never_ready": pl.Int64,
    "in_progress": pl.Int64,
}


_EXPECTED = ("place", "began_at", "expected_p50_seconds", "expected_p90_seconds")


def start_frame(
    found: Sequence[Start],
    costs: Sequence[float | None],
    expected: pl.DataFrame,
    warmths: Mapping[tuple[str, datetime], Warmth | None],
) -> pl.DataFrame:
    """One row a start, the newest first.

    Args:
        found: starts, oldest first.
        costs: request-seconds that waited during each.
        expected: place, began_at, expected_p50_seconds, expected_p90_seconds as said before it.
        warmths: by instance and beginning.
    """
    said = {
        (place, at): (middle, high) for place, at, middle, high in expected.select(_EXPECTED).rows()
    }
    rows = []
    for start, cost in zip(found, costs, strict=True):
        middle, high = said.get((start.place, start.began_at), (None, None))
        warm_up = warmths.get((start.instance, start.began_at))
        rows.append(start_row(start, cost, middle, high, warm_up))
    return pl.DataFrame(rows[::-1], schema=STARTS_SCHEMA)


def start_row(
    start: Start,
    waited: float | None,
    expected_p50: float | None,
    expected_p90: float | None,
    warm_up: Warmth | None,
) -> dict[str, Any]:
    """One start with its times, phases and who told them."""
    lengths = phase_seconds(start)
    told = sorted({f"{s.phase}: {s.source}" for s in start.segments if s.source})
    warm = (start.warm_at - start.began_at).total_seconds() if start.warm_at else None
    return {
        "instance": start.instance,
        "model": start.model,
        "node": start.node,
        "cache_state": start.cache_state,
        "began_at": start.began_at,
        "ready_at": start.ready_at,
        "warm_at": start.warm_at,
        "outcome": start.outcome,
        "ready_seconds": start.ready_seconds,
        "warm_seconds": warm,
        "expected_p50_seconds": expected_p50,
        "expected_p90_seconds": expected_p90,
        "full_speed_seconds": warm_up.warm_seconds if warm_up else None,
        "slow_requests": warm_up.requests if warm_up else None,
        **{f"{name}_seconds": lengths.get(name) for name in SHOWN},
        "first_token_seconds": start.first_token_seconds,
        "waited_request_seconds": waited,
        "ready_evidence": start.ready_evidence or None,
        "sources": ", ".join(told) or None,
    }


def phase_seconds(start: Start) -> dict[str, float]:
    """Seconds of each phase that was seen; unattributed is always there."""
    lengths: dict[str, float] = {UNATTRIBUTED: 0.0}
    for segment in start.segments:
        lengths[segment.phase] = lengths.get(segment.phase, 0.0) + segment.seconds
    return lengths


def segment_frame(found: Sequence[Start]) -> pl.DataFrame:
    """The stretches of each start, the newest start first."""
    rows = []
    for start in reversed(found):
        base = start.segments[0].started_us if start.segments else 0
        name = f"{start.instance} {start.began_at:%d %b %H:%M:%S}"
        for s in start.segments:
            offset = (s.started_us - base) / 1e6
            rows.append((name, start.instance, start.began_at, s.phase, offset, s.seconds, s.source or None))  # fmt: skip  # noqa: E501
    return pl.DataFrame(rows, schema=SEGMENTS_SCHEMA, orient="row")


def group_frame(found: Sequence[Start]) -> pl.DataFrame:
    """Distribution by model, node and cache state: they are never pooled."""
    keys = sorted({_key(start) for start in found}, key=str)
    rows = []
    for key in keys:
        members = [start for start in found if _key(start) == key]
        ready = [start for start in members if start.ready_seconds is not None]
        lengths = [start.ready_seconds or 0.0 for start in ready]
        warm = [(s.warm_at - s.began_at).total_seconds() for s in ready if s.warm_at]
        phase, mean = _slowest_phase(ready)
        whole = sum(lengths)
        lost = sum(phase_seconds(start)[UNATTRIBUTED] for start in ready)
        named: dict[str, Any] = dict(zip(("model", "node", "cache_state"), key, strict=True))
        rows.append(
            named
            | {
                "starts": len(members),
                "ready": len(ready),
                "never_ready": sum(s.outcome == "never ready" for s in members),
                "ready_p50_seconds": nearest_rank(lengths, 0.5),
                "ready_p95_seconds": nearest_rank(lengths, 0.95),
                "warm_p50_seconds": nearest_rank(warm, 0.5),
                "slowest_phase": phase,
                "slowest_phase_mean_seconds": mean,
                "unattributed_ratio": lost / whole if whole else None,
            }
        )
    return pl.DataFrame(rows, schema=GROUPS_SCHEMA)


def _key(start: Start) -> tuple[str | None, str | None, str]:
    return start.model, start.node, start.cache_state


def _slowest_phase(ready: Sequence[Start]) -> tuple[str | None, float | None]:
    sums: dict[str, float] = {}
    for start in ready:
        for name, seconds in phase_seconds(start).items():
            sums[name] = sums.get(name, 0.0) + seconds
    if not any(sums.values()):
        return None, None
    name = max(sums, key=lambda phase: sums[phase])
    return name, sums[name] / len(ready)


def nearest_rank(values: Sequence[float], q: float) -> float | None:
    """The smallest value with at least a share q of the values at or below it; None without any."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else None


def day_frame(found: Sequence[Start]) -> pl.DataFrame:
    """Starts by UTC day and outcome, days without one included."""
    if not found:
        return pl.DataFrame(schema=DAYS_SCHEMA)
    days = [s.began_at.replace(hour=0, minute=0, second=0, microsecond=0) for s in found]
    rows, day = [], min(days)
    while day <= max(days):
        outcomes = [s.outcome for s, d in zip(found, days, strict=True) if d == day]
        counts = (outcomes.count(name) for name in ("ready", "never ready", "in progress"))
        rows.append((day, *counts))
        day += timedelta(days=1)
    return pl.DataFrame(rows, schema=DAYS_SCHEMA, orient="row")
