"""A report as the body of an e-mail: numbers as text, the first charts as pictures inside.

Mail clients drop scripts, SVG and style sheets, so that every style stands on its element.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from analysis.reports.document import Chart, Document, Number, Section
from dashboard.report import words

_FONT = "font-family:-apple-system,'Segoe UI',Helvetica,Arial,sans-serif"
_INK, _DIM, _LINE = "#1d2733", "#56616e", "#d5dbe1"
_CELL = f"padding:6px 10px 6px 0;border-bottom:1px solid {_LINE};text-align:left;vertical-align:top"
_PAGE = Markup(
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
    '<body style="margin:0;padding:16px;background:#ffffff;color:{ink};{font};font-size:15px;'
    'line-height:1.45"><div style="max-width:680px;margin:0 auto">{inside}</div></body></html>'
)


def text(document: Document) -> str:
    """The letter for those who read no HTML."""
    parts = [words.heading(document), document.verdict]
    parts += _listed("", document.findings)
    parts += _listed("What to do", document.advice)
    numbers = [f"{one.label}: {_said(one)}" for one in document.numbers]
    parts += _listed("In numbers", numbers)
    parts += [_section_text(section) for section in _told(document)]
    if document.link:
        parts.append(f"Open it in the dashboard: {document.link}")
    return "\n\n".join(part for part in parts if part) + "\n"


def html(document: Document, images: Sequence[str]) -> str:
    """The letter with pictures.

    Args:
        document: what it says.
        images: names of the pictures of its first charts, in their order, shown as `cid:NAME`.
    """
    named = dict(zip(_charts(document), images, strict=False))
    parts = [
        Markup('<h1 style="font-size:20px;margin:0 0 8px">{}</h1>').format(words.heading(document)),
        Markup('<p style="font-size:17px;margin:0 0 12px"><b>{}</b></p>').format(
            words.code(document.verdict)
        ),
        _list("", document.findings),
        _list("What to do", document.advice),
        _numbers(document.numbers),
        *(_section(section, named) for section in _told(document)),
        _foot(document),
    ]
    inside = Markup("").join(parts)
    return str(_PAGE.format(title=words.heading(document), inside=inside, ink=_INK, font=_FONT))


def _charts(document: Document) -> Iterator[tuple[str, str]]:
    for section in document.sections:
        for chart in section.charts:
            yield section.key, chart.key


def _told(document: Document) -> list[Section]:
    return [one for one in document.sections if one.empty is None and one.verdict]


def _listed(head: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    shown = "\n".join(f"- {line}" for line in lines)
    return [f"{head}:\n{shown}" if head else shown]


def _section_text(section: Section) -> str:
    return f"{section.title}\n{' '.join(section.verdict)}"


def _said(one: Number) -> str:
    """A number with what must be known beside it."""
    return ", ".join(filter(None, (words.number(one), words.change(one), words.note(one))))


def _list(head: str, lines: Sequence[str]) -> Markup:
    if not lines:
        return Markup("")
    items = Markup("").join(
        Markup('<li style="margin:0 0 4px">{}</li>').format(words.code(line)) for line in lines
    )
    title = _head(head) if head else Markup("")
    return title + Markup('<ul style="margin:0 0 12px;padding-left:20px">{}</ul>').format(items)


def _head(title: str) -> Markup:
    return Markup('<h2 style="font-size:16px;margin:20px 0 6px">{}</h2>').format(title)


def _numbers(numbers: Sequence[Number]) -> Markup:
    """A table of those columns that say something."""
    columns = {
        "In numbers": [one.label for one in numbers],
        "": [words.number(one) for one in numbers],
        "against the period before": [words.change(one) for one in numbers],
        " ": [words.note(one) for one in numbers],
    }
    told = {head: cells for head, cells in columns.items() if any(cells)}
    if not told:
        return Markup("")
    head = Markup("").join(
        Markup('<th scope="col" style="{};color:{};font-weight:normal">{}</th>').format(
            _CELL, _DIM, one
        )
        for one in told
    )
    rows = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(map(_cell, told, row)))
        for row in zip(*told.values(), strict=True)
    )
    return Markup(
        '<table style="border-collapse:collapse;width:100%;margin:16px 0;font-size:14px">'
        "<tr>{}</tr>{}</table>"
    ).format(head, rows)


def _cell(head: str, value: str) -> Markup:
    look = {"": ";font-weight:bold;white-space:nowrap", " ": f";color:{_DIM}"}.get(head, "")
    return Markup('<td style="{}">{}</td>').format(_CELL + look, value)


def _section(section: Section, named: dict[tuple[str, str], str]) -> Markup:
    said = Markup('<p style="margin:0 0 8px">{}</p>').format(words.code(" ".join(section.verdict)))
    shown = [_picture(chart, named.get((section.key, chart.key))) for chart in section.charts]
    return _head(section.title) + said + Markup("").join(shown)


def _picture(chart: Chart, name: str | None) -> Markup:
    if name is None:
        return Markup("")
    return Markup(
        '<p style="margin:0 0 12px"><img src="cid:{}" alt="{}" width="680"'
        ' style="width:100%;max-width:680px;height:auto;border:0"></p>'
    ).format(name, f"{chart.title} {chart.summary}")


def _foot(document: Document) -> Markup:
    there = Markup("")
    if document.link:
        there = Markup('<a href="{}">Open it in the dashboard</a>. ').format(document.link)
    about = (
        f"{words.scope(document.covered)}; made {words.moment(document.made_at, document.covered)}"
    )
    return Markup(
        '<p style="margin:20px 0 0;padding-top:8px;border-top:1px solid {};color:{};'
        'font-size:13px">{}{}, servescope {}.</p>'
    ).format(_LINE, _DIM, there, about, document.version)
