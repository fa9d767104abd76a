"""What-if: which numbers are shown, in which order, and how each stands with its range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from dash import html

from analysis.measure import View
from dashboard.text import interval_text, unit_text

# column -> words, unit
NUMBERS: Mapping[str, tuple[str, str]] = {
    "attainment_ratio": ("Attainment", "ratio"),
    "gpu_hours": ("GPU-hours", ""),
    "cost": ("Cost", ""),
    "ttft_p95_seconds": ("TTFT p95", "s"),
    "ttft_p99_seconds": ("TTFT p99", "s"),
    "tpot_p95_seconds": ("TPOT p95", "s"),
    "tpot_p99_seconds": ("TPOT p99", "s"),
    "refused_ratio": ("Refused", "ratio"),
    "regret_static_ratio": ("Against fixed", "ratio"),
    "regret_static_cost_ratio": ("Cost against fixed", "ratio"),
}


def leads_by_cost(view: View) -> bool:
    """Whether money is compared: cards of several types have prices, their hours are unlike."""
    measure = view.measures.get("ranks_by_cost")
    return measure is not None and measure.value == 1.0


def numbers_of(frame: pl.DataFrame, *, by_cost: bool, is_short: bool = False) -> list[str]:
    """Names of the numbers that are known, the one that is compared right after attainment.

    Args:
        frame: rows of results.
        by_cost: whether money is compared.
        is_short: whether one quantile of the tail is enough; replays of before kept p99 alone.
    """
    known = [name for name in NUMBERS if name in frame.columns and frame[name].is_not_null().any()]
    left_out = "regret_static_ratio" if by_cost else "regret_static_cost_ratio"
    kept = [name for name in known if name != left_out]
    if is_short:
        shorter = {name.replace("_p95_", "_p99_") for name in kept if "_p95_" in name}
        kept = [name for name in kept if name not in shorter]
    lead = "cost" if by_cost else "gpu_hours"
    first = [name for name in ("attainment_ratio", lead) if name in kept]
    return [*first, *(name for name in kept if name not in first)]


def spread(row: Mapping[str, Any], name: str, unit: str, prefix: str = "") -> Any:
    """A median with its range over the seeds; never alone."""
    base = prefix or name
    value, low, high = row[base], row[f"{base}_low"], row[f"{base}_high"]
    if value is None or low is None or high is None:
        return "\N{EN DASH}"
    told = interval_text(low, high, unit)
    told = "all seeds" if told == unit_text(low, unit) else told
    # Two lines: seven such numbers have to stand beside one another.
    return html.Span(
        [html.Strong(_number(value, unit)), html.Span(told, className="ss-range")],
        className="ss-spread",
    )


def _number(value: float, unit: str) -> str:
    """With its unit; what rounds to nothing has no sign."""
    text = unit_text(value, unit)
    return text.removeprefix("-") if not any(digit in text for digit in "123456789") else text
