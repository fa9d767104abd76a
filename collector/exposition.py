"""A metrics page (Prometheus text 0.0.4 and 1.0.0, simple OpenMetrics) turned into columns.

Engines repeat the same series on every page, so the text of a series is understood once and then
looked up; a warm page costs about half a microsecond a sample. A bad line is counted and the page
goes on: one broken exporter line must not blind us to the other five hundred. `parse` never raises,
whatever the bytes.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/ (1.0).
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field

MOST_SAMPLES = 200_000
_BAD_LINES_KEPT = 5
_TEXT_KEPT = 120

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*+")
# Possessive quantifiers: a line of ten million backslashes costs one pass.
_LABEL = re.compile(
    r'[ \t]*+(?:([a-zA-Z_][a-zA-Z0-9_]*+)|"((?:[^"\\]|\\.)*+)")[ \t]*+'
    r'(?:=[ \t]*+"((?:[^"\\]|\\.)*+)"[ \t]*+)?([,}])'
)
_LABELS_END = re.compile(r"[ \t]*+\}")
_ESCAPE = re.compile(r'\\([\\"n])')
_TYPE = re.compile(r'#[ \t]++TYPE[ \t]++(?:"((?:[^"\\]|\\.)*+)"|(\S++))[ \t]++(\S++)[ \t\r]*+$')
_IS_TYPE = re.compile(r"#[ \t]++TYPE[ \t]")
_HEX = re.compile(r"[+-]?0[xX]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}$")
_TYPES = frozenset(
    (
        *("counter", "gauge", "histogram", "summary", "untyped"),
        *("unknown", "info", "stateset", "gaugehistogram"),
    )
)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One exposed series; the cache keeps one object for each, so identity is equality.

    Args:
        name: sample name as exposed, suffixes such as `_bucket` included.
        labels: name and value pairs, sorted by name.
    """

    name: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that could not be used: its number from 1, why, and how it begins."""

    number: int
    why: str
    text: str


@dataclass(slots=True)
class Page:
    """What a page says.

    Args:
        values: the value of each series, in page order; of a series told twice, the last.
        timestamps: seconds since 1970 for the series that carry their own time.
        types: type of each family that has a TYPE line.
        sample_count: good sample lines, repeated series included.
        bad_line_count: lines that were skipped.
        bad_lines: the first few of them.
        ended: whether the end mark `# EOF` was seen (OpenMetrics only).
        overfull: reading stopped because the page has more samples than allowed.
    """

    values: dict[Series, float] = field(default_factory=dict)
    timestamps: dict[Series, float] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    sample_count: int = 0
    bad_line_count: int = 0
    bad_lines: list[BadLine] = field(default_factory=list)
    ended: bool = False
    overfull: bool = False

    @property
    def duplicate_count(self) -> int:
        """Sample lines that told a series a second time."""
        return self.sample_count - len(self.values)


class SeriesCache:
    """Series texts that were understood before; share one between targets of the same kind.

    Args:
        most_texts: the cache starts afresh beyond this many texts, so that an exporter that puts a
            time or an id into its labels cannot fill the memory.
    """

    def __init__(self, most_texts: int = 200_000) -> None:
        self.most_texts = most_texts
        self.by_text: dict[str, Series] = {}
        self.comments: dict[str, tuple[str, str] | None] = {}
        self._known: dict[tuple[str, tuple[tuple[str, str], ...]], Series] = {}

    def trim(self) -> None:
        """Forget everything when there is too much of it."""
        if len(self.by_text) + len(self.comments) > self.most_texts:
            self.by_text.clear()
            self.comments.clear()
            self._known.clear()

    def remember(self, text: str, name: str, labels: tuple[tuple[str, str], ...]) -> Series:
        """The series behind `text`; the same object for every spelling of one series."""
        series = self._known.setdefault((name, labels), Series(name, labels))
        self.by_text[text] = series
        return series


class _BadLineError(Exception):
    """Internal: why one line cannot be used."""


def parse(
    body: bytes | str,
    cache: SeriesCache | None = None,
    *,
    open_metrics: bool = False,
    most_samples: int = MOST_SAMPLES,
) -> Page:
    """Read a page.

    Args:
        body: the page; bytes are taken as UTF-8.
        cache: series seen before; without one every series is read from scratch.
        open_metrics: timestamps are seconds and `# EOF` ends the page (else milliseconds, no end).
        most_samples: stop beyond this many samples and set `overfull`.
    """
    cache = cache or SeriesCache()
    cache.trim()
    text = body.decode("utf-8", "surrogateescape") if isinstance(body, bytes) else body
    page = Page()
    by_text, values = cache.by_text, page.values
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        key, _, told = line.rpartition(" ")
        series = by_text.get(key)
        if series is not None:
            try:
                value = float(told)
            except ValueError:
                series = None
        # What float() takes beyond the format ("1_000", other scripts) goes the slow way and fails.
        if series is not None and told.isascii() and "_" not in told:
            values[series] = value
            page.sample_count += 1
        elif _slow_line(page, cache, number, line, open_metrics):
            break
        if page.sample_count > most_samples:
            page.overfull = True
            break
    return page


def _slow_line(page: Page, cache: SeriesCache, number: int, line: str, open_metrics: bool) -> bool:
    """Read a comment or a series not seen before; True when the page ends here."""
    if line in cache.comments:
        told = cache.comments[line]
        if told is not None:
            page.types[told[0]] = told[1]
        return False
    text = line.strip(" \t\r")
    if not text:
        return False
    if open_metrics and text == "# EOF":
        page.ended = True
        return True
    try:
        if text.startswith("#"):
            _comment(page, cache, line, text)
        else:
            _sample(page, cache, text, open_metrics)
    except _BadLineError as why:
        page.bad_line_count += 1
        if len(page.bad_lines) < _BAD_LINES_KEPT:
            start = text[:_TEXT_KEPT].encode("utf-8", "replace").decode()
            page.bad_lines.append(BadLine(number, str(why), start))
    return False


def _comment(page: Page, cache: SeriesCache, line: str, text: str) -> None:
    told: tuple[str, str] | None = None
    if _IS_TYPE.match(text):
        found = _TYPE.match(text)
        if found is None or found[3] not in _TYPES:
            raise _BadLineError("a TYPE line is `# TYPE name type`")
        name = found[2] if found[1] is None else _unescape(found[1])
        told = (name, found[3])
        page.types[told[0]] = told[1]
    cache.comments[line] = told


def _sample(page: Page, cache: SeriesCache, text: str, open_metrics: bool) -> None:
    cut = text.find("} ") + 1 or text.find(" ")
    series = cache.by_text.get(text[:cut]) if cut > 0 else None
    if series is None:
        _check_utf8(text)
        cut, name, labels = _series(text)
        value, timestamp = _numbers(text[cut:], open_metrics)
        # Only after the numbers: a line that is bad must not leave anything behind.
        series = cache.remember(text[:cut], name, labels)
    else:
        value, timestamp = _numbers(text[cut:], open_metrics)
    page.values[series] = value
    page.sample_count += 1
    if timestamp is not None:
        page.timestamps[series] = timestamp


def _check_utf8(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _BadLineError("not UTF-8") from None


def _series(text: str) -> tuple[int, str, tuple[tuple[str, str], ...]]:
    """Where the series ends in `text`, its name and its sorted labels."""
    found = _NAME.match(text)
    name = found[0] if found else None
    at = found.end() if found else 0
    brace = at
    while text[brace : brace + 1] in (" ", "\t"):
        brace += 1
    if text[brace : brace + 1] != "{":
        if name is None or brace == at:
            raise _BadLineError("a sample begins with a metric name and a blank")
        return at, name, ()
    labels: dict[str, str] = {}
    at, name = _labels(text, brace + 1, name, labels)
    if not name:
        raise _BadLineError("no metric name")
    return at, name, tuple(sorted(labels.items()))


def _labels(text: str, at: int, name: str | None, labels: dict[str, str]) -> tuple[int, str | None]:
    """Fill `labels` from behind the brace; gives the place behind the closing one, and the name."""
    while True:
        end = _LABELS_END.match(text, at)
        if end:
            return end.end(), name
        item = _LABEL.match(text, at)
        if item is None:
            raise _BadLineError('labels are {name="value",...}')
        at = item.end()
        key = item[1] if item[2] is None else _unescape(item[2])
        if item[3] is not None:
            if key in labels:
                raise _BadLineError("a label is told twice")
            labels[key] = _unescape(item[3])
        elif item[2] is not None and name is None and not labels:
            name = key
        else:
            raise _BadLineError("a label has no value")
        if item[4] == "}":
            return at, name


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text)


def _numbers(rest: str, open_metrics: bool) -> tuple[float, float | None]:
    """Value and timestamp (seconds since 1970) of what follows a series; an exemplar is dropped."""
    told, exemplar, _ = rest.partition("#")
    if exemplar and not told.endswith((" ", "\t")):
        raise _BadLineError("the value is not a number")
    words = told.split() if told.isascii() else [told]
    if not words:
        raise _BadLineError("no value")
    if len(words) > 2:
        raise _BadLineError("more than a value and a time")
    value = _number(words[0], "the value")
    if len(words) == 1:
        return value, None
    if open_metrics:
        return value, _number(words[1], "the time")
    if not _WHOLE.match(words[1]):
        raise _BadLineError("the time is not in whole milliseconds")
    return value, int(words[1]) / 1000


def _number(word: str, what: str) -> float:
    # Python's float() also takes "1_000" and digits of other scripts.
    if word.isascii() and "_" not in word:
        with contextlib.suppress(ValueError, OverflowError):
            return float.fromhex(word) if _HEX.match(word) else float(word)
    raise _BadLineError(f"{what} is not a number")
