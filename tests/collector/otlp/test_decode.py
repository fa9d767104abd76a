"""Both encodings of OTLP: they say the same, and nothing that comes in is a fault of ours."""

import json
from contextlib import suppress

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.otlp import json_walk, protobuf, split
from collector.otlp.model import OtlpDamaged

WANTED = frozenset({"gen_ai.usage.input_tokens", "tenant.id", "a"})
U64 = st.integers(0, 2**64 - 1)
FINITE = st.floats(allow_nan=False)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


def fill(value, told):
    if isinstance(told, list):
        value.array_value.SetInParent()
        for item in told:
            fill(value.array_value.values.add(), item)
    elif isinstance(told, bool):
        value.bool_value = told
    elif isinstance(told, int):
        value.int_value = told
    elif isinstance(told, float):
        value.double_value = told
    elif isinstance(told, bytes):
        value.bytes_value = told
    elif told is not None:
        value.string_value = told


SCALARS = st.one_of(
    TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), FINITE, st.binary(max_size=9), st.none()
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from([*sorted(WANTED), "other"]),
    st.one_of(SCALARS, st.lists(SCALARS, max_size=3)),
    max_size=4,
)


def add_attributes(pairs, told):
    for key, value in told.items():
        fill(pairs.add(key=key).value, value)


@st.composite
def traces(draw):
    request = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        group = request.resource_spans.add()
        add_attributes(group.resource.attributes, draw(ATTRIBUTES))
        scope = group.scope_spans.add()
        scope.scope.name = draw(TEXT)
        for _ in range(draw(st.integers(0, 3))):
            span = scope.spans.add(
                trace_id=draw(
                    st.one_of(st.binary(min_size=16, max_size=16), st.binary(max_size=3))
                ),
                span_id=draw(st.one_of(st.binary(min_size=8, max_size=8), st.just(bytes(8)))),
                parent_span_id=draw(st.one_of(st.binary(min_size=8, max_size=8), st.just(b""))),
                name=draw(TEXT),
                kind=draw(st.integers(0, 5)),
                start_time_unix_nano=draw(U64),
                end_time_unix_nano=draw(U64),
            )
            span.status.code = draw(st.integers(0, 2))
            add_attributes(span.attributes, draw(ATTRIBUTES))
    return request


def add_metric(draw, metric):
    kind = draw(
        st.sampled_from(["gauge", "sum", "histogram", "exponential_histogram", "summary", ""])
    )
    if not kind:
        return
    data = getattr(metric, kind)
    data.SetInParent()
    if kind not in {"gauge", "summary"}:
        data.aggregation_temporality = draw(st.integers(0, 2))
    if kind == "sum":
        data.is_monotonic = draw(st.booleans())
    for _ in range(draw(st.integers(0, 2))):
        point = data.data_points.add(time_unix_nano=draw(U64), start_time_unix_nano=draw(U64))
        add_attributes(point.attributes, draw(ATTRIBUTES))
        if kind == "summary":
            continue
        point.flags = draw(st.integers(0, 1))
        if kind in {"gauge", "sum"}:
            told = draw(st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats()))
            setattr(point, "as_int" if isinstance(told, int) else "as_double", told)
        else:
            add_histogram(draw, kind, point)


def add_histogram(draw, kind, point):
    counts = st.lists(st.integers(0, 2**40), max_size=3)
    point.count = draw(U64)
    if draw(st.booleans()):
        point.sum = draw(FINITE)
    if kind == "histogram":
        point.explicit_bounds.extend(draw(st.lists(FINITE, max_size=3)))
        point.bucket_counts.extend(draw(counts))
        return
    point.scale = draw(st.integers(-10, 20))
    point.zero_count = draw(U64)
    point.zero_threshold = draw(st.floats(0, 1))
    for side in (point.positive, point.negative):
        side.offset = draw(st.integers(-1000, 1000))
        side.bucket_counts.extend(draw(counts))


