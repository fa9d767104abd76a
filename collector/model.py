"""What a scrape brings: rows on their way from an engine to the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

Outcome = Literal[
    "ok",  # a page of an engine we know
    "unreachable",  # nobody answers, or the connection broke
    "timeout",  # no whole answer before the deadline
    "http_error",  # answered, but not with 200
    "not_metrics",  # an HTML, JSON or empty body instead of a metrics page
    "truncated",  # the body ends too early
    "too_large",  # more bytes or samples than we take
    "unsupported",  # a metrics page, but of no engine we have an adapter for
    "failed",  # a fault on our side; the log has the traceback
]


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one canonical signal (`store.signals`).

    Args:
        signal: name in the catalogue, which also gives kind and unit.
        labels: JSON object, keys sorted.
        value: finite, inside the signal's valid range, in the signal's unit.
    """

    signal: str
    labels: str
    value: float


@dataclass(frozen=True, slots=True)
class HistogramSample:
    """One cumulative histogram of one canonical signal.

    Args:
        signal: name in the catalogue.
        labels: JSON object, keys sorted.
        observation_count: observations up to +Inf.
        observation_sum: their sum, None when the page does not tell.
        edges: finite upper bounds, ascending, in the signal's unit.
        cumulative_counts: observations at or below each edge.
    """

    signal: str
    labels: str
    observation_count: float
    observation_sum: float | None
    edges: tuple[float, ...]
    cumulative_counts: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What a target is; None where it does not tell."""

    engine: str | None = None
    engine_version: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A value of a known signal that cannot be true, so it became no sample.

    Args:
        signal: name in the catalogue.
        labels: JSON object, keys sorted.
        value: as exposed, in the signal's unit; NaN where the page says NaN.
    """

    signal: str
    labels: str
    value: float


@dataclass(frozen=True, slots=True)
class PageNotes:
    """What a page showed beside its usable values; the trust layer grades by it.

    Args:
        refused: values out of their signal's range, and NaN; at most a handful.
        parts: signal -> how many series of the page (ranks, replicas, label values) came together
            in it; empty when nobody counted.
        unknown_families: names that the adapter does not know, the first few.
        clock_offset_seconds: the target's clock minus ours, by its `Date` header; None = not told.
    """

    refused: tuple[Refused, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)
    unknown_families: tuple[str, ...] = ()
    clock_offset_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Scrape:
    """One attempt to read one target. A dead target is a value, never an exception.

    Args:
        target_id: which target.
        at: when the page was asked for, aware UTC; the time of all samples.
        duration_seconds: from asking to the last byte.
        outcome: how it went.
        error: one line for people, None when ok.
        body_bytes: size of the unpacked body, None when there was none.
        sample_count: good lines on the page, None when there was no page.
        bad_line_count: lines, histograms and values that could not be used.
        unknown_family_count: families of the engine that the adapter does not know.
        samples: canonical values.
        histograms: canonical histograms.
        facts: what the target is, when this scrape taught something new.
        notes: what the page showed beside them; None when nobody looked.
    """

    target_id: int
    at: datetime
    duration_seconds: float
    outcome: Outcome
    error: str | None = None
    body_bytes: int | None = None
    sample_count: int | None = None
    bad_line_count: int | None = None
    unknown_family_count: int | None = None
    samples: tuple[Sample, ...] = ()
    histograms: tuple[HistogramSample, ...] = ()
    facts: TargetFacts | None = None
    notes: PageNotes | None = None


class Source(Protocol):
    """Something that can be asked for samples again and again."""

    @property
    def target_id(self) -> int:
        """Which target the scrapes belong to."""
        ...

    async def scrape(self, timeout_seconds: float) -> Scrape:
        """Ask once. Never raises for what the target does; answers within the time limit."""
        ...

    async def aclose(self) -> None:
        """Let go of everything; safe twice and without a scrape."""
        ...
