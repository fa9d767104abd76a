"""What an export says, the same whichever of the two encodings it came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from store.errors import InputError

Value = str | bool | int | float | bytes | tuple[str | bool | int | float | bytes, ...]
Attributes = Mapping[str, Value]

TRACE_ID_DIGITS = 32
SPAN_ID_DIGITS = 16
SERVER_KIND = 2
ERROR_STATUS = 2
NO_RECORDED_VALUE = 1


class OtlpDamaged(InputError):
    """An export that cannot be decoded; sending it again would not help."""


class Span(NamedTuple):
    """One span.

    Attributes:
        trace_id: 32 hex digits in lower case; empty when it has none or an invalid one.
        span_id: 16 hex digits; empty likewise.
        parent_id: 16 hex digits; empty at the root.
        name: as the instrumentation calls it.
        kind: 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
        start_ns: nanoseconds since 1970 UTC; 0 when unknown.
        end_ns: likewise.
        status: 0 unset, 1 ok, 2 error.
        attributes: those that were asked for.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    status: int
    attributes: Attributes


class SpanGroup(NamedTuple):
    """Spans of one instrumentation of one process."""

    resource: Attributes
    scope: str
    spans: list[Span]


@dataclass(frozen=True, slots=True)
class NumberPoint:
    """One value of one series; `value` is None when the sender flags that it recorded none."""

    attributes: Attributes
    start_ns: int
    time_ns: int
    value: float | None


@dataclass(frozen=True, slots=True)
class HistogramPoint:
    """One explicit histogram: `counts` has one entry more than `bounds` (the last is +Inf)."""

    attributes: Attributes
    start_ns: int
    time_ns: int
    recorded: bool
    count: int
    total: float | None
    bounds: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ExponentialPoint:
    """One exponential histogram: bucket i covers (base**i, base**(i+1)], base = 2**(2**-scale)."""

    attributes: Attributes
    start_ns: int
    time_ns: int
    recorded: bool
    count: int
    total: float | None
    scale: int
    zero_count: int
    zero_threshold: float
    positive_offset: int
    positive_counts: tuple[int, ...]
    negative_offset: int
    negative_counts: tuple[int, ...]


Point = NumberPoint | HistogramPoint | ExponentialPoint

GAUGE, SUM, HISTOGRAM, EXPONENTIAL, SUMMARY = "gauge", "sum", "histogram", "exponential", "summary"
DELTA, CUMULATIVE = 1, 2


@dataclass(frozen=True, slots=True)
class Metric:
    """One instrument.

    Attributes:
        name: as the instrumentation calls it.
        unit: UCUM, as it was sent.
        kind: gauge, sum, histogram, exponential, summary; empty when the metric has no data.
        temporality: 1 delta, 2 cumulative, 0 not told or without meaning.
        monotonic: of a sum.
        points: values; of a summary none are decoded.
        point_count: how many there were.
    """

    name: str
    unit: str
    kind: str
    temporality: int
    monotonic: bool
    points: tuple[Point, ...]
    point_count: int


class MetricGroup(NamedTuple):
    """Metrics of one instrumentation of one process."""

    resource: Attributes
    scope: str
    metrics: list[Metric]
