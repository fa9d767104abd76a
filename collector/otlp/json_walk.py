"""OTLP in JSON -> what it says: orjson parses, this walks.

The general JSON mapping of protobuf would read hexadecimal ids as base64, take names of enum values
and refuse fields that it does not know; OTLP wants the opposite each time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import orjson

from collector.otlp import json_fields as field
from collector.otlp.json_fields import Json
from collector.otlp.model import (
    EXPONENTIAL,
    GAUGE,
    HISTOGRAM,
    NO_RECORDED_VALUE,
    SPAN_ID_DIGITS,
    SUM,
    SUMMARY,
    TRACE_ID_DIGITS,
    Attributes,
    ExponentialPoint,
    HistogramPoint,
    Metric,
    MetricGroup,
    NumberPoint,
    OtlpDamaged,
    Point,
    Span,
    SpanGroup,
    Value,
)
from collector.otlp.split import MOST_ITEMS

_KINDS = {
    "gauge": GAUGE,
    "sum": SUM,
    "histogram": HISTOGRAM,
    "exponentialHistogram": EXPONENTIAL,
    "summary": SUMMARY,
}


def decode_traces(body: bytes, wanted: Collection[str]) -> list[SpanGroup]:
    """The spans of an ExportTraceServiceRequest.

    Args:
        body: the document.
        wanted: names of span attributes to keep; of resources all are kept.

    Raises:
        OtlpDamaged: it is not such a document.
    """
    return [
        SpanGroup(_attributes(resource), scope, [_span(span, wanted) for span in spans])
        for resource, scope, spans in _scopes(body, "resourceSpans", "scopeSpans", "spans")
    ]


def decode_metrics(body: bytes) -> list[MetricGroup]:
    """The metrics of an ExportMetricsServiceRequest.

    Raises:
        OtlpDamaged: it is not such a document.
    """
    return [
        MetricGroup(_attributes(resource), scope, [_metric(metric) for metric in metrics])
        for resource, scope, metrics in _scopes(body, "resourceMetrics", "scopeMetrics", "metrics")
    ]


def count_log_records(body: bytes) -> int:
    """How many records an ExportLogsServiceRequest holds.

    Raises:
        OtlpDamaged: it is not such a document.
    """
    return sum(
        len(records) for _, _, records in _scopes(body, "resourceLogs", "scopeLogs", "logRecords")
    )


def _scopes(
    body: bytes, groups: str, scopes: str, items: str
) -> Iterator[tuple[Json, str, list[Json]]]:
    """Resource, name of the instrumentation and items, of all that are in a document."""
    left = MOST_ITEMS
    for group in field.items(_document(body), groups):
        resource = field.child(group, "resource")
        for scoped in field.items(group, scopes):
            found = field.items(scoped, items)
            left -= len(found) + 1
            if left < 0:
                raise OtlpDamaged(
                    f"the export has more than {MOST_ITEMS:,} items", hint="send smaller exports"
                )
            yield resource, field.text(field.child(scoped, "scope"), "name"), found


def _document(body: bytes) -> Json:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise OtlpDamaged(f"the body is not JSON: {error.msg}", hint="send it whole") from error
    if type(told) is not dict:
        raise OtlpDamaged("the body is JSON, but not an object", hint="see the OTLP specification")
    return told


def _span(node: Json, wanted: Collection[str]) -> Span:
    attributes: dict[str, Value] = {}
    for pair in field.entries(node, "attributes"):
        key = field.text(pair, "key")
        if key in wanted:
            value = field.value(pair.get("value"))
            if value is not None:
                attributes[key] = value
    return Span(
        field.hex_id(node, "traceId", TRACE_ID_DIGITS),
        field.hex_id(node, "spanId", SPAN_ID_DIGITS),
        field.hex_id(node, "parentSpanId", SPAN_ID_DIGITS),
        field.text(node, "name"),
        field.enum(node, "kind"),
        field.unsigned(node, "startTimeUnixNano"),
        field.unsigned(node, "endTimeUnixNano"),
        field.enum(field.child(node, "status"), "code"),
        attributes,
    )


def _attributes(node: Json) -> Attributes:
    found: dict[str, Value] = {}
    for pair in field.items(node, "attributes"):
        value = field.value(pair.get("value"))
        if value is not None:
            found[field.text(pair, "key")] = value
    return found


def _metric(node: Json) -> Metric:
    name, unit = field.text(node, "name"), field.text(node, "unit")
    which = next((key for key in _KINDS if node.get(key) is not None), None)
    if which is None:
        return Metric(name, unit, "", 0, False, (), 0)
    kind, data = _KINDS[which], field.child(node, which)
    told = field.items(data, "dataPoints")
    read = _READERS.get(kind)
    points: tuple[Point, ...] = tuple(read(point) for point in told) if read else ()
    temporality = field.enum(data, "aggregationTemporality") if kind not in {GAUGE, SUMMARY} else 0
    monotonic = kind == SUM and field.flag(data, "isMonotonic")
    return Metric(name, unit, kind, temporality, monotonic, points, len(told))


def _number(node: Json) -> NumberPoint:
    value = field.number(node, "asDouble")
    if value is None and node.get("asInt") is not None:
        value = float(field.integer_value(node["asInt"]))
    recorded = not field.unsigned(node, "flags") & NO_RECORDED_VALUE
    return NumberPoint(
        _attributes(node),
        field.unsigned(node, "startTimeUnixNano"),
        field.unsigned(node, "timeUnixNano"),
        value if recorded else None,
    )


def _shared(node: Json) -> tuple[Attributes, int, int, bool, int, float | None]:
    return (
        _attributes(node),
        field.unsigned(node, "startTimeUnixNano"),
        field.unsigned(node, "timeUnixNano"),
        not field.unsigned(node, "flags") & NO_RECORDED_VALUE,
        field.unsigned(node, "count"),
        field.number(node, "sum"),
    )


def _histogram(node: Json) -> HistogramPoint:
    return HistogramPoint(
        *_shared(node),
        field.number_list(node, "explicitBounds"),
        field.unsigned_list(node, "bucketCounts"),
    )


def _exponential(node: Json) -> ExponentialPoint:
    positive, negative = field.child(node, "positive"), field.child(node, "negative")
    return ExponentialPoint(
        *_shared(node),
        field.signed(node, "scale"),
        field.unsigned(node, "zeroCount"),
        field.number(node, "zeroThreshold") or 0.0,
        field.signed(positive, "offset"),
        field.unsigned_list(positive, "bucketCounts"),
        field.signed(negative, "offset"),
        field.unsigned_list(negative, "bucketCounts"),
    )


_READERS: dict[str, Any] = {
    GAUGE: _number,
    SUM: _number,
    HISTOGRAM: _histogram,
    EXPONENTIAL: _exponential,
}
