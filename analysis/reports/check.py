"""What every section of a report must do: run it against one of your own.

    check_section(build, {"workload_prefix": document})

A document of a view is what `GET /api/v1/views/NAME` answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from analysis.reports import periods
from analysis.reports.asking import Asking, ViewDocument
from analysis.reports.document import Section
from analysis.reports.sections import Builder

MOST_SENTENCES = 3
_PERIOD = periods.read("weekly", "2026-W46", "UTC")
_NOTHING = "Nothing is connected."
_UNSAID = ("None", "nan", "NaN", "inf")


def check_section(build: Builder, views: Mapping[str, ViewDocument]) -> Section:
    """Raise AssertionError at the first promise of a section that is broken.

    Args:
        build: the section.
        views: by name, those that it asks for, with something to say.

    Returns:
        The section, made of these views.
    """
    made = _built(build, views)
    assert made.empty is None, f"there is something to say, and it says: {made.empty}"
    assert made == _built(build, views), "the same views do not give the same section"
    _speaks(made)
    _adds_nothing(made, views)
    _is_quiet(_built(build, {name: _emptied(one) for name, one in views.items()}))
    unknown = {name: _unknown(one) for name, one in views.items()}
    told = _built(build, unknown)
    _adds_nothing(told, unknown)
    assert not _bad_words(told), f"what is unknown is said as '{_bad_words(told)}'"
    return made


def _built(build: Builder, views: Mapping[str, ViewDocument]) -> Section:
    def ask(name: str, params: Mapping[str, str], options: Mapping[str, str]) -> ViewDocument:
        del params, options
        assert name in views, f"it asks for the view {name}, which is not given"
        return views[name]

    period, before = _PERIOD, periods.before(_PERIOD)
    source = {"kind": "live", "name": "live", "first_at": before.start, "last_at": period.end}
    return build(Asking(ask, period, before, {}, [source], frozenset(views)))


def _speaks(made: Section) -> None:
    assert 1 <= len(made.verdict) <= MOST_SENTENCES, "a verdict has one to three sentences"
    assert not _bad_words(made), f"a text says '{_bad_words(made)}'"
    for point in (*made.findings, *made.advice):
        assert 0 <= point.weight <= 100, f"a weight is 0 to 100: {point}"
        assert point.text.endswith((".", "?", "!")), f"this is no sentence: {point.text}"
    for kind, keys in (
        ("tables", [one.key for one in made.tables]),
        ("charts", [one.key for one in made.charts]),
    ):
        assert len(set(keys)) == len(keys), f"two {kind} have one key: {keys}"
    assert made.path is None or not made.path.startswith("/"), "a path is that of a page: slo"


def _adds_nothing(made: Section, views: Mapping[str, ViewDocument]) -> None:
    """Every number is one of a view; a section computes none of its own."""
    known = {value for view in views.values() for value in _values(view)}
    for number in made.numbers:
        for value in (number.value, number.low, number.high):
            assert value is None or value in known, f"{number.key}: no view says {value:g}"
    for table in made.tables:
        for value in (cell for row in table.rows for cell in row if _is_number(cell)):
            assert value in known, f"the table {table.key}: no view says {value:g}"
    for line in (line for chart in made.charts for line in chart.lines):
        for value in filter(_is_number, line.y):
            assert value in known, f"the line {line.name}: no view says {value:g}"


def _values(view: ViewDocument) -> Iterator[float]:
    """All numbers of a view, how many rows its frames have among them."""
    for one in view["measures"].values():
        yield from (one[name] for name in ("value", "low", "high") if one[name] is not None)
    for frame in view["frames"].values():
        yield len(frame["rows"])
        yield from (cell for row in frame["rows"] for cell in row.values() if _is_number(cell))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _is_quiet(made: Section) -> None:
    assert made.empty is not None, "with nothing to show it must say why, in `empty`"
    assert made.empty.endswith((".", "?", "!")), f"this is no sentence: {made.empty}"
    rest = (made.verdict, made.numbers, made.tables, made.charts, made.findings)
    assert not any(rest), "a section that is empty has nothing else, but advice"


def _bad_words(made: Section) -> str:
    return next((bad for text in _texts(made) for bad in _UNSAID if bad in text.split()), "")


def _texts(made: Section) -> Iterator[str]:
    yield from (*made.verdict, *made.notes)
    yield from (point.text for point in (*made.findings, *made.advice))


def _emptied(view: ViewDocument) -> dict[str, Any]:
    return {**_unknown(view), "sentences": [], "empty": {"kind": "no_traffic", "text": _NOTHING}}


def _unknown(view: ViewDocument) -> dict[str, Any]:
    """The same view of which nothing is known, and which does not say that it is empty."""
    gone = {"value": None, "low": None, "high": None, "n": None, "why": "nobody told"}
    return {
        **view,
        "measures": {name: {**one, **gone} for name, one in view["measures"].items()},
        "frames": {name: {**one, "rows": []} for name, one in view["frames"].items()},
    }
