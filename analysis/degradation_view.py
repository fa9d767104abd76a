"""How much of its isolated performance each instance gets now."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import polars as pl

from analysis.emptiness import why_empty
from analysis.measure import Empty, Measure, View
from store.queries import forecasts as queries
from store.queries.scope import LIVE_SOURCE_ID, Scope
from store.reader import Reader
from store.units import percent_text

# Below this, with all of the 90 % interval, an instance counts as slowed down.
SLOWED_BELOW = 0.9
_TRACE = "A trace records requests, not the state of the hosts that served them."
_NEVER = (
    "No instance's performance was estimated yet. It needs a trained degradation model "
    "(servescope lab run collects what it learns from, servescope train degradation trains "
    "it) and signals of the instance: engine, card or host."
)


def degradation_now(reader: Reader, scope: Scope) -> View:
    """The newest estimate of each instance in the range, the slowest first, with its interval.

    Performance is a ratio to the same load alone on the machine: 0.6 means that what takes 10 ms
    alone takes 16.7 ms.

    Measures: instances, slowed (the whole 90 % interval lies below 0.9), lowest_performance_ratio.
    Frames: `instances` (see `store.queries.forecasts.states`, with `state`: slowed, undisturbed or
    unclear), `course`.
    """
    found = queries.states(reader, scope).with_columns(state=_state())
    if found.is_empty():
        return View("degradation_now", scope, _measures(found), {}, (), _why_empty(reader, scope))
    frames = {
        "instances": found,
        "course": queries.state_course(
            reader, scope, scope.bin_seconds(120), found["horizon_seconds"].to_list()
        ),
    }
    return View("degradation_now", scope, _measures(found), frames, _sentences(found))


def _state() -> pl.Expr:
    return (
        pl.when(pl.col("was_fallback"))
        .then(pl.lit("unclear"))
        .when(pl.col("q95_ratio") < SLOWED_BELOW)
        .then(pl.lit("slowed"))
        .when(pl.col("q05_ratio") >= SLOWED_BELOW)
        .then(pl.lit("undisturbed"))
        .otherwise(pl.lit("unclear"))
    )


def _measures(found: pl.DataFrame) -> dict[str, Measure]:
    if found.is_empty():
        unknown = Measure(None, "ratio", why="no instance was looked at in this range")
        return {
            "instances": Measure(0.0, ""),
            "slowed": Measure(None, "", why=unknown.why),
            "lowest_performance_ratio": unknown,
        }
    worst = found.row(0, named=True)
    slowed = int((found["state"] == "slowed").sum())
    return {
        "instances": Measure(float(found.height), ""),
        "slowed": Measure(float(slowed), ""),
        "lowest_performance_ratio": Measure(
            worst["performance_ratio"], "ratio", worst["q05_ratio"], worst["q95_ratio"],
            why=f"{worst['instance']}, 90 % interval "
            f"{percent_text(worst['q05_ratio'], 0)} to {percent_text(worst['q95_ratio'], 0)}",
        ),
    }  # fmt: skip


def _sentences(found: pl.DataFrame) -> tuple[str, ...]:
    slowed = found.filter(pl.col("state") == "slowed")
    if slowed.is_empty():
        unclear = int((found["state"] == "unclear").sum())
        rest = f"; of {unclear} nothing sure can be said" if unclear else ""
        return (f"None of {found.height} instances is surely slowed down by its neighbours{rest}.",)
    return tuple(_words(row) for row in slowed.head(4).to_dicts())


def _words(row: dict[str, Any]) -> str:
    ahead = f" over the next {row['horizon_seconds']:.0f} s" if row["horizon_seconds"] else ""
    middle, low, high = (
        percent_text(row[name], 0) for name in ("performance_ratio", "q05_ratio", "q95_ratio")
    )
    return (
        f"{row['instance']} gets {middle} of what it would get alone{ahead} "
        f"(90 % interval {low} to {high})."
    )


def _why_empty(reader: Reader, scope: Scope) -> Empty:
    if LIVE_SOURCE_ID not in scope.source_ids:
        return Empty("metric_absent", _TRACE)
    rows, last_at = queries.ever(reader, scope, (queries.PERFORMANCE,))
    if rows and last_at is not None:
        last = last_at.replace(tzinfo=UTC)
        if scope.start <= last < scope.end:
            return Empty("no_traffic", "No instance with these labels was looked at here.", last)
        text = f"The last estimate was made at {last:%d %b %Y %H:%M} UTC."
        return Empty("outside_range", text, last)
    empty = why_empty(reader, scope)
    if empty is not None and empty.kind == "nothing_connected":
        return empty
    return Empty("metric_absent", _NEVER)
