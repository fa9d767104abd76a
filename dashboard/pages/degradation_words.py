"""Degradation: factors as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dash import html

from dashboard.text import number_text

_DASH = "\N{EN DASH}"


def factor_text(value: float | None) -> str:
    """How many times as long; a dash when unknown."""
    return _DASH if value is None else f"{number_text(value)}\N{MULTIPLICATION SIGN}"


def slowed(row: Mapping[str, Any]) -> Any:
    """The slowdown with its interval, where there is one."""
    value = row["slowdown_factor"]
    if value is None:
        return _DASH
    low, high = row["slowdown_factor_low"], row["slowdown_factor_high"]
    parts: list[Any] = [html.Strong(factor_text(value))]
    if low is not None and high is not None:
        parts.append(f" ({number_text(low)} to {number_text(high)})")
    return html.Span(parts, className="ss-nowrap")
