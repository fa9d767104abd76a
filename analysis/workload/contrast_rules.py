"""Findings about how two sources of one scope differ."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import combinations

import polars as pl

from analysis.workload.finding_rules import (
    FEWEST_WINDOWS,
    Facts,
    Finding,
    doublings,
    source_names,
)
from analysis.workload.words import factor_text, number_text, short_names

# Below three times, two sources can share one plan; above, common numbers describe neither.
CONTRAST_RATIO = 3.0
# Counts three times as wide as Poisson's: a plan that assumes Poisson is short of capacity at once.
POISSON_FAILS_DISPERSION = 9.0
MOST_CONTRASTS = 3
MOST_SOURCES = 20

Part = tuple[str, str, float]


def contrasts(facts: Facts) -> Iterator[Finding]:
    """The pairs of sources that differ most in burstiness and in the mix of prompt and answer."""
    # Every pair of hundreds of sources would take longer than anybody reads.
    names = source_names(facts)[:MOST_SOURCES]
    short = short_names(names)
    found = [_contrast(facts, one, two, short) for one, two in combinations(names, 2)]
    yield from sorted((f for f in found if f), key=lambda f: -f.score)[:MOST_CONTRASTS]


def _contrast(facts: Facts, one: str, two: str, short: dict[str, str]) -> Finding | None:
    bursts = _indices(facts, one, two)
    a, b = (two, one) if bursts is not None and bursts[1] < bursts[2] else (one, two)
    told = {"burstiness": _burst(bursts, short[b]), "mix": _mix(facts, a, b)}
    parts = [part for part in told.values() if part is not None]
    if not parts:
        return None
    topics = tuple(topic for topic, part in told.items() if part is not None)
    than = "" if parts[0][0].startswith("arrives") else f" than {short[b]}"
    sentence = f"{short[a]} {' and '.join(part[0] for part in parts)}{than}"
    if bursts is not None and max(bursts[1:]) >= POISSON_FAILS_DISPERSION:
        sentence += "; a Poisson capacity plan would fail"
    evidence = "; ".join(part[1] for part in parts)
    command = f"servescope analyze {shlex.quote(a)} --compare {shlex.quote(b)}"
    score = sum(part[2] for part in parts)
    return Finding(score, f"{a}, {b}", sentence, evidence, command, topics)


def _indices(facts: Facts, one: str, two: str) -> tuple[float, float, float] | None:
    """The longest common window up to a minute (seconds), and the index of each at it."""
    frame = (
        facts["workload_burstiness"]
        .frames["dispersion"]
        .filter(
            (pl.col("windows") >= FEWEST_WINDOWS)
            & (pl.col("window_seconds") <= 60)
            & pl.col("index_of_dispersion").is_not_null()
        )
    )
    columns = ("window_seconds", "index_of_dispersion")
    mine, other = (frame.filter(pl.col("source") == name).select(columns) for name in (one, two))
    both = mine.join(other, on="window_seconds").sort("window_seconds")
    return both.row(-1) if both.height else None


def _burst(bursts: tuple[float, float, float] | None, than: str) -> Part | None:
    if bursts is None:
        return None
    window, high, low = bursts[0], max(bursts[1:]), min(bursts[1:])
    if low <= 0 or high < CONTRAST_RATIO * low:
        return None
    against = f"{number_text(high)} vs {number_text(low)} at {window:g} s"
    words = f"arrives {factor_text(high / low)} burstier than {than} (dispersion {against})"
    evidence = f"index of dispersion {against}, full windows (workload_burstiness)"
    return words, evidence, doublings(high / low, CONTRAST_RATIO)


def _mix(facts: Facts, a: str, b: str) -> Part | None:
    frame = facts["workload_lengths"].frames["summary"].filter(pl.col("field") == "input_tokens")
    rows = {row["source"]: row for row in frame.iter_rows(named=True)}
    if a not in rows or b not in rows:
        return None
    mine, other = (rows[name]["output_to_input_ratio"] for name in (a, b))
    if not mine or not other:
        return None
    kind = "prefill" if mine < other else "decode"
    times = max(mine / other, other / mine)
    if times < CONTRAST_RATIO:
        return None
    against = f"{number_text(mine)} vs {number_text(other)}"
    words = f"is {factor_text(times)} more {kind}-heavy (output/input {against})"
    sizes = f"{rows[a]['requests']:,} and {rows[b]['requests']:,} requests"
    evidence = f"output/input tokens {against} over {sizes} (workload_lengths)"
    return words, evidence, doublings(times, CONTRAST_RATIO)
