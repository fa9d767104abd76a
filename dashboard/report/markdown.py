"""A report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from analysis.reports.document import Chart, Document, Number, Section, Table
from dashboard.report import words

_CODE = re.compile(r"(`[^`]+`)")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")


def rendered(document: Document) -> bytes:
    """Headings, sentences and tables; charts are left out, their sentences stay."""
    return ("\n".join(_lines(document)).rstrip() + "\n").encode()


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def coded(text: str) -> str:
    """The same, with what stands between backticks as code."""
    pieces = _CODE.split(" ".join(text.split()))  # every second one is code
    shown = (one if at % 2 else _SPECIAL.sub(r"\\\1", one) for at, one in enumerate(pieces))
    return "".join(shown)


def _lines(document: Document) -> Iterator[str]:
    covered = document.covered
    yield f"# {escaped(words.heading(document))}"
    yield ""
    yield f"{escaped(words.scope(covered))} · {escaped(words.zone_words(covered))}"
    yield ""
    if document.outcome == "skipped":
        yield f"Skipped: {escaped(document.reason)}"
        return
    yield f"**{escaped(document.verdict)}**"
    yield ""
    yield from _list("Findings", document.findings)
    yield from _list("What to do", document.advice)
    yield from (f"> {escaped(text)}\n" for text in document.notes)
    for section in document.sections:
        if section.empty is None:
            yield from _section(section, covered.zone)
    yield from _silent([section for section in document.sections if section.empty is not None])
    yield f"Made {words.moment(document.made_at, covered)} by servescope {document.version}."


def _list(title: str, texts: Sequence[str]) -> Iterator[str]:
    if texts:
        yield f"## {title}"
        yield ""
        yield from (f"{place}. {coded(text)}" for place, text in enumerate(texts, 1))
        yield ""


def _section(section: Section, zone: str) -> Iterator[str]:
    yield f"## {section.title}"
    yield ""
    yield from (f"{escaped(text)}\n" for text in section.verdict)
    yield from (f"- {_number(one)}" for one in section.numbers)
    if section.numbers:
        yield ""
    for table in section.tables:
        yield from _table(table, zone)
    yield from (f"{_picture(chart)}\n" for chart in section.charts)
    yield from (f"> {escaped(text)}\n" for text in section.notes)


def _silent(sections: Sequence[Section]) -> Iterator[str]:
    """Those without anything to say, a line each."""
    if sections:
        yield "## Nothing to say"
        yield ""
        yield from (f"- {one.title}: {coded(one.empty or '')}" for one in sections)
        yield ""


def _number(one: Number) -> str:
    beside = ", ".join(filter(None, (words.change(one), words.note(one))))
    more = f" ({escaped(beside)})" if beside else ""
    return f"{escaped(one.label)}: **{escaped(words.number(one))}**{more}"


def _picture(chart: Chart) -> str:
    """What a chart shows; its title, too, unless that is how the sentence begins."""
    is_said = chart.summary.startswith(chart.title)
    return escaped(chart.summary if is_said else f"{chart.title}: {chart.summary}")


def _table(table: Table, zone: str) -> Iterator[str]:
    yield f"### {escaped(table.title)}"
    yield ""
    yield "| " + " | ".join(escaped(words.head(column)) for column in table.columns) + " |"
    yield "|" + "|".join(" ---: " if words.is_number(column) else " --- "
                         for column in table.columns) + "|"  # fmt: skip
    for row in table.rows:
        cells = (words.cell(value, column.unit, zone)
                 for value, column in zip(row, table.columns, strict=True))  # fmt: skip
        yield "| " + " | ".join(escaped(text) for text in cells) + " |"
    yield ""
    if table.left_out:
        yield f"{words.left_out(table)}\n"
