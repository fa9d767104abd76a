"""OTLP metrics -> canonical samples, by the same adapters as scraped pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from collector.detect import engine_by_name, model_of
from collector.engines.adapter import Engine
from collector.engines.assemble import Cell
from collector.engines.resolve import Resolver
from collector.model import HistogramSample, Sample, TargetFacts
from collector.otlp import buckets
from collector.otlp.model import (
    EXPONENTIAL,
    GAUGE,
    HISTOGRAM,
    SUM,
    SUMMARY,
    Metric,
    MetricGroup,
    NumberPoint,
    Point,
)
from collector.otlp.names import Labels, series_labels, series_name, target_url
from collector.otlp.requests import EARLIEST_NS, FUTURE_SECONDS
from collector.otlp.resources import sender_of
from collector.otlp.totals import Told, Totals, Value

NO_SUMMARIES = "summary: quantiles of several senders cannot be put together; send a histogram"
BAD_POINT = "data point without a time since 2000, or whose counts and bounds are not sound"
POINT_FROM_THE_FUTURE = "data point more than 10 minutes ahead of this server's clock"
TOO_MANY_SERIES = "data point of a new series; the limit of series is reached"
TOO_MANY_TARGETS = "data point of a new sender; the limit of targets is reached"
UNKNOWN_METRIC = "metric that means nothing here"
UNUSABLE = "value out of its signal's range"
REFUSED_REASONS = (
    NO_SUMMARIES,
    BAD_POINT,
    POINT_FROM_THE_FUTURE,
    TOO_MANY_SERIES,
    TOO_MANY_TARGETS,
)
"""The sender is told of these. What is unknown here is no fault of its."""

ROUND_NS = 10**9

Part = tuple[str, str, float]  # suffix, text of the edge or "", value


@dataclass(frozen=True, slots=True)
class Round:
    """What one target told at one moment.

    Attributes:
        url: the target's address.
        at_ns: nanoseconds since 1970 UTC.
        facts: which engine it is.
        samples: canonical values.
        histograms: canonical histograms.
        point_count: data points it was made of.
    """

    url: str
    at_ns: int
    facts: TargetFacts
    samples: tuple[Sample, ...]
    histograms: tuple[HistogramSample, ...]
    point_count: int


@dataclass(slots=True)
class MetricReading:
    """What an export of metrics means.

    Attributes:
        rounds: in order of time, for each target.
        left_out: reason -> how many points.
        examples: reason -> the name of a metric.
    """

    rounds: list[Round] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def leave_out(self, reason: str, example: str, count: int = 1) -> None:
        """Count points out."""
        self.left_out[reason] += count
        self.examples.setdefault(reason, example)

    def refused_count(self) -> int:
        """Points of which the sender is told."""
        return sum(self.left_out[reason] for reason in REFUSED_REASONS)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One data point on its way."""

    name: str
    labels: Labels
    metric: Metric
    point: Point

    @property
    def declared(self) -> str:
        """The TYPE that a page would declare."""
        if self.metric.kind == SUM:
            return "counter" if self.metric.monotonic else GAUGE
        return HISTOGRAM if self.metric.kind == EXPONENTIAL else self.metric.kind


