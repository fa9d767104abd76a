"""Numbers, tables and charts of a report, taken as they are from documents of views."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.reports.asking import ViewDocument
from analysis.reports.document import Chart, Column, Line, Number, Table

MOST_ROWS = 10
_NEXT_SENTENCE = re.compile(r"(?<=[.?!]) (?=[A-Z])")
Row = Mapping[str, Any]


def rows_of(view: ViewDocument, frame: str) -> list[dict[str, Any]]:
    """Rows of a frame; none when the view has none."""
    found: list[dict[str, Any]] = view["frames"].get(frame, {}).get("rows", [])
    return found


def is_empty(view: ViewDocument) -> bool:
    """Whether a view says that there is nothing to show."""
    return view.get("empty") is not None


def empty_text(view: ViewDocument) -> str:
    """Why a view is empty, in one sentence; what to do about it is for its page."""
    text = str(view["empty"]["text"]) if view.get("empty") else "There is nothing to show."
    return sentence(_NEXT_SENTENCE.split(text, maxsplit=1)[0])


def value(view: ViewDocument, measure: str) -> float | None:
    """A measure's value; None when it is unknown or the view has none of the name."""
    found = view["measures"].get(measure)
    return None if found is None else found["value"]


def number(
    view: ViewDocument, key: str, label: str, before: ViewDocument | None = None
) -> Number | None:
    """A measure of a view, beside that of the period before; None when there is no such measure."""
    found = view["measures"].get(key)
    if found is None:
        return None
    return Number(
        key, label, found["value"], found["unit"], found["low"], found["high"], found["n"],
        found["why"], None if before is None else value(before, key), view["view"],
    )  # fmt: skip


def numbers(
    view: ViewDocument, labels: Mapping[str, str], before: ViewDocument | None = None
) -> tuple[Number, ...]:
    """Those measures of a view that are known in one way or another, in the order of `labels`."""
    found = (number(view, key, label, before) for key, label in labels.items())
    return tuple(one for one in found if one is not None and is_known(one))


def is_known(one: Number) -> bool:
    """Whether a number says anything: a value, or at least an interval."""
    return not (one.value is None and one.low is None and one.high is None)


def table(
    view: ViewDocument,
    frame: str,
    title: str,
    columns: Sequence[Column],
    rows: Iterable[Row] | None = None,
    most: int = MOST_ROWS,
) -> tuple[Table, ...]:
    """The first rows of a frame, without columns of which nothing is known; () without rows.

    Args:
        view: where it is.
        frame: its name.
        title: a sentence or question.
        columns: what is shown of it.
        rows: of the frame, chosen or sorted; None takes all as they are.
        most: rows that are shown.
    """
    found = list(rows_of(view, frame) if rows is None else rows)
    shown = found[:most]
    told = [one for one in columns if any(row[one.key] is not None for row in shown)]
    if not shown or not told:
        return ()
    cells = tuple(tuple(row[one.key] for one in told) for row in shown)
    return (Table(frame, title, tuple(told), cells, len(found) - len(shown), view["view"]),)


def over_time(
    view: ViewDocument,
    frame: str,
    title: str,
    series: Mapping[str, str],
    unit: str,
    summary: str,
    *,
    rows: Sequence[Row] | None = None,
    limit: float | None = None,
    limit_label: str = "",
) -> tuple[Chart, ...]:
    """Columns of a frame over its column `at`; () when nothing of it is known.

    Args:
        view: where it is.
        frame: its name.
        title: a sentence or question.
        series: column -> name; those of which nothing is known are left out.
        unit: of all of them.
        summary: what the picture shows.
        rows: of the frame, chosen; None takes all.
        limit: a line across.
        limit_label: what it is.
    """
    found = rows_of(view, frame) if rows is None else rows
    times = tuple(row["at"] for row in found)
    lines = tuple(
        Line(name, times, tuple(row[column] for row in found))
        for column, name in series.items()
        if sum(row[column] is not None for row in found) > 1
    )
    if not lines:
        return ()
    return (Chart(frame, title, "line", unit, lines, summary, limit, limit_label, view["view"]),)


def bars(
    view: ViewDocument,
    frame: str,
    title: str,
    named: str,
    column: str,
    unit: str,
    summary: str,
    rows: Sequence[Row] | None = None,
    most: int = MOST_ROWS,
) -> tuple[Chart, ...]:
    """One bar a row; () without rows whose value is known."""
    found = rows_of(view, frame) if rows is None else rows
    known = [row for row in found[:most] if row[column] is not None]
    if not known:
        return ()
    names = tuple(str(row[named]) for row in known)
    line = Line(column, names, tuple(float(row[column]) for row in known))
    return (Chart(frame, title, "bar", unit, (line,), summary, view=view["view"]),)


def change(now: float | None, before: float | None) -> float | None:
    """Now / before - 1; None when either is unknown or before is not above 0."""
    if now is None or before is None or before <= 0:
        return None
    return now / before - 1


def sentence(text: str) -> str:
    """The text with a full stop; what it begins with may be a name, so that stays as it is."""
    text = text.strip()
    return text + ("" if text.endswith((".", "?", "!")) else ".")


def thinned(rows: Sequence[Row], most: int = 240) -> list[Row]:
    """At most about `most` rows: every n-th, and always the first and the last."""
    step = max(1, -(-len(rows) // most))
    kept = list(rows[::step])
    if rows and kept[-1] is not rows[-1]:
        kept.append(rows[-1])
    return kept
