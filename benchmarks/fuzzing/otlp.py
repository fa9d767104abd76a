"""OTLP exports: protobuf beside Google's own decoder and beside the same export as JSON."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.otlp import json_walk, protobuf, split
from collector.otlp.frames import request_frame, start_frame
from collector.otlp.metrics import MetricReader
from collector.otlp.model import OtlpDamaged
from collector.otlp.requests import SpanReader
from collector.otlp.settings import OtlpSettings
from collector.sink import frames
from fuzzing.target import Take, Target, same
from servescope.otlp_intake import _scrape

NOW_NS = 1_769_860_800 * 10**9
_IDS = ("traceId", "spanId", "parentSpanId")


def _text(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


_RESOURCE = {"attributes": [_text("service.name", "vllm"), _text("service.instance.id", "gpu-1")]}
_SPAN = {
    "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331",
    "name": "llm_request", "kind": 2, "startTimeUnixNano": str(NOW_NS - 10**10),
    "endTimeUnixNano": str(NOW_NS - 10**9),
    "attributes": [
        _text("gen_ai.request.model", "m"), _text("gen_ai.operation.name", "chat"),
        {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "12"}},
        {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "7"}},
        {"key": "gen_ai.latency.time_to_first_token", "value": {"doubleValue": 0.2}},
        {"key": "gen_ai.response.finish_reasons",
         "value": {"arrayValue": {"values": [{"stringValue": "stop"}]}}},
    ],
}  # fmt: skip
_SPANS = {"scope": {"name": "vllm"}, "spans": [_SPAN, {**_SPAN, "spanId": "b7ad6b7169203332"}]}
_TRACES = {"resourceSpans": [{"resource": _RESOURCE, "scopeSpans": [_SPANS]}]}
_POINT = {"timeUnixNano": str(NOW_NS), "startTimeUnixNano": str(NOW_NS - 10**11),
          "attributes": [_text("model_name", "m")]}  # fmt: skip
_METRICS = {"resourceMetrics": [{"resource": _RESOURCE, "scopeMetrics": [{"metrics": [
    {"name": "vllm:num_requests_running", "gauge": {"dataPoints": [{**_POINT, "asInt": "3"}]}},
    {"name": "vllm:prompt_tokens_total", "sum": {"aggregationTemporality": 1, "isMonotonic": True,
     "dataPoints": [{**_POINT, "asDouble": 3.5}]}},
    {"name": "vllm:time_to_first_token_seconds", "histogram": {"aggregationTemporality": 2,
     "dataPoints": [{**_POINT, "count": "3", "sum": 0.7, "explicitBounds": [0.1, 1.0],
                     "bucketCounts": ["1", "1", "1"]}]}},
    {"name": "vllm:e2e_request_latency_seconds", "exponentialHistogram": {
     "aggregationTemporality": 2, "dataPoints": [{**_POINT, "count": "3", "sum": 0.7, "scale": 2,
      "zeroCount": "1", "positive": {"offset": -3, "bucketCounts": ["1", "0", "1"]}}]}},
]}]}]}  # fmt: skip
_JSON_SEEDS = tuple(json.dumps(one).encode() for one in (_TRACES, _METRICS))


def _json_seeds(folder: Path) -> Sequence[bytes]:
    del folder
    return _JSON_SEEDS


def _protobuf_seeds(folder: Path) -> Sequence[bytes]:
    del folder
    traces = json_format.ParseDict(_with_base64(_TRACES), ExportTraceServiceRequest())
    metrics = json_format.ParseDict(_with_base64(_METRICS), ExportMetricsServiceRequest())
    return b"T" + traces.SerializeToString(), b"M" + metrics.SerializeToString()


class _Readers:
    """Both signals, decoded, read and turned into frames."""

    def __init__(self) -> None:
        self.spans = SpanReader(OtlpSettings())
        self.metrics = MetricReader()
        self._taken = 0

    def traces(self, groups: Any) -> None:
        reading = self.spans.read(groups, NOW_NS)
        request_frame(reading.requests)
        start_frame(reading.starts)

    def points(self, groups: Any) -> None:
        self._taken += 1
        if self._taken % 1_000 == 0:
            self.metrics = MetricReader()  # its memory of senders is bounded by the hour
        reading = self.metrics.read(groups, NOW_NS)
        frames([_scrape(1, told) for told in reading.rounds])


def _json_made(folder: Path, ending: ExitStack) -> Take:
    del folder, ending
    readers = _Readers()

    def take(data: bytes) -> None:
        for decode, read in (
            (lambda: json_walk.decode_traces(data, readers.spans.wanted), readers.traces),
            (lambda: json_walk.decode_metrics(data), readers.points),
        ):
            try:
                read(decode())
            except OtlpDamaged:
                continue

    return take


def _protobuf_made(folder: Path, ending: ExitStack) -> Take:
    del folder, ending
    readers = _Readers()

    def take(data: bytes) -> None:
        body = data[1:]
        if data[:1] == b"T":
            kind, read = ExportTraceServiceRequest, readers.traces
            decode = lambda body: protobuf.decode_traces(body, readers.spans.wanted)  # noqa: E731
            walk = lambda body: json_walk.decode_traces(body, readers.spans.wanted)  # noqa: E731
        else:
            kind, read = ExportMetricsServiceRequest, readers.points
            decode, walk = protobuf.decode_metrics, json_walk.decode_metrics
        told = _decoded(decode, body)
        with mock.patch.object(protobuf, "PIECE_BYTES", -1), \
                mock.patch.object(split, "PIECE_BYTES", 64):  # fmt: skip
            cut = _decoded(decode, body)
        theirs = _google(kind, body)
        same("whether Google's decoder takes it", told is not None, theirs is not None)
        if told is None:
            return
        # The outer levels are walked by hand there; Google also refuses what is wrong inside.
        same("cut into pieces", None if cut is None else _spread(cut), _spread(told))
        as_json = _otlp_json(theirs)
        same("as JSON", repr(_spread(walk(as_json))), repr(_spread(told)))
        read(told)

    return take


def _decoded(decode: Any, body: bytes) -> Any:
    try:
        return decode(body)
    except OtlpDamaged:
        return None


def _google(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except DecodeError:
        return None


def _spread(groups: Any) -> list[Any]:
    """Items with their owners, however they were grouped; those without items do not count."""
    return [
        (repr(sorted(resource.items())), scope, repr(item))
        for resource, scope, items in groups
        for item in items
    ]


def _otlp_json(message: Any) -> bytes:
    told = json_format.MessageToDict(message, use_integers_for_enums=True)
    return json.dumps(_walked(told, _hexed), allow_nan=False).encode()


def _with_base64(told: Any) -> Any:
    return _walked(told, lambda text: base64.b64encode(bytes.fromhex(text)).decode())


def _hexed(text: str) -> str:
    return base64.b64decode(text).hex()


def _walked(told: Any, change: Any) -> Any:
    if isinstance(told, dict):
        return {
            key: change(value) if key in _IDS and isinstance(value, str) else _walked(value, change)
            for key, value in told.items()
        }
    if isinstance(told, list):
        return [_walked(one, change) for one in told]
    return told if not isinstance(told, float) or math.isfinite(told) else str(told)


OTLP_JSON = Target(
    "otlp-json", "OTLP exports of traces and metrics in JSON, to rows",
    _json_seeds, _json_made, is_text=True,
    words=(b'"stringValue":', b'"intValue":', b'"arrayValue":', b'"values":', b"null", b"[]"),
)  # fmt: skip
OTLP_PROTOBUF = Target(
    "otlp-protobuf", "the same in protobuf, beside Google's decoder and beside itself as JSON",
    _protobuf_seeds, _protobuf_made, words=(b"\x0a", b"\x12", b"\x1a", b"gen_ai.", b"vllm:"),
)  # fmt: skip
