"""A metrics page (Prometheus text 0.0.4 and 1.0.0, OpenMetrics 1.0) turned into columns.

Engines repeat the same page every few seconds with other numbers on it. So the text of a series is
understood once and then looked up, and a page whose lines all begin as they did the time before is
read as a column of numbers. A bad line is counted and the page goes on: one broken exporter line
must not blind us to the other five hundred. `parse` never raises, whatever the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import compress
from typing import Final
from weakref import WeakValueDictionary

from collector.exposition_line import (
    BadLineError,
    Labels,
    check_utf8,
    description,
    numbers,
    plain_sample,
    series,
)
from collector.exposition_names import Escaping, unescaped

MOST_SAMPLES = 200_000
_BAD_LINES_KEPT = 5
_TEXT_KEPT = 120
_MISSES_FREE = 3
_MISSES_BETWEEN = 30


class Series:
    """One exposed series; the cache keeps one object for each, so identity is equality.

    Attributes:
        name: sample name as exposed, suffixes such as `_bucket` included.
        labels: name and value pairs, sorted by name.
    """

    __slots__ = ("labels", "name")

    def __init__(self, name: str, labels: Labels) -> None:
        # A frozen dataclass takes three times as long to make, and a cold page is made of these.
        self.name: Final = name
        self.labels: Final = labels

    def __repr__(self) -> str:
        return f"Series({self.name!r}, {self.labels!r})"


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that could not be used: its number from 1, why, and how it begins."""

    number: int
    why: str
    text: str


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Layout:
    """What stays the same from page to page: everything but the numbers.

    Args:
        keys: each line without its last word.
        is_sample: which lines are samples.
        is_other: the other lines.
        words: the last words of the other lines.
        series: of the sample lines, each one once.
        types: type of each family.
        units: unit of each family.
        ended: whether the page has its end mark.
    """

    keys: tuple[str, ...]
    is_sample: tuple[bool, ...]
    is_other: tuple[bool, ...]
    words: tuple[str, ...]
    series: tuple[Series, ...]
    types: dict[str, str]
    units: dict[str, str]
    ended: bool


@dataclass(slots=True)
class Page:
    """What a page says.

    Args:
        values: the value of each series, in page order; of a series told twice, the last.
        timestamps: seconds since 1970 for the series that carry their own time.
        types: type of each family that has a TYPE line.
        units: unit of each family that has a UNIT line.
        sample_count: good sample lines, repeated series included.
        bad_line_count: lines that were skipped.
        bad_lines: the first few of them.
        ended: whether the end mark `# EOF` was seen (OpenMetrics only).
        overfull: reading stopped because the page has more samples than allowed.
        layout: what it shares with other pages, when it was read by its layout or has got one.
    """

    values: dict[Series, float] = field(default_factory=dict)
    timestamps: dict[Series, float] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    sample_count: int = 0
    bad_line_count: int = 0
    bad_lines: list[BadLine] = field(default_factory=list)
    ended: bool = False
    overfull: bool = False
    layout: Layout | None = None

    @property
    def duplicate_count(self) -> int:
        """Sample lines that told a series a second time."""
        return self.sample_count - len(self.values)


class SeriesCache:
    """Series texts that were understood before; share one between targets of the same kind.

    Args:
        most_texts: the cache starts afresh beyond this many texts, so that an exporter that puts a
            time or an id into its labels cannot fill the memory.
        escaping: how names are escaped on the pages; one cache is for one scheme.
    """

    def __init__(self, most_texts: int = 200_000, escaping: Escaping = "allow-utf-8") -> None:
        self.most_texts = most_texts
        self.escaping: Escaping = escaping
        self.by_text: dict[str, Series] = {}
        self.comments: dict[str, tuple[str, str, str] | None] = {}
        # A page with an id in a label has another layout each time: those of nobody go at once.
        self.layouts: WeakValueDictionary[tuple[tuple[str, ...], tuple[str, ...]], Layout] = (
            WeakValueDictionary()
        )
        self._known: dict[tuple[str, Labels], Series] = {}

    def trim(self) -> None:
        """Forget everything when there is too much of it."""
        if len(self.by_text) + len(self.comments) > self.most_texts:
            self.by_text.clear()
            self.comments.clear()
            self.layouts.clear()
            self._known.clear()

    def understand(self, line: str, text: str) -> tuple[str, str, str] | None:
        """What a comment says of a family, None when nothing.

        Raises:
            BadLineError: it begins like a description and is none.
        """
        told = description(text)
        if told is not None:
            told = (told[0], unescaped(told[1], self.escaping), told[2])
        self.comments[line] = told
        return told

    def remember(self, text: str, name: str, labels: Labels) -> Series:
        """The series behind `text`; the same object for every spelling of one series."""
        if self.escaping in ("dots", "values"):
            name = unescaped(name, self.escaping)
            labels = tuple((unescaped(key, self.escaping), value) for key, value in labels)
        known = self._known.get((name, labels))
        if known is None:
            known = self._known[name, labels] = Series(name, labels)
        self.by_text[text] = known
        return known


class PageMemory:
    """How the last page of one target was laid out; hand it to `parse` with every page of it."""

    def __init__(self) -> None:
        self.layout: Layout | None = None
        self._misses = 0

    def missed(self) -> bool:
        """Note that the page was another one; whether learning its layout is worth the time."""
        self._misses += 1
        return self._misses <= _MISSES_FREE or self._misses % _MISSES_BETWEEN == 0

    def hit(self) -> None:
        """Note that the page was laid out as before."""
        self._misses = 0


