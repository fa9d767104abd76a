"""OTLP in protobuf -> what it says. The C implementation decodes; here it is walked once.

The message classes are imported when the first export comes, so that an agent which receives none
does not carry them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from collector.otlp.model import (
    EXPONENTIAL,
    GAUGE,
    HISTOGRAM,
    NO_RECORDED_VALUE,
    SUM,
    SUMMARY,
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
from collector.otlp.split import PIECE_BYTES, Piece, count_items, pieces

_KINDS = {
    "gauge": GAUGE,
    "sum": SUM,
    "histogram": HISTOGRAM,
    "exponential_histogram": EXPONENTIAL,
    "summary": SUMMARY,
}
_PLAIN = frozenset({"string_value", "int_value", "double_value", "bool_value"})


def decode_traces(body: bytes, wanted: Collection[str]) -> list[SpanGroup]:
    """The spans of an ExportTraceServiceRequest.

    Args:
        body: the message.
        wanted: names of span attributes to keep; of resources all are kept.

    Raises:
        OtlpDamaged: it is not such a message.
    """
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

    if len(body) > PIECE_BYTES:
        return [
            SpanGroup(*_owner(piece), _spans(_parsed(ScopeSpans, piece.scoped), wanted))
            for piece in pieces(body)
        ]
    message = _parsed(ExportTraceServiceRequest, body)
    return [
        SpanGroup(
            _attributes(resource.resource.attributes), scope.scope.name, _spans(scope, wanted)
        )
        for resource in message.resource_spans
        for scope in resource.scope_spans
    ]


def decode_metrics(body: bytes) -> list[MetricGroup]:
    """The metrics of an ExportMetricsServiceRequest.

    Raises:
        OtlpDamaged: it is not such a message.
    """
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
    from opentelemetry.proto.metrics.v1.metrics_pb2 import ScopeMetrics

    if len(body) > PIECE_BYTES:
        return [
            MetricGroup(*_owner(piece), _metrics(_parsed(ScopeMetrics, piece.scoped)))
            for piece in pieces(body)
        ]
    message = _parsed(metrics_service_pb2.ExportMetricsServiceRequest, body)
    return [
        MetricGroup(_attributes(resource.resource.attributes), scope.scope.name, _metrics(scope))
        for resource in message.resource_metrics
        for scope in resource.scope_metrics
    ]


def count_log_records(body: bytes) -> int:
    """How many records an ExportLogsServiceRequest holds.

    Raises:
        OtlpDamaged: it is not such a message.
    """
    return count_items(body)


def _owner(piece: Piece) -> tuple[Attributes, str]:
    """Resource and name of the instrumentation."""
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    resource = _parsed(Resource, piece.resource)
    return _attributes(resource.attributes), _parsed(InstrumentationScope, piece.scope).name


def _parsed(kind: Any, body: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise OtlpDamaged(
            f"the body is not a {kind.DESCRIPTOR.name} in protobuf",
            hint="check the path and the exporter's protocol (http/protobuf or http/json)",
        ) from error


def _spans(scoped: Any, wanted: Collection[str]) -> list[Span]:
    return [_span(span, wanted) for span in scoped.spans]


def _metrics(scoped: Any) -> list[Metric]:
    return [_metric(metric) for metric in scoped.metrics]


def _span(span: Any, wanted: Collection[str]) -> Span:
    attributes: dict[str, Value] = {}
    for pair in span.attributes:
        key = pair.key
        if key in wanted:
            # Spelled out for the plain kinds: this is where the time goes.
            told = pair.value
            which = told.WhichOneof("value")
            value = getattr(told, which) if which in _PLAIN else _value(told)
            if value is not None:
                attributes[key] = value
    trace_id, span_id, parent_id = span.trace_id, span.span_id, span.parent_span_id
    return Span(
        trace_id.hex() if len(trace_id) == 16 and any(trace_id) else "",
        span_id.hex() if len(span_id) == 8 and any(span_id) else "",
        parent_id.hex() if len(parent_id) == 8 and any(parent_id) else "",
        span.name,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code,
        attributes,
    )


def _attributes(pairs: Iterable[Any]) -> Attributes:
    told = ((pair.key, _value(pair.value)) for pair in pairs)
    return {key: value for key, value in told if value is not None}


def _value(told: Any) -> Value | None:
    """A scalar, or a tuple of scalars; None when it is unset or nested deeper."""
    which = told.WhichOneof("value")
    if which == "array_value":
        items = (_scalar(item) for item in told.array_value.values)
        return tuple(item for item in items if item is not None)
    return _scalar(told)


def _scalar(told: Any) -> str | bool | int | float | bytes | None:
    which = told.WhichOneof("value")
    if which is None or which in {"array_value", "kvlist_value"}:
        return None
    value: str | bool | int | float | bytes = getattr(told, which)
    return value


def _metric(metric: Any) -> Metric:
    which = metric.WhichOneof("data")
    kind = _KINDS.get(which or "", "")
    if not kind:
        return Metric(metric.name, metric.unit, "", 0, False, (), 0)
    data = getattr(metric, which)
    points: tuple[Point, ...] = ()
    if kind in {GAUGE, SUM}:
        points = tuple(_number(point) for point in data.data_points)
    elif kind == HISTOGRAM:
        points = tuple(_histogram(point) for point in data.data_points)
    elif kind == EXPONENTIAL:
        points = tuple(_exponential(point) for point in data.data_points)
    temporality = data.aggregation_temporality if kind not in {GAUGE, SUMMARY} else 0
    monotonic = bool(kind == SUM and data.is_monotonic)
    count = len(data.data_points)
    return Metric(metric.name, metric.unit, kind, temporality, monotonic, points, count)


def _number(point: Any) -> NumberPoint:
    which = point.WhichOneof("value")
    recorded = which is not None and not point.flags & NO_RECORDED_VALUE
    return NumberPoint(
        _attributes(point.attributes),
        point.start_time_unix_nano,
        point.time_unix_nano,
        float(getattr(point, which)) if recorded else None,
    )


def _histogram(point: Any) -> HistogramPoint:
    return HistogramPoint(
        _attributes(point.attributes),
        point.start_time_unix_nano,
        point.time_unix_nano,
        not point.flags & NO_RECORDED_VALUE,
        point.count,
        point.sum if point.HasField("sum") else None,
        tuple(point.explicit_bounds),
        tuple(point.bucket_counts),
    )


def _exponential(point: Any) -> ExponentialPoint:
    return ExponentialPoint(
        _attributes(point.attributes),
        point.start_time_unix_nano,
        point.time_unix_nano,
        not point.flags & NO_RECORDED_VALUE,
        point.count,
        point.sum if point.HasField("sum") else None,
        point.scale,
        point.zero_count,
        point.zero_threshold,
        point.positive.offset,
        tuple(point.positive.bucket_counts),
        point.negative.offset,
        tuple(point.negative.bucket_counts),
    )
