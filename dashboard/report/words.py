"""Numbers, times and whole reports in words; what every form of a report shares."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

from analysis.measure import Measure
from analysis.reports import periods
from analysis.reports.coverage import instant
from analysis.reports.document import Column, Covered, Document, Number, Table
from dashboard.text import FEW_EVENTS, INTERVAL_EVENTS, number_text, shown, unit_text
from store.units import percent_text, signed_percent_text

_WHOLE = frozenset({"requests", "tokens", "replicas", "starts", "instances", "rows"})
# Units that stand in the head of a column, since every cell would repeat them.
_IN_HEAD = frozenset({"requests/s", "tokens/s", "h", "GPU-hours"})
SUMMARY_LINES = 5
LEAST_POINTS = 0.05
LEAST_SECONDS = 1e-7
"""What is left of a difference of sums below this is rounding."""


def number(one: Number) -> str:
    """A number with its unit, or what is known of it, as a tile of the dashboard shows it.

    Counts are written out, and their unit is left to the label beside them.
    """
    if one.value is not None and one.unit in _WHOLE:
        return cell(one.value, one.unit, "UTC")
    if one.value is not None and one.key.startswith("attainment."):
        return percent_text(one.value, 2)
    if one.value is not None and one.unit.endswith("/s"):
        return f"{number_text(one.value)} /s"
    return shown(_measure(one)).text


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return f"{text[:1].upper()}{text[1:]}"


def note(one: Number) -> str:
    """What must be known beside a number: interval and count of a few, or why it is unknown.

    Of many events the count is left to the number of requests: it would stand in every tile.
    """
    enough = INTERVAL_EVENTS if one.unit == "ratio" else FEW_EVENTS
    if one.value is not None and (one.n or 0) >= enough:
        return one.why or ""
    return shown(_measure(one)).note


def _measure(one: Number) -> Measure:
    return Measure(one.value, one.unit, one.low, one.high, one.n, one.why)


def change(one: Number) -> str:
    """How a number differs from the period before; "" when that is not known."""
    if one.value is None or one.before is None:
        return ""
    if one.unit == "ratio":
        points = (one.value - one.before) * 100
        if abs(points) < LEAST_POINTS:
            return "as before"
        sign = "+" if points >= 0 else "\N{MINUS SIGN}"
        return f"{sign}{abs(points):.1f} points"
    if one.before <= 0:
        return f"before: {unit_text(one.before, one.unit)}"
    moved = one.value / one.before - 1
    return "as before" if abs(moved) * 100 < LEAST_POINTS else signed_percent_text(moved)


def beside(one: Number) -> str:
    """What a change is told against, where the change alone does not say it."""
    return "" if change(one).startswith(("as before", "before:")) else " against the period before"


def head(column: Column) -> str:
    """The head of a column, with the unit where cells do not carry it."""
    return f"{column.label} ({column.unit})" if column.unit in _IN_HEAD else column.label


def cell(value: Any, unit: str, zone: str) -> str:
    """A value of a table; unknown is a dash, a time is on the clock of the report."""
    if value is None:
        return "\N{EN DASH}"
    at = instant(value) if unit == "time" else None
    if at is not None:
        return periods.moment(at, zone)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    return _amount(value, unit)


def _amount(value: float, unit: str) -> str:
    if unit == "attainment":
        return percent_text(value, 2)
    if unit == "s" and abs(value) < LEAST_SECONDS:
        return "0 s"
    if unit == "ratio" and value < 0:
        return f"\N{MINUS SIGN}{-value * 100:,.0f} %"
    if unit in _WHOLE:
        return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return number_text(value) if unit in _IN_HEAD or not unit else unit_text(value, unit)


def is_number(column: Column) -> bool:
    """Whether cells of a column are set to the right."""
    return column.unit not in ("text", "time")


def left_out(table: Table) -> str:
    """How many rows there were beyond those that are shown."""
    return f"{table.left_out:,} more {'is' if table.left_out == 1 else 'are'} left out."


def zone_words(covered: Covered) -> str:
    """Whose clock the period is of."""
    return "the trace's own clock" if covered.zone == periods.TRACE_CLOCK else covered.zone


def moment(at: datetime, covered: Covered) -> str:
    """A time on the clock of the report."""
    return periods.moment(at, covered.zone)


def scope(covered: Covered) -> str:
    """Whom the report is about."""
    labels = [f"{name} {value}" for name, value in covered.labels.items()]
    return ", ".join([*covered.sources, *labels])


def heading(document: Document) -> str:
    """Title and period."""
    return f"{document.title}: {document.covered.words}"


def file_stem(document: Document) -> str:
    """Name of its files without an ending; the same for the same template and period."""
    return f"{document.template}-{document.covered.key}"


def summary(document: Document) -> tuple[str, ...]:
    """The report in five lines at most."""
    if document.outcome == "skipped":
        return (heading(document), f"Skipped: {document.reason}")
    lines = [heading(document), document.verdict, *document.findings]
    return tuple(line for line in lines if line)[:SUMMARY_LINES]


def code(text: str) -> Markup:
    """Text as HTML, with what stands between backticks as code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return escape(text)
    marked = (
        Markup("<code>{}</code>").format(piece) if place % 2 else escape(piece)
        for place, piece in enumerate(pieces)
    )
    return Markup("").join(marked)
