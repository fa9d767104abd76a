"""A report as data: every sentence, number, table and chart that its readers will see.

Made by `analysis.reports.making.make` from view documents alone, and rendered by
`dashboard.report`. Values are plain JSON values, so that a document can be written and read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

SCHEMA = "servescope.report/1"

Outcome = Literal["made", "skipped"]
ChartKind = Literal["line", "bar"]


@dataclass(frozen=True, slots=True)
class Number:
    """One number with its unit, beside that of the period before.

    Attributes:
        key: name of the measure in its view.
        label: what it is, for people.
        value: in `unit`; None when unknown. Unknown is never 0.
        unit: as of `analysis.measure.Measure`.
        low: lower end of its interval.
        high: upper end of its interval.
        n: number of events behind it.
        why: why it is unknown, or what must be known beside it.
        before: the same number in the period before; None when unknown.
        view: key of `analysis.views.VIEWS` that it was taken from; "" when none alone.
    """

    key: str
    label: str
    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    n: int | None = None
    why: str | None = None
    before: float | None = None
    view: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: `key` as in the view, `label` for people, `unit` as of a measure.

    The unit "time" means ISO 8601 text, "text" any words, and "attainment" a ratio of which
    hundredths of a percent matter.
    """

    key: str
    label: str
    unit: str = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people: the most important first.

    Attributes:
        key: unique within the section; names the CSV file.
        title: a sentence or question.
        columns: from left to right.
        rows: values in the order of the columns.
        left_out: rows there were beyond these.
        view: where it was taken from.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    left_out: int = 0
    view: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a chart; a None in `y` is a gap, never 0."""

    name: str
    x: tuple[Any, ...]
    y: tuple[float | None, ...]
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture as data.

    Attributes:
        key: unique within the section.
        title: a sentence or question.
        kind: "line" over time, or "bar" over names.
        unit: of the y axis, as of a measure.
        lines: at most four.
        summary: what the picture shows, in one sentence; its text alternative.
        limit: a line across, such as a target, in `unit`; None draws none.
        limit_label: what it is.
        view: where it was taken from.
    """

    key: str
    title: str
    kind: ChartKind
    unit: str
    lines: tuple[Line, ...]
    summary: str
    limit: float | None = None
    limit_label: str = ""
    view: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """A sentence that may stand on the first screen.

    Attributes:
        weight: how much it matters, 0 to 100: from 80 something is broken, from 50 it is getting
            worse, below it is worth knowing.
        text: one sentence.
    """

    weight: float
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report, with one question.

    Attributes:
        key: name in a template.
        title: for people.
        verdict: one to three sentences, the most important first.
        numbers: single numbers.
        tables: with their rows.
        charts: with their points.
        empty: why there is nothing to say, in one sentence; None when there is.
        notes: what must be known to read it right.
        findings: what of it may stand on the first screen.
        advice: what to do.
        problem: why a part of it could not be computed; None when nothing went wrong.
        path: page of the dashboard that shows the same, such as "slo"; None where none does.
    """

    key: str
    title: str
    verdict: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    empty: str | None = None
    notes: tuple[str, ...] = ()
    findings: tuple[Point, ...] = ()
    advice: tuple[Point, ...] = ()
    problem: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Covered:
    """What a report is about, in time and labels.

    Attributes:
        kind: "daily", "weekly", "monthly" or "incident".
        key: of the period, such as "2026-W46"; the same period has the same key for ever.
        start: aware UTC, inclusive.
        end: exclusive.
        zone: IANA name in which the period begins and ends, or that of a trace's own clock.
        words: the period for people, such as "week 46 of 2026, 9 Nov to 15 Nov 2026".
        sources: names.
        labels: what was filtered by, such as {"model": "llama-70b"}.
        first_at: first record there is within the period; None when there is none or not known.
        last_at: last record there is within the period.
    """

    kind: str
    key: str
    start: datetime
    end: datetime
    zone: str
    words: str
    sources: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    first_at: datetime | None = None
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report.

    Attributes:
        template: name of the template.
        title: for people.
        covered: what it is about.
        made_at: when (aware UTC).
        version: of servescope.
        verdict: the one sentence for who reads only one.
        findings: at most three sentences, best first.
        advice: at most three things to do.
        numbers: the few that everybody looks for.
        sections: in the order of the template.
        notes: what must be known before anything is read, such as how much is covered.
        outcome: "skipped" when no section has anything to say.
        reason: why it was skipped; "" when it was not.
        link: address of the dashboard for this period; None where no server is known.
    """

    template: str
    title: str
    covered: Covered
    made_at: datetime
    version: str
    verdict: str
    findings: tuple[str, ...]
    advice: tuple[str, ...]
    numbers: tuple[Number, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()
    outcome: Outcome = "made"
    reason: str = ""
    link: str | None = None