@st.composite
def metrics(draw):
    request = ExportMetricsServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        group = request.resource_metrics.add()
        add_attributes(group.resource.attributes, draw(ATTRIBUTES))
        scope = group.scope_metrics.add()
        for _ in range(draw(st.integers(0, 3))):
            add_metric(draw, scope.metrics.add(name=draw(TEXT), unit=draw(TEXT)))
    return request


def otlp_json(message):
    """As OTLP writes JSON: ids in hex (the general mapping has base64), enums as integers."""
    told = MessageToDict(message, use_integers_for_enums=True)
    for group, source in zip(
        told.get("resourceSpans", []), getattr(message, "resource_spans", ()), strict=True
    ):
        spans = (s for scope in group.get("scopeSpans", []) for s in scope.get("spans", []))
        sources = (s for scope in source.scope_spans for s in scope.spans)
        for span, mine in zip(spans, sources, strict=True):
            span["traceId"] = mine.trace_id.hex().upper()
            span["spanId"] = mine.span_id.hex()
            span["parentSpanId"] = mine.parent_span_id.hex()
            span["aFieldOfTomorrow"] = {"deep": [1, None]}
    return json.dumps(told).encode()


def plain(told):
    """Comparable: NaN is itself."""
    return repr(told)


@settings(max_examples=60, deadline=None)
@given(traces())
def test_spans_say_the_same_in_both_encodings(request):
    """Whatever a request holds, JSON and protobuf decode to one thing."""
    assert plain(json_walk.decode_traces(otlp_json(request), WANTED)) == plain(
        protobuf.decode_traces(request.SerializeToString(), WANTED)
    )


@settings(max_examples=60, deadline=None)
@given(metrics())
def test_metrics_say_the_same_in_both_encodings(request):
    """The same for metrics of every kind."""
    assert plain(json_walk.decode_metrics(otlp_json(request))) == plain(
        protobuf.decode_metrics(request.SerializeToString())
    )


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_bytes_are_decoded_or_refused(body):
    """No bytes are a fault."""
    for module in (protobuf, json_walk):
        for decode in (
            lambda told, module=module: module.decode_traces(told, WANTED),
            module.decode_metrics,
            module.count_log_records,
        ):
            with suppress(OtlpDamaged):
                decode(body)


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "resourceSpans",
                    "scopeSpans",
                    "spans",
                    "attributes",
                    "key",
                    "value",
                    "traceId",
                    "intValue",
                    "arrayValue",
                    "values",
                    "status",
                    "code",
                    "resource",
                    "scope",
                    "name",
                    "resourceMetrics",
                    "scopeMetrics",
                    "metrics",
                    "sum",
                    "dataPoints",
                    "asInt",
                    "histogram",
                    "bucketCounts",
                    "exponentialHistogram",
                    "positive",
                    "flags",
                    "scale",
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(JSON_VALUES)
def test_documents_of_any_shape_are_decoded_or_refused(told):
    """No JSON is a fault, wherever a value of another type stands."""
    body = json.dumps(told).encode()
    with suppress(OtlpDamaged):
        json_walk.decode_traces(body, WANTED)
    with suppress(OtlpDamaged):
        json_walk.decode_metrics(body)


def span_json(**told):
    return json.dumps(
        {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "0" * 31 + "1", **told}]}]}]}
    ).encode()


def test_ids_are_hexadecimal_and_never_base64():
    """32 hex digits are 16 bytes; as base64 they would silently be 24 others."""
    body = span_json(traceId="5B8EFFF798038103D269B633813FC60C", spanId="EEE19B7EC3C1B174")
    [[_, _, [span]]] = json_walk.decode_traces(body, WANTED)
    assert span.trace_id == "5b8efff798038103d269b633813fc60c"
    assert span.span_id == "eee19b7ec3c1b174"
    [[_, _, [other]]] = json_walk.decode_traces(span_json(traceId="W47/95gDgQPSabYzgT/GDA=="), ())
    assert other.trace_id == ""


@pytest.mark.parametrize("told", [1544712660300000000, "1544712660300000000"])
def test_large_integers_are_numbers_or_texts(told):
    """Both forms are the same time, to the nanosecond."""
    [[_, _, [span]]] = json_walk.decode_traces(span_json(startTimeUnixNano=told), WANTED)
    assert span.start_ns == 1544712660300000000