class MetricReader:
    """Reads metrics; keeps the running totals of every sender. Use it from one thread at a time."""

    def __init__(self, totals: Totals | None = None) -> None:
        self._totals = totals or Totals()
        self._resolvers: dict[tuple[str, ...], Resolver] = {}

    def read(self, groups: Iterable[MetricGroup], now_ns: int) -> MetricReading:
        """Samples of an export.

        Args:
            groups: the metrics.
            now_ns: this server's time, nanoseconds since 1970 UTC.
        """
        reading = MetricReading()
        latest = now_ns + FUTURE_SECONDS * 10**9
        targets: dict[str, list[_Entry]] = {}
        engines: dict[str, dict[str, Engine]] = {}
        for group in groups:
            url = target_url(sender_of(group.resource))
            for metric in group.metrics:
                name = series_name(metric)
                engine = engine_by_name(name)
                if engine is not None:
                    engines.setdefault(url, {})[engine.name] = engine
                if engine is not None and metric.kind == SUMMARY:
                    reading.leave_out(NO_SUMMARIES, metric.name, metric.point_count)
                else:
                    targets.setdefault(url, []).extend(_entries(metric, name, latest, reading))
        for url, entries in targets.items():
            # Families such as process_* are read beside an engine's own.
            resolver = self._resolver(engines.get(url, {}).values())
            reading.rounds += self._rounds(url, entries, resolver, reading)
        return reading

    def _resolver(self, engines: Iterable[Engine]) -> Resolver:
        ordered = sorted(engines, key=lambda engine: (_ROLES.index(engine.role), engine.name))
        names = tuple(engine.name for engine in ordered)
        if names not in self._resolvers:
            self._resolvers[names] = Resolver(*ordered)
        return self._resolvers[names]

    def _rounds(
        self, url: str, entries: list[_Entry], resolver: Resolver, reading: MetricReading
    ) -> Iterator[Round]:
        for together in _moments(entries):
            values: list[tuple[tuple[Cell, ...], float]] = []
            zeros: dict[int, list[tuple[tuple[Cell, ...], float]]] = {}
            for entry in together:
                told = self._told(url, entry, resolver, reading)
                if told is not None:
                    values += _cells(resolver, entry, told.value)
                    if told.zero_at_ns:
                        zero = _cells(resolver, entry, told.value.zero())
                        zeros.setdefault(told.zero_at_ns, []).extend(zero)
            for at_ns in sorted(zeros):
                yield _round(url, at_ns, zeros[at_ns], resolver, 0, reading)
            if values:
                at_ns = max(entry.point.time_ns for entry in together)
                yield _round(url, at_ns, values, resolver, len(together), reading)

    def _told(
        self, url: str, entry: _Entry, resolver: Resolver, reading: MetricReading
    ) -> Told | None:
        """What to store of a point; None when nothing."""
        value = _value(entry.point)
        if value is None:
            return None
        if not any(cells for cells, _ in _cells(resolver, entry, value)):
            reading.leave_out(UNKNOWN_METRIC, entry.name)
            return None
        metric, point = entry.metric, entry.point
        if metric.kind == GAUGE or (metric.kind == SUM and not metric.monotonic):
            return Told(value)
        key = (url, entry.name, entry.labels)
        if not self._totals.has_room(key):
            reading.leave_out(TOO_MANY_SERIES, entry.name)
            return None
        return self._totals.add(key, metric.temporality, point.start_ns, point.time_ns, value)


_ROLES = ("engine", "gateway", "exporter")


def _entries(metric: Metric, name: str, latest_ns: int, reading: MetricReading) -> Iterator[_Entry]:
    if metric.point_count > len(metric.points):
        reading.leave_out(UNKNOWN_METRIC, metric.name, metric.point_count)
    for point in metric.points:
        is_sound = isinstance(point, NumberPoint) or buckets.sound(point)
        if point.time_ns < EARLIEST_NS or not is_sound:
            reading.leave_out(BAD_POINT, metric.name)
        elif point.time_ns > latest_ns:
            reading.leave_out(POINT_FROM_THE_FUTURE, metric.name)
        else:
            yield _Entry(name, series_labels(point.attributes), metric, point)


def _moments(entries: list[_Entry]) -> Iterator[list[_Entry]]:
    """Points that belong together: within a second, each series once."""
    together: list[_Entry] = []
    seen: set[tuple[str, Labels]] = set()
    since = 0
    for entry in sorted(entries, key=lambda told: told.point.time_ns):
        key = (entry.name, entry.labels)
        if together and (key in seen or entry.point.time_ns - since > ROUND_NS):
            yield together
            together, seen = [], set()
        if not together:
            since = entry.point.time_ns
        together.append(entry)
        seen.add(key)
    if together:
        yield together


def _value(point: Point) -> Value | None:
    """None when the sender flags that nothing was recorded."""
    if isinstance(point, NumberPoint):
        return None if point.value is None else Value(point.value)
    if not point.recorded:
        return None
    return Value(float(point.count), point.total, buckets.cumulative(point))


def _parts(point: Point, value: Value) -> list[Part]:
    """The series of a page that a point stands for."""
    if isinstance(point, NumberPoint):
        return [("", "", value.count)]
    parts: list[Part] = [("_count", "", value.count)]
    if value.total is not None:
        parts.append(("_sum", "", value.total))
    parts += (("_bucket", repr(edge), count) for edge, count in value.buckets)
    return parts


def _labels(entry: _Entry, part: Part) -> Labels:
    if not part[1]:
        return entry.labels
    return tuple(sorted((*entry.labels, ("le", part[1]))))


def _cells(
    resolver: Resolver, entry: _Entry, value: Value
) -> Iterator[tuple[tuple[Cell, ...], float]]:
    for part in _parts(entry.point, value):
        labels = _labels(entry, part)
        yield resolver.cells(entry.name + part[0], labels, entry.declared), part[2]


def _round(
    url: str,
    at_ns: int,
    values: list[tuple[tuple[Cell, ...], float]],
    resolver: Resolver,
    point_count: int,
    reading: MetricReading,
) -> Round:
    made = resolver.assemble(values)
    if made.unusable_count:
        reading.leave_out(UNUSABLE, url, made.unusable_count)
    facts = TargetFacts(resolver.engines[0].name, None, model_of(made.samples))
    return Round(url, at_ns, facts, made.samples, made.histograms, point_count)
