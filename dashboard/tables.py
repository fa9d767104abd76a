"""Frames as tables. Units are read off the column names, so every table says them alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from dash import html

from dashboard.row_counts import SHORTER, rows_told
from dashboard.rows_beside import Row, rows_beside
from dashboard.scene import Scene
from dashboard.text import heading, interval_text, unit_text
from dashboard.theme import attrs
from store.units import bytes_text, percent_text, seconds_text

ROW_LIMIT = 300
# Of tables that stand among others on a page for reading.
FEW_ROWS = 25

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
    other: pl.DataFrame | None = None,
    most: int = ROW_LIMIT,
    total: int | None = None,
    others: str = SHORTER,
) -> html.Div:
    """A frame as a scrolling table with the same numbers as its picture.

    Pairs `x_low` and `x_high` become one column, an interval. At most `most` rows are drawn; the
    table says how many there are and where.

    Args:
        frame: what to show.
        scene: for times.
        columns: which columns, in which order; intervals by their name without
            `_low`. All if empty.
        cells: how to draw some columns, from the whole row.
        heads: other words for some heads.
        caption: what the table is, for screen readers.
        other: the same table of what the page is compared with; found by itself where `frame` is
            one of the view's own.
        most: rows that are drawn.
        total: how many there are in all, where the view may hold the first of them only.
        others: where those are that the view has not.
    """
    names = list(columns) or _merged(frame.columns)
    looks = {name: _align(name, frame) for name in names}
    seconds, compared = _second_rows(frame, other, scene)
    doubled = {name for name in names if seconds is not None and looks[name] == "ss-num"}
    shown = frame.head(most)
    makers = {name: (cells or {}).get(name) or _cell(name, frame, scene) for name in names}
    head = _head(names, heads or {}, looks, doubled, compared)
    pairs = zip(shown.iter_rows(named=True), seconds or [None] * shown.height, strict=False)
    rows = [_row(names, makers, looks, row, second, doubled) for row, second in pairs]
    parts: list[Any] = [
        html.Table(
            [
                html.Caption(caption, className="ss-visually-hidden"),
                html.Thead(html.Tr(head)),
                html.Tbody(rows),
            ],
            className="ss-table",
        )
    ]
    if told := rows_told(shown.height, frame.height, total, others):
        parts.append(html.P(told, className="ss-dim ss-foot"))
    return _scrolling(parts, caption)


def _scrolling(parts: list[Any], caption: str) -> html.Div:
    """A scrolling area must be reachable by keyboard."""
    named = attrs({"aria-label": caption or "table"})
    return html.Div(parts, className="ss-table-wrap", tabIndex=0, role="group", **named)


def _second_rows(
    frame: pl.DataFrame, other: pl.DataFrame | None, scene: Scene
) -> tuple[Sequence[Row | None] | None, str]:
    """What stands beside each row, and what it is called; None where there is nothing."""
    if scene.beside is None:
        return None, ""
    other = scene.beside.like(frame) if other is None else other
    comparison = scene.beside.comparison
    found = None if other is None else rows_beside(frame, other, comparison.shift)
    return found, comparison.name


def _head(
    names: Sequence[str], heads: Mapping[str, str], looks: Mapping[str, str],
    doubled: Collection[str], compared: str,
) -> list[html.Th]:  # fmt: skip
    """The heads; behind that of a number which is compared, what it is compared with."""
    made = []
    for name in names:
        words = heads.get(name) or heading(name)
        made.append(html.Th(words, scope="col", className=looks[name]))
        if name in doubled:
            inside: Any = [words, html.Small(compared)]
            made.append(html.Th(inside, scope="col", className="ss-num is-beside"))
    return made


def _row(
    names: Sequence[str], makers: Mapping[str, Cell], looks: Mapping[str, str],
    row: Row, second: Row | None, doubled: Collection[str],
) -> html.Tr:  # fmt: skip
    """One row; behind each number that is compared stands the other's."""
    made = []
    for name in names:
        made.append(html.Td(makers[name](row), className=looks[name]))
        if name in doubled:
            said = makers[name](second) if second else "\N{EN DASH}"
            made.append(html.Td(said, className="ss-num is-beside"))
    return html.Tr(made)


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


def _moment(text: str) -> Any:
    """A time that breaks between its day and its hour only."""
    words = text.split(" ")
    hour = next((at for at, word in enumerate(words) if ":" in word), 0)
    if not hour:
        return text
    day, rest = (
        html.Span(" ".join(part), className="ss-nowrap") for part in (words[:hour], words[hour:])
    )
    return [day, " ", rest]


def _cell(name: str, frame: pl.DataFrame, scene: Scene) -> Cell:
    if name in frame.columns and frame.schema[name].is_temporal():
        return lambda row: _moment(cell_text(name, row.get(name), scene))
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
