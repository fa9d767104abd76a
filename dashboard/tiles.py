"""Tiles: one number each, with its unit, what to know about it, and its course."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html

from analysis.measure import Measure
from dashboard.cards import part_id
from dashboard.figures.sparkline import sparkline
from dashboard.text import Shown, shown, split_unit


def tile(
    label: str,
    measure: Measure | None,
    *,
    series: Sequence[float | None] = (),
    href: str = "",
    tone: str = "",
) -> Any:
    """One number with its unit, what to know about it, and a small picture of its course.

    Args:
        label: what it is.
        measure: the number; unknown is said, with the reason.
        series: its course over the range, for a sparkline.
        href: where a click leads.
        tone: "bad" or "good" to colour it; ignored while unknown.
    """
    said = shown(measure)
    return tile_of(label, said, sparkline(series), href, tone)


def tile_of(label: str, said: Shown, picture: str | None, href: str, tone: str) -> Any:
    """A tile from its words."""
    parts: list[Any] = [html.Span(label, className="ss-tile-label")]
    number, unit = split_unit(said.text) if said.certainty != "unknown" else (said.text, "")
    if unit in label.lower().split():  # "Requests: 28.2k", not "28.2k requests"
        unit = ""
    value: Any = [number, html.Small(f" {unit}")] if unit else number
    parts.append(html.Span(value, className=f"ss-tile-value is-{said.certainty}"))
    parts.append(
        html.Span(said.note or "\N{NO-BREAK SPACE}", className="ss-tile-note", title=said.note)
    )
    if picture:
        parts.append(html.Img(src=picture, alt="", className="ss-spark"))
    tone_class = f" tone-{tone}" if tone and said.certainty != "unknown" else ""
    if href:
        return html.A(parts, href=href, className=f"ss-tile{tone_class}")
    return html.Div(parts, className=f"ss-tile{tone_class}")


def tiles(*made: Any, key: str = "tiles") -> html.Div:
    """Tiles in even rows: the style sheet knows how many columns so many tiles want."""
    return html.Div(list(made), className=f"ss-tiles of-{len(made)}", id=part_id(key))