def parse(
    body: bytes | str,
    cache: SeriesCache | None = None,
    *,
    open_metrics: bool = False,
    most_samples: int = MOST_SAMPLES,
    memory: PageMemory | None = None,
) -> Page:
    """Read a page.

    Args:
        body: the page; bytes are taken as UTF-8.
        cache: series seen before; without one every series is read from scratch.
        open_metrics: timestamps are seconds and `# EOF` ends the page (else milliseconds, no end).
        most_samples: stop beyond this many samples and set `overfull`.
        memory: of the target whose page this is; pages laid out alike are read four times faster.
    """
    cache = cache or SeriesCache()
    cache.trim()
    text = body.decode("utf-8", "surrogateescape") if isinstance(body, bytes) else body
    text = text.removeprefix("\ufeff")
    if memory is None:
        return _by_line(text, cache, open_metrics, most_samples)
    if memory.layout is not None:
        page = _by_layout(text, memory.layout)
        if page is not None and page.sample_count <= most_samples:
            memory.hit()
            return page
    page = _by_line(text, cache, open_metrics, most_samples)
    memory.layout = _layout(text, page, cache, open_metrics) if memory.missed() else None
    page.layout = memory.layout
    return page


def _by_layout(text: str, layout: Layout) -> Page | None:
    """Read a page as numbers; None when it is not laid out like that."""
    keys, _, told = zip(*[line.rpartition(" ") for line in text.split("\n")], strict=True)
    if keys != layout.keys or tuple(compress(told, layout.is_other)) != layout.words:
        return None
    words = tuple(compress(told, layout.is_sample))
    joined = "".join(words)
    # What float() takes beyond the format ("1_000", other scripts) goes the slow way and fails.
    if not joined.isascii() or "_" in joined:
        return None
    try:
        values = dict(zip(layout.series, map(float, words), strict=True))
    except ValueError:
        return None
    return Page(
        values=values,
        types=layout.types,
        units=layout.units,
        sample_count=len(words),
        ended=layout.ended,
        layout=layout,
    )


def _layout(text: str, page: Page, cache: SeriesCache, open_metrics: bool) -> Layout | None:
    """The layout of a page that is good from its first line to its last; None for others."""
    if page.bad_line_count or page.timestamps or page.overfull or page.duplicate_count:
        return None
    lines = text.split("\n")
    if open_metrics and text.rstrip()[-5:] != "# EOF":
        return None  # what stands behind the end is not read, so it must not be compared
    keys, _, told = zip(*[line.rpartition(" ") for line in lines], strict=True)
    is_sample = tuple(line.lstrip(" \t\r")[:1] not in ("", "#") for line in lines)
    is_other = tuple(not sample for sample in is_sample)
    found = tuple(map(cache.by_text.get, compress(keys, is_sample)))
    known = tuple(one for one in found if one is not None)
    if known != tuple(page.values):
        return None  # spelled in a way that is read line by line
    words = tuple(compress(told, is_other))
    made = Layout(keys, is_sample, is_other, words, known, page.types, page.units, page.ended)
    return cache.layouts.setdefault((keys, words), made)


def _by_line(text: str, cache: SeriesCache, open_metrics: bool, most_samples: int) -> Page:
    page = Page()
    by_text, values = cache.by_text, page.values
    for number, line in enumerate(text.split("\n"), 1):
        key, _, told = line.rpartition(" ")
        known = by_text.get(key)
        if known is not None:
            try:
                value = float(told)
            except ValueError:
                known = None
        if known is not None and told.isascii() and "_" not in told:
            values[known] = value
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
        _describe(page, cache.comments[line])
        return False
    if _plain_line(page, cache, line):
        return False
    text = line.strip(" \t\r")
    if not text:
        return False
    if text == "# EOF":
        # Never remembered as a comment: what ends a page of one kind is nothing on another.
        page.ended = open_metrics
        return open_metrics
    try:
        if text.startswith("#"):
            _describe(page, cache.understand(line, text))
        else:
            _sample(page, cache, text, open_metrics)
    except BadLineError as why:
        page.bad_line_count += 1
        if len(page.bad_lines) < _BAD_LINES_KEPT:
            start = text[:_TEXT_KEPT].encode("utf-8", "replace").decode()
            page.bad_lines.append(BadLine(number, str(why), start))
    return False


def _plain_line(page: Page, cache: SeriesCache, line: str) -> bool:
    """Take a sample that is spelled as nearly all are; False when it is not."""
    plain = plain_sample(line)
    if plain is None:
        return False
    key, name, labels, value = plain
    page.values[cache.remember(key, name, labels)] = value
    page.sample_count += 1
    return True


def _describe(page: Page, told: tuple[str, str, str] | None) -> None:
    if told is not None:
        (page.types if told[0] == "TYPE" else page.units)[told[1]] = told[2]


def _sample(page: Page, cache: SeriesCache, text: str, open_metrics: bool) -> None:
    cut = text.find("} ") + 1 or text.find(" ")
    known = cache.by_text.get(text[:cut]) if cut > 0 else None
    if known is None:
        check_utf8(text)
        cut, name, labels = series(text)
        value, timestamp = numbers(text[cut:], open_metrics=open_metrics)
        # Only after the numbers: a line that is bad must not leave anything behind.
        known = cache.remember(text[:cut], name, labels)
    else:
        value, timestamp = numbers(text[cut:], open_metrics=open_metrics)
    page.values[known] = value
    page.sample_count += 1
    if timestamp is not None:
        page.timestamps[known] = timestamp
