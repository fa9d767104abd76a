"""What the numbers of a range say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import polars as pl

from analysis.measure import Measure
from analysis.slo_model import short_window
from analysis.workload.words import number_text, time_text
from store.queries.scope import Scope
from store.units import percent_text

_LATE_SECONDS = 900.0
_NOTABLE = 0.1


def sentences(
    measures: Mapping[str, Measure], frames: Mapping[str, pl.DataFrame], scope: Scope
) -> tuple[str, ...]:
    """How much ran and what of it was idle, who used most, and what changed."""
    return tuple(filter(None, (_all(measures, scope), _most(frames), _change(frames, scope),
                               _late(frames, scope), _assumed(frames))))  # fmt: skip


def _all(measures: Mapping[str, Measure], scope: Scope) -> str:
    hours, idle, cost = (measures[name] for name in ("gpu_hours", "idle_ratio", "cost"))
    parts = [f"{number_text(hours.value or 0.0)} GPU-hours ran in {short_window(scope.seconds)}"]
    if idle.value is not None:
        parts.append(f"{percent_text(idle.value, 0)} of them idle")
    if cost.value is not None:
        parts.append(f"{number_text(cost.value)} {cost.unit} in all")
        each = measures["cost_per_million_output_tokens"].value
        if each is not None:
            parts.append(f"{number_text(each)} {cost.unit} for a million output tokens")
    else:
        parts.append(f"what they cost is not known ({cost.why})")
    return f"{', '.join(parts)}."


def _most(frames: Mapping[str, pl.DataFrame]) -> str | None:
    tenants = frames["tenants"].filter((pl.col("kind") == "busy") & pl.col("tenant").is_not_null())
    busy = tenants["gpu_hours"].sum()
    if tenants.height < 2 or not busy:
        return None
    row = tenants.row(0, named=True)
    share = percent_text(row["gpu_hours"] / busy, 0)
    return f"Most was used by tenant {row['tenant']}: {share} of the busy time that is anybody's."


def _change(frames: Mapping[str, pl.DataFrame], scope: Scope) -> str | None:
    changes = dict(frames["trend"].select("quantity", "change_ratio").iter_rows())
    change = changes.get("gpu_hours")
    if change is None or abs(change) < _NOTABLE:
        return None
    more = "more" if change > 0 else "fewer"
    window = short_window(scope.seconds)
    return f"{percent_text(abs(change), 0)} {more} GPU-hours than in the {window} before."


def _late(frames: Mapping[str, pl.DataFrame], scope: Scope) -> str | None:
    times = frames["course"].select(pl.col("at").min()).rows()
    first: datetime = times[0][0]
    late = (first.replace(tzinfo=UTC) - scope.start).total_seconds()
    if late < max(_LATE_SECONDS, scope.seconds / 20):
        return None
    return f"Nothing is known before {time_text(first)} UTC."


def _assumed(frames: Mapping[str, pl.DataFrame]) -> str | None:
    guessed = frames["assumed"].filter(pl.col("gpus_from").str.starts_with("assumed"))
    if guessed.is_empty():
        return None
    names = ", ".join(guessed["pool"].head(4).to_list())
    return f"One card a replica is assumed of {names}: nobody told (cost.gpus)."
