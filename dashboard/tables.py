"""Frames as tables. Units are read off the column names, so every table says them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from dash import html

from dashboard.scene import Scene
from dashboard.text import heading, interval_text, unit_text
from dashboard.theme import attrs
from store.units import bytes_text, percent_text, seconds_text

ROW_LIMIT = 300

Cell = Callable[[Mapping[str, Any]], Any]

_UNITS = (("_seconds", "s"), ("_ratio", "ratio"), ("_bytes", "bytes"))


def unit_of(column: str) -> str | None:
    """The unit a column name ends in, for `text.unit_text`; None when it says none."""
    name = column.removesuffix("_low").removesuffix("_high")
    for suffix, unit in _UNITS:
        if name.endswith(suffix):
            return unit
    return None


def cell_text(column: str, value: Any, scene: Scene) -> str:
    """One value as text; unknown is a dash, never 0."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, datetime):
        return scene.when(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(column, value)
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    return str(value)


def _number(column: str, value: float) -> str:
    unit = unit_of(column)
    if unit == "s":
        return seconds_text(value)
    if unit == "ratio":
        return percent_text(value)
    if unit == "bytes":
        return bytes_text(value)
    return f"{value:,}" if isinstance(value, int) else unit_text(value, "")


def table(
    frame: pl.DataFrame,
    scene: Scene,
    *,
    columns: Sequence[str] = (),
    cells: Mapping[str, Cell] | None = None,
    heads: Mapping[str, str] | None = None,
    caption: str = "",
) -> html.Div:
    """A frame as a scrolling table with the same numbers as its picture.

    Pairs `x_low` and `x_high` become one column, an interval. At most `ROW_LIMIT` rows are drawn;
    the rest is in the CSV, and the table says so.

    Args:
        frame: what to show.
        scene: for times.
        columns: which columns, in which order; intervals by their name without
            `_low`. All if empty.
        cells: how to draw some columns, from the whole row.
        heads: other words for some heads.
        caption: what the table is, for screen readers.
    """
    names = list(columns) or _merged(frame.columns)
    makers = {name: (cells or {}).get(name) or _cell(name, frame, scene) for name in names}
    looks = {name: _align(name, frame) for name in names}
    head = html.Tr(
        [
            html.Th((heads or {}).get(n) or heading(n), scope="col", className=looks[n])
            for n in names
        ]
    )
    rows = [
        html.Tr([html.Td(makers[n](row), className=looks[n]) for n in names])
        for row in frame.head(ROW_LIMIT).iter_rows(named=True)
    ]
    parts: list[Any] = [
        html.Table(
            [
                html.Caption(caption, className="ss-visually-hidden"),
                html.Thead(head),
                html.Tbody(rows),
            ],
            className="ss-table",
        )
    ]
    if frame.height > ROW_LIMIT:
        parts.append(
            html.P(f"{ROW_LIMIT} of {frame.height:,} rows; the CSV has all.", className="ss-dim")
        )
    # A scrolling area must be reachable by keyboard.
    return html.Div(
        parts,
        className="ss-table-wrap",
        tabIndex=0,
        role="group",
        **attrs({"aria-label": caption or "table"}),
    )


def _merged(columns: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in columns:
        base = name.removesuffix("_low")
        if base != name and f"{base}_high" in columns:
            found.append(base)
        elif not (name.endswith("_high") and f"{name.removesuffix('_high')}_low" in columns):
            found.append(name)
    return found


def _is_numeric(name: str, frame: pl.DataFrame) -> bool:
    source = name if name in frame.columns else f"{name}_low"
    return source in frame.columns and frame.schema[source].is_numeric()


def _align(name: str, frame: pl.DataFrame) -> str:
    if _is_numeric(name, frame):
        return "ss-num"
    return "ss-time" if name in frame.columns and frame.schema[name].is_temporal() else ""


def _cell(name: str, frame: pl.DataFrame, scene: Scene) -> Cell:
    if name in frame.columns or f"{name}_low" not in frame.columns:
        return lambda row: cell_text(name, row.get(name), scene)

    def interval(row: Mapping[str, Any]) -> str:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return (
            "\N{EN DASH}"
            if low is None and high is None
            else interval_text(low, high, unit_of(name) or "")
        )

    return interval
