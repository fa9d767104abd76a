"""Predictors: skill, coverage and verdict as cells of a table, never without their interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dash import html

from store.units import percent_text, signed_percent_text

LOOKS = {
    "better": ("good", "▲"),
    "worse": ("bad", "▼"),
    "no difference seen": ("watch", "="),
    "too few outcomes": ("none", "…"),
    # No trained model: the rival is all there is.
    "history answers": ("none", "○"),
}


def verdict_cell(row: Mapping[str, Any]) -> html.Span:
    """A verdict as a chip; its word says what its colour says."""
    look, glyph = LOOKS[row["verdict"]]
    return html.Span(f"{glyph} {row['verdict']}", className=f"ss-status is-{look}")


def skill_cell(row: Mapping[str, Any]) -> Any:
    """Skill with its interval, or a dash."""
    if row["skill_ratio"] is None:
        return "\N{EN DASH}"
    words = signed_percent_text(row["skill_ratio"])
    if row.get("skill_low") is None:
        return words
    ends = f"{signed_percent_text(row['skill_low'])} to {signed_percent_text(row['skill_high'])}"
    return html.Span([html.Strong(words), f" ({ends})"], className="ss-nowrap")


def covered(row: Mapping[str, Any]) -> Any:
    """Share of outcomes below the 0.9 quantile with its interval, or a dash."""
    if row["coverage_q90_ratio"] is None:
        return "\N{EN DASH}"
    ends = " to ".join(percent_text(row[f"coverage_q90_{end}"], 0) for end in ("low", "high"))
    words = f"{percent_text(row['coverage_q90_ratio'], 0)} ({ends})"
    return html.Span(words, className="ss-nowrap")