@pytest.mark.parametrize(
    ("name", "told"),
    [("kind", "SPAN_KIND_SERVER"), ("startTimeUnixNano", "soon"), ("startTimeUnixNano", -1),
     ("name", 5), ("attributes", {}), ("status", [])],
)  # fmt: skip
def test_what_breaks_the_rules_is_refused_by_name(name, told):
    """Names of enum values, times that are none: the message says which field."""
    with pytest.raises(OtlpDamaged, match=name):
        json_walk.decode_traces(span_json(**{name: told}), WANTED)


def test_keys_in_snake_case_are_unknown_and_ignored():
    """Only lowerCamelCase counts."""
    [[_, _, [span]]] = json_walk.decode_traces(span_json(start_time_unix_nano=5), WANTED)
    assert span.start_ns == 0


def test_log_records_are_counted():
    """For the answer that says how many were refused."""
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add()
    assert protobuf.count_log_records(logs.SerializeToString()) == 1
    assert json_walk.count_log_records(json.dumps(MessageToDict(logs)).encode()) == 1


def flat(groups):
    return [
        (plain(group.resource), group.scope, plain(item)) for group in groups for item in group[2]
    ]


@settings(max_examples=60, deadline=None)
@given(traces(), metrics(), st.integers(1, 200))
def test_a_large_export_is_the_same_in_pieces(spans, points, size):
    """Cutting changes nothing but the memory it takes."""
    for request, decode in (
        (spans, lambda body: protobuf.decode_traces(body, WANTED)),
        (points, protobuf.decode_metrics),
    ):
        body = request.SerializeToString()
        whole = flat(decode(body))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(protobuf, "PIECE_BYTES", 0)
            patch.setattr(split, "PIECE_BYTES", size)
            assert flat(decode(body)) == whole


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_cutting_refuses_what_is_no_message(body):
    """Bytes are cut or refused, and what is cut can be counted."""
    with suppress(OtlpDamaged):
        list(split.pieces(body))
        assert split.count_items(body) >= 0


def test_a_small_body_of_very_many_spans_is_refused():
    """Two bytes can be a span of hundreds in memory: the number is limited, not only the bytes."""
    spans = b"\x12\x00" * 300_000
    scope = b"\x12" + varint(len(spans)) + spans
    body = b"\x0a" + varint(len(scope)) + scope
    with pytest.raises(OtlpDamaged, match="200,000"):
        protobuf.decode_traces(body, WANTED)
    groups = b"\x0a\x02\x12\x00" * 300_000
    with pytest.raises(OtlpDamaged, match="200,000"):
        protobuf.decode_traces(groups, WANTED)


def varint(value):
    told = b""
    while value > 127:
        told += bytes([value & 127 | 128])
        value >>= 7
    return told + bytes([value])


def test_a_document_of_very_many_spans_is_refused():
    """The same limit for JSON."""
    spans = ",".join(["{}"] * 200_001)
    body = f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}'.encode()
    with pytest.raises(OtlpDamaged, match="200,000"):
        json_walk.decode_traces(body, WANTED)


@pytest.mark.parametrize(
    ("tail", "is_sound"),
    [
        (b"\x73\x08\x01\x74", True),  # a group of field 14 that holds a number
        (b"\x73\x0a\x01x\x74", True),  # one that holds what would be spans elsewhere
        (b"\x73\x08\x01", False), (b"\x74", False), (b"\x73\x7c", False), (b"\x76", False),
    ],
)  # fmt: skip
def test_groups_of_old_are_stepped_over_as_google_does(tail, is_sound):
    """Large exports are walked by hand; they are refused where Google's decoder refuses them."""
    body = ExportTraceServiceRequest().SerializeToString() + tail
    with pytest.MonkeyPatch.context() as patch:
        for size in (0, 1 << 20):
            patch.setattr(protobuf, "PIECE_BYTES", -1 if size == 0 else size)
            if is_sound:
                assert protobuf.decode_traces(body, WANTED) == []
            else:
                with pytest.raises(OtlpDamaged):
                    protobuf.decode_traces(body, WANTED)
