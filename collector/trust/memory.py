"""What is remembered of one target between two scrapes; bounded, whatever the target shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from collector.model import HistogramSample, Sample, Scrape

Key = tuple[str, str]  # signal, labels as JSON

START_MARKS = ("engine_start_unix_seconds", "engine_start_mark")
_MOST_STARTS = 16


@dataclass(slots=True)
class Course:
    """How one value went.

    Args:
        value: the last one.
        changed_at: when it took it, or when it was first seen.
        repeats: scrapes since then that showed the same.
    """

    value: float
    changed_at: datetime
    repeats: int = 0

    def note(self, value: float, at: datetime) -> None:
        """Take in the next value."""
        if value == self.value:
            self.repeats += 1
        else:
            self.value, self.changed_at, self.repeats = value, at, 0


@dataclass(slots=True)
class Memory:
    """The last good page of a target and how its values went.

    Args:
        courses: how every gauge and counter went.
        histograms: the last state of every histogram.
        parts: signal -> most series that came together in it since the last restart.
        first_at: time of the first good page of this process; None before it.
        last_at: time of the last good page.
        idle_since: since when no counter of work has moved; None while one moves.
        busy_since: since when a counter of work moved in every scrape; None while none moves.
        unbroken: whether every scrape since the last good page was good.
        starts: start marks of the processes that have answered, the newest last.
        left_out: whether the target shows more series than are watched.
        mismatches: grows with looks at which somebody else seemed to scrape too.
        mismatch: what was shown and what was expected at the last of them, tokens/s.
    """

    courses: dict[Key, Course] = field(default_factory=dict)
    histograms: dict[Key, HistogramSample] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    first_at: datetime | None = None
    last_at: datetime | None = None
    idle_since: datetime | None = None
    busy_since: datetime | None = None
    unbroken: bool = False
    starts: tuple[tuple[Key, float], ...] = ()
    left_out: bool = False
    mismatches: int = 0
    mismatch: tuple[float, float] = (0.0, 0.0)

    def take(self, scrape: Scrape, most_series: int, *, worked: bool, restarted: bool) -> None:
        """Remember a good page; what it does not show any more is forgotten."""
        self.first_at = self.first_at or scrape.at
        if worked:
            self.idle_since, self.busy_since = None, self.busy_since or self.last_at
        else:
            self.idle_since, self.busy_since = self.idle_since or scrape.at, None
        self.last_at = scrape.at
        self.unbroken = True
        self._take_starts(scrape.samples)
        self._take_values(scrape.samples, scrape.at, most_series)
        self._take_histograms(scrape.histograms, most_series)
        self._take_parts(scrape, restarted)

    def _take_starts(self, samples: Iterable[Sample]) -> None:
        for told in samples:
            if told.signal in START_MARKS:
                mark = ((told.signal, told.labels), told.value)
                others = tuple(known for known in self.starts if known != mark)
                self.starts = (*others, mark)[-_MOST_STARTS:]

    def _take_values(self, samples: Iterable[Sample], at: datetime, most_series: int) -> None:
        before, self.courses = self.courses, {}
        self.left_out = False
        for told in samples:
            if len(self.courses) >= most_series:
                self.left_out = True
                return
            key = (told.signal, told.labels)
            course = before.get(key)
            if course is None:
                course = Course(told.value, at)
            else:
                course.note(told.value, at)
            self.courses[key] = course

    def _take_histograms(self, told: tuple[HistogramSample, ...], most_series: int) -> None:
        room = max(most_series - len(self.courses), 0)
        self.left_out = self.left_out or len(told) > room
        self.histograms = {(part.signal, part.labels): part for part in told[:room]}

    def _take_parts(self, scrape: Scrape, restarted: bool) -> None:
        if scrape.notes is None:
            return
        if restarted:
            self.parts.clear()
        for signal, parts in scrape.notes.parts.items():
            if parts > self.parts.get(signal, 0):
                self.parts[signal] = parts
