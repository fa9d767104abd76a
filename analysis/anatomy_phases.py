"""The mean phase stack over time, and the anatomy of the tail.

Means of phases add up to the mean of the whole; percentiles do not, so none is stacked here. What
the phases leave of E2E is *unattributed*: shown as it is, never spread over the others.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis import anatomy_scraped, anatomy_sql
from analysis.anatomy_stack import PARTS, STACK_SCHEMA, with_unattributed
from analysis.emptiness import why_empty
from analysis.measure import Empty, Measure, View
from store.queries import phases as queries
from store.queries.log_bins import lower_edge_seconds, upper_edge_seconds
from store.queries.phase_sql import PHASES
from store.queries.scope import Scope
from store.reader import Reader
from store.units import percent_text, seconds_text

TAIL_SCHEMA: dict[str, Any] = {
    "group": pl.String,
    "e2e_low_seconds": pl.Float64,
    "e2e_high_seconds": pl.Float64,
    **{f"{name}_seconds": pl.Float64 for name in (*PARTS, "e2e")},
    "requests": pl.Int64,
}
# Ranks by E2E that the tail is cut at.
RANKS = (0.0, 0.5, 0.9, 0.99, 1.0)
GROUPS = ("0-50 %", "50-90 %", "90-99 %", "99-100 %")
DERIVED = {"prefill": "prefill is TTFT - queue", "decode": "decode is E2E - TTFT"}
NAMES = {
    "queue": "queueing",
    "prefill": "prefill",
    "first_token": "the way to the first token",
    "decode": "decoding",
    "unattributed": "what no phase explains",
}


def latency_phases(reader: Reader, scope: Scope) -> View:
    """Mean time of each phase, over time and in all.

    Measures: mean of each phase and of E2E. Frame: `stack` (`STACK_SCHEMA`).
    """
    width = scope.bin_seconds(240)
    sums = queries.phase_sums_by_time(reader, scope, width)
    if sums.is_empty():
        return _from_scrapes(reader, scope, width)
    return View(
        "latency_phases",
        scope,
        measures=means(sums),
        frames={"stack": stack(sums)},
        sentences=tuple(_told_words(sums)),
        sql={"stack": anatomy_sql.phases(scope, width)},
    )


def latency_tail(reader: Reader, scope: Scope) -> View:
    """Mean time of each phase by rank of the whole duration: what makes the slowest slow.

    Frame: `tail` (`TAIL_SCHEMA`).
    """
    ranked = tail(queries.phase_sums_by_e2e(reader, scope))
    empty = None
    if ranked.is_empty():
        empty = why_empty(reader, scope, "e2e_seconds") or _no_durations()
    return View(
        "latency_tail",
        scope,
        frames={"tail": ranked},
        sentences=tuple(tail_words(ranked)),
        empty=empty,
        sql={"tail": anatomy_sql.tail(scope)},
    )


def _from_scrapes(reader: Reader, scope: Scope, width: int) -> View:
    """Means from the sums and counts of engine histograms; no rows are needed."""
    stacked = anatomy_scraped.mean_stack(reader, scope, width)
    frames = {"stack": stacked}
    if stacked.is_empty():
        empty = why_empty(reader, scope, "e2e_seconds") or _no_durations()
        return View("latency_phases", scope, frames=frames, empty=empty)
    words = (
        "From the engines' own sums and counts: means of the requests that finished in each bin.",
    )
    return View("latency_phases", scope, frames=frames, sentences=words)


def _no_durations() -> Empty:
    return Empty("metric_absent", "No successful request here carries its whole duration.")


def means(sums: pl.DataFrame) -> dict[str, Measure]:
    """Mean of every phase over the whole range."""
    total = sums.select(pl.all().exclude("at", "log_bin").sum())
    row = with_unattributed(total).row(0, named=True)
    n = int(row["requests"])
    found = {}
    for name in (*PARTS, "e2e"):
        unknown = name in PHASES and sums[name].null_count() == sums.height
        value = None if unknown or not n else row[name] / n
        why = f"no row tells {NAMES[name]} apart" if unknown else None
        found[f"{name}_mean_seconds"] = Measure(value, "s", n=n, why=why)
    return found


def stack(sums: pl.DataFrame) -> pl.DataFrame:
    """Mean phases by time from their sums; a phase no row knows is null, not 0."""
    return (
        with_unattributed(sums)
        .select(
            "at",
            *(
                (pl.col(name) / pl.col("requests")).alias(f"{name}_seconds")
                for name in (*PARTS, "e2e")
            ),
            "requests",
        )
        .cast(STACK_SCHEMA)  # type: ignore[arg-type]
        .sort("at")
    )  # fmt: skip


def tail(sums: pl.DataFrame) -> pl.DataFrame:
    """Mean phases of the requests of each rank by E2E.

    Ranks are known by logarithmic bins; a bin that a rank cuts gives each side its share, so that
    the groups hold exactly their share of the requests.

    Args:
        sums: as returned by `store.queries.phases.phase_sums_by_e2e`.
    """
    ordered = with_unattributed(sums).sort("log_bin")
    total = int(ordered["requests"].sum())
    if not total:
        return pl.DataFrame(schema=TAIL_SCHEMA)
    ends = pl.col("requests").cum_sum()
    ranked = ordered.with_columns(last=ends, first=ends - pl.col("requests"))
    rows = [
        _group(ranked, label, low * total, high * total)
        for label, low, high in zip(GROUPS, RANKS, RANKS[1:], strict=False)
    ]
    return pl.DataFrame([row for row in rows if row], schema=TAIL_SCHEMA)


def _group(ranked: pl.DataFrame, label: str, low: float, high: float) -> dict[str, Any] | None:
    inside = (
        pl.min_horizontal(pl.col("last"), pl.lit(high))
        - pl.max_horizontal(pl.col("first"), pl.lit(low))
    ).clip(lower_bound=0.0)
    held = ranked.with_columns(share=inside / pl.col("requests")).filter(pl.col("share") > 1e-12)
    requests = float((held["share"] * held["requests"]).sum())
    if held.is_empty() or requests < 0.5:
        return None
    row: dict[str, Any] = {
        "group": label,
        "e2e_low_seconds": lower_edge_seconds(int(held["log_bin"][0])),
        "e2e_high_seconds": upper_edge_seconds(int(held["log_bin"][-1])),
        "requests": round(requests),
    }
    for name in (*PARTS, "e2e"):
        known = held[name].null_count() < held.height
        row[f"{name}_seconds"] = (
            float((held[name] * held["share"]).sum()) / requests if known else None
        )
    return row  # fmt: skip


def tail_words(ranked: pl.DataFrame) -> list[str]:
    """What makes the slowest hundredth slow, compared with the faster half."""
    if ranked.height < 2 or ranked["group"][0] != GROUPS[0] or ranked["group"][-1] != GROUPS[-1]:
        return []
    fast, slow = ranked.row(0, named=True), ranked.row(-1, named=True)
    excess = slow["e2e_seconds"] - fast["e2e_seconds"]
    if excess <= 0:
        return []
    grown = {
        name: (slow[f"{name}_seconds"] or 0.0) - (fast[f"{name}_seconds"] or 0.0) for name in PARTS
    }
    worst = max(grown, key=lambda name: grown[name])
    share = percent_text(min(1.0, grown[worst] / excess))
    return [
        f"The slowest 1 % take {seconds_text(slow['e2e_seconds'])} on average where the faster half"
        f" take {seconds_text(fast['e2e_seconds'])}; {share} of the difference is {NAMES[worst]}."
    ]


def _told_words(sums: pl.DataFrame) -> list[str]:
    """How the phases are known, and whether they fit into the whole."""
    total = with_unattributed(sums.select(pl.all().exclude("at").sum())).row(0, named=True)
    words = []
    derived = [
        text
        for name, text in DERIVED.items()
        if total[name] and total[f"{name}_told"] < total["requests"]
    ]  # fmt: skip
    if derived:
        words.append(f"Where rows do not carry the phase itself, {' and '.join(derived)}.")
    if total["unattributed"] < -0.001 * total["e2e"]:
        words.append(
            "The phases add up to more than the whole: the engine measures them on another clock."
        )
    return words
