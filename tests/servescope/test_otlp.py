"""The doors for OTLP, as exporters meet them."""

import gzip
import json
import random
import threading
from datetime import timedelta

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.testclient import TestClient

from servescope import otlp_intake
from servescope.config import load
from servescope.listening import bind
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.database import Database
from store.errors import ConfigError, StoreError, WriterOverloaded

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
ENGINE = {
    "gen_ai.latency.e2e": 2.5,
    "gen_ai.latency.time_to_first_token": 0.5,
    "gen_ai.latency.time_in_queue": 0.1,
    "gen_ai.latency.time_in_model_prefill": 0.4,
    "gen_ai.latency.time_in_model_decode": 1.8,
    "gen_ai.usage.prompt_tokens": 100,
    "gen_ai.usage.completion_tokens": 10,
}


def set_attributes(pairs, attributes):
    for key, value in attributes.items():
        pair = pairs.add(key=key)
        if isinstance(value, str):
            pair.value.string_value = value
        elif isinstance(value, int):
            pair.value.int_value = value
        elif isinstance(value, float):
            pair.value.double_value = value
        else:
            for item in value:
                pair.value.array_value.values.add(string_value=item)


def export(*spans, now, resource=None):
    """A request of spans, each a dict of what differs from an engine's."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    set_attributes(group.resource.attributes, resource or {"service.name": "llama"})
    scope = group.scope_spans.add()
    start = int((now - timedelta(minutes=1)).timestamp() * 1e9)
    for number, told in enumerate(spans, 1):
        span = scope.spans.add(
            trace_id=told.get("trace", number.to_bytes(16)),
            span_id=told.get("span", number.to_bytes(8)),
            parent_span_id=told.get("parent", b""),
            name=told.get("name", "llm_request"),
            kind=told.get("kind", 2),
            start_time_unix_nano=start + told.get("at", number) * 10**6,
            end_time_unix_nano=start + told.get("end", 10_000) * 10**6,
        )
        span.status.code = told.get("status", 0)
        set_attributes(span.attributes, told.get("attributes", ENGINE))
    return request


def as_json(request):
    """The request as OTLP/JSON writes it: ids in hex, enums as integers."""
    told = MessageToDict(request, use_integers_for_enums=True)
    for resource, mine in zip(told.get("resourceSpans", []), request.resource_spans, strict=True):
        for scope, own in zip(resource.get("scopeSpans", []), mine.scope_spans, strict=True):
            for span, source in zip(scope.get("spans", []), own.spans, strict=True):
                for name, value in (
                    ("traceId", source.trace_id),
                    ("spanId", source.span_id),
                    ("parentSpanId", source.parent_span_id),
                ):
                    if value:
                        span[name] = value.hex().upper()
    return json.dumps(told).encode()


@pytest.fixture
def now(clock):
    return clock.now()


@pytest.fixture
def door(runtime):
    with TestClient(create_app(runtime), base_url="http://127.0.0.1:8787") as client:
        yield client


def rows(runtime, columns="*"):
    return runtime.database.reader.frame(
        f"SELECT {columns} FROM requests ORDER BY arrived_at, trace_id"
    ).to_dicts()


def test_a_span_of_an_engine_becomes_a_request(door, runtime, now):
    """Tokens, phases and latencies of vLLM's span are there once the answer is."""
    answer = door.post(
        "/v1/traces", content=export({}, now=now).SerializeToString(), headers=PROTOBUF
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-protobuf")
    assert not ExportTraceServiceResponse.FromString(answer.content).HasField("partial_success")
    [row] = rows(runtime)
    assert row["model"] == "llama"
    assert row["status"] == "ok"
    assert (row["input_tokens"], row["output_tokens"]) == (100, 10)
    assert (row["queue_seconds"], row["prefill_seconds"], row["decode_seconds"]) == (0.1, 0.4, 1.8)
    assert (row["ttft_seconds"], row["e2e_seconds"]) == (0.5, 2.5)
    assert row["tpot_seconds"] == pytest.approx(0.2)


def test_json_and_gzip_say_the_same(door, runtime, now):
    """The answer speaks the request's language; the row is that of protobuf, not a second one."""
    request = export({}, now=now)
    door.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)
    answer = door.post(
        "/v1/traces",
        content=gzip.compress(as_json(request)),
        headers={"Content-Type": "application/json; charset=utf-8", "Content-Encoding": "gzip"},
    )
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["content-type"] == "application/json"
    assert len(rows(runtime)) == 1


def test_an_export_that_comes_again_adds_nothing(door, runtime, now):
    """A sender that missed the answer sends again; requests are known by trace and span."""
    body = export({}, {}, {}, now=now).SerializeToString()
    for _ in range(3):
        assert door.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 200
    assert len(rows(runtime)) == 3


def test_spans_without_ids_are_refused_and_told(door, runtime, now):
    """The good span is kept; the sender learns how many were not, and why."""
    request = export({}, {"trace": b""}, {"span": bytes(8)}, now=now)
    answer = door.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)
    told = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, told.rejected_spans) == (200, 2)
    assert "trace id" in told.error_message
    assert len(rows(runtime)) == 1
    as_text = door.post("/v1/traces", content=as_json(request), headers=JSON).json()
    assert as_text["partialSuccess"]["rejectedSpans"] == "2"


def test_logs_sent_to_traces_are_seen(door, runtime, now):
    """A logs export decodes as spans without ids: it is refused and counted, not kept."""
    logs = ExportLogsServiceRequest()
    record = logs.resource_logs.add().scope_logs.add().log_records.add()
    record.time_unix_nano = int(now.timestamp() * 1e9)
    answer = door.post("/v1/traces", content=logs.SerializeToString(), headers=PROTOBUF)
    if answer.status_code == 200:
        told = ExportTraceServiceResponse.FromString(answer.content).partial_success
        assert told.rejected_spans == 1
    else:
        assert answer.status_code == 400
    assert rows(runtime) == []


def test_logs_are_refused_in_a_way_that_they_do_not_come_again(door, now):
    """A pipeline with logs in it goes on working."""
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add()
    answer = door.post("/v1/logs", content=logs.SerializeToString(), headers=PROTOBUF)
    told = ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, told.rejected_log_records) == (200, 1)
    empty = door.post("/v1/logs", content=b"{}", headers=JSON)
    assert (empty.status_code, empty.json()) == (200, {})


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics", "/v1/logs"])
def test_empty_exports_are_fine(door, path):
    """An empty request is a success."""
    assert door.post(path, content=b"", headers=PROTOBUF).status_code == 200
    assert door.post(path, content=b"{}", headers=JSON).status_code == 200


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics", "/v1/logs"])
def test_what_cannot_be_decoded_is_400_and_a_status(door, path):
    """The sender must not try again, and reads why in its own encoding."""
    answer = door.post(path, content=b"\xff\xff\xff", headers=PROTOBUF)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/x-protobuf")
    assert b"protobuf" in answer.content
    answer = door.post(path, content=b"<html>", headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert "JSON" in answer.json()["message"]


@pytest.mark.parametrize("told", ["text/plain", "", "application/grpc"])
def test_other_types_are_415(door, told):
    """What it may be stands in the answer."""
    answer = door.post("/v1/traces", content=b"", headers={"Content-Type": told})
    assert answer.status_code == 415
    assert "application/x-protobuf" in answer.json()["message"]


def test_a_bomb_and_a_long_body_are_413(door):
    """In the request's encoding, before anything is unpacked or read whole."""
    bomb = gzip.compress(bytes(80 << 20), 9)
    packed = door.post("/v1/traces", content=bomb, headers={**PROTOBUF, "Content-Encoding": "gzip"})
    assert (packed.status_code, packed.headers["content-type"]) == (413, "application/x-protobuf")
    long = door.post("/v1/traces", content=b"", headers={**JSON, "Content-Length": str(1 << 30)})
    assert (long.status_code, long.headers["content-type"]) == (413, "application/json")


def test_a_full_queue_says_when_to_come_again(door, runtime, now, monkeypatch):
    """429 with Retry-After; nothing was taken."""

    def full(*args):
        raise WriterOverloaded("many rows wait")

    monkeypatch.setattr(runtime.database.writer, "append", full)
    body = export({}, now=now).SerializeToString()
    answer = door.post("/v1/traces", content=body, headers=PROTOBUF)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_a_store_that_stopped_is_503(door, runtime, now, monkeypatch):
    """The sender keeps its spans and tries again."""

    def stopped(*args):
        raise StoreError("the disk is full")

    monkeypatch.setattr(runtime.database.writer, "append", stopped)
    body = export({}, now=now).SerializeToString()
    answer = door.post("/v1/traces", content=body, headers=PROTOBUF)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_spans_of_other_things_are_counted_and_not_refused(door, runtime, now):
    """A sender of all its spans is not told of each that is none of ours; Admin is."""
    request = export(
        {"attributes": {"http.response.status_code": 200}, "name": "GET /"},
        {"attributes": {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 9}},
        now=now,
    )
    answer = door.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)
    assert (answer.status_code, answer.content) == (200, b"")
    assert rows(runtime) == []
    assert sum(runtime.drops.totals().values()) == 2


CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "llama"}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_request_told_by_engine_and_caller_is_one(door, runtime, now, order):
    """Whichever comes first, the engine's row is the one that stays."""
    trace = b"t" * 16
    engine = export({"trace": trace, "span": b"e" * 8, "parent": b"h" * 8, "at": 5}, now=now)
    caller = export(
        {"trace": trace, "span": b"c" * 8, "kind": 3, "at": 1, "end": 11_000, "attributes": CALL},
        now=now,
    )
    for number in (*order, *order):
        body = (engine, caller)[number].SerializeToString()
        assert door.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 200
    [row] = rows(runtime)
    assert row["queue_seconds"] == 0.1


def test_a_call_elsewhere_in_the_same_trace_is_its_own_request(door, runtime, now):
    """An agent that asks our engine and a hosted model has made two requests."""
    trace = b"t" * 16
    request = export(
        {"trace": trace, "span": b"e" * 8, "at": 5, "end": 900},
        {"trace": trace, "span": b"c" * 8, "kind": 3, "at": 1, "end": 1000, "attributes": CALL},
        {"trace": trace, "span": b"d" * 8, "kind": 3, "at": 2000, "end": 3000, "attributes": CALL},
        now=now,
    )
    assert door.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)
    assert len(rows(runtime)) == 2


def test_starts_of_vllm_are_kept_as_phases(door, runtime, now):
    """The spans of loading become phases of a start."""
    request = export({"name": "Load weights", "attributes": {}}, now=now)
    request.resource_spans[0].scope_spans[0].scope.name = "vllm.model_executor.model_loader"
    answer = door.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)
    assert answer.status_code == 200
    [row] = runtime.database.reader.frame("SELECT * FROM instance_start").to_dicts()
    assert (row["instance"], row["phase"]) == ("llama", "weights")


def metric_request(now, *, name="vllm:num_requests_running", value=3.0, instance="gpu-1:8000"):
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    set_attributes(
        group.resource.attributes, {"service.name": "vllm", "service.instance.id": instance}
    )
    metric = group.scope_metrics.add().metrics.add(name=name)
    point = metric.gauge.data_points.add(as_double=value)
    point.time_unix_nano = int(now.timestamp() * 1e9)
    set_attributes(point.attributes, {"engine": "0", "model_name": "llama"})
    return request


def test_metrics_of_an_engine_become_samples(door, runtime, now):
    """A collector that scraped vLLM sends what a page would have said, and a target appears."""
    body = metric_request(now).SerializeToString()
    for _ in range(2):
        answer = door.post("/v1/metrics", content=body, headers=PROTOBUF)
        assert answer.status_code == 200
    [row] = runtime.database.reader.frame(
        """SELECT url, engine, signal, value FROM sample JOIN series USING (series_id)
        JOIN target USING (target_id)"""
    ).to_dicts()
    assert row == {
        "url": "otlp://vllm/gpu-1:8000",
        "engine": "vllm",
        "signal": "requests_running",
        "value": 3.0,
    }


def test_many_new_senders_are_noted_together(door, runtime, now):
    """A collector in front of a thousand engines: a few commits, each with its own number."""
    request = ExportMetricsServiceRequest()
    for number in range(1_000):
        request.MergeFrom(metric_request(now, value=number, instance=f"gpu-{number}:8000"))
    before = runtime.database.writer.stats().commits
    answer = door.post("/v1/metrics", content=request.SerializeToString(), headers=PROTOBUF)
    assert answer.status_code == 200
    assert runtime.database.writer.stats().commits - before < 20
    rows = runtime.database.reader.frame(
        """SELECT url, engine, value FROM sample JOIN series USING (series_id)
        JOIN target USING (target_id) ORDER BY value"""
    ).rows()
    assert rows == [(f"otlp://vllm/gpu-{n}:8000", "vllm", float(n)) for n in range(1_000)]


def test_a_flood_of_senders_is_bounded(door, runtime, now, monkeypatch):
    """New targets beyond the limit are refused and told; known ones go on."""
    monkeypatch.setattr(otlp_intake, "MOST_TARGETS", 1)
    for instance, refused in (("a", 0), ("b", 1), ("a", 0)):
        body = metric_request(now, instance=instance).SerializeToString()
        answer = door.post("/v1/metrics", content=body, headers=PROTOBUF)
        told = ExportMetricsServiceResponse.FromString(answer.content).partial_success
        assert told.rejected_data_points == refused
    assert runtime.database.reader.scalar("SELECT count(*) FROM target") == 1


def test_summaries_are_refused_with_the_reason(door, runtime, now):
    """Quantiles of several engines cannot be put together."""
    request = metric_request(now, name="vllm:other")
    metric = request.resource_metrics[0].scope_metrics[0].metrics.add(name="vllm:summary")
    metric.summary.data_points.add(count=1, sum=1.0)
    answer = door.post("/v1/metrics", content=request.SerializeToString(), headers=PROTOBUF)
    told = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert told.rejected_data_points == 1
    assert "histogram" in told.error_message


def test_callers_can_be_left_out(tmp_path, clock, now):
    """With otlp.caller_spans = drop only servers tell of requests."""
    config = load(None, {"otlp.caller_spans": "drop"}, {"XDG_CONFIG_HOME": str(tmp_path)})
    with Database.open(tmp_path / "store.duckdb", config.store, clock) as database:
        runtime = Runtime(config, database, clock, SloBook(None, clock))
        with TestClient(create_app(runtime), base_url="http://127.0.0.1") as door:
            request = export({"kind": 3, "attributes": CALL}, {}, now=now)
            door.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)
        assert len(rows(runtime)) == 1


def test_rows_that_could_not_be_committed_are_not_acknowledged(door, runtime, now, monkeypatch):
    """The answer waits for the commit; one that fails is 503, and sending again works."""
    body = export({}, now=now).SerializeToString()

    def full():
        raise StoreError("only 1 B is free")

    with monkeypatch.context() as patch:
        patch.setattr(runtime.database.standing, "check_space", full)
        assert door.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 503
    assert rows(runtime) == []
    assert door.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 200
    assert len(rows(runtime)) == 1


def test_no_bytes_are_a_fault(door):
    """Whatever is sent, the answer is one of the specification's."""
    rng = random.Random(7)  # noqa: S311
    for _ in range(60):
        body = rng.randbytes(rng.randint(0, 60))
        for headers in (PROTOBUF, JSON, {**PROTOBUF, "Content-Encoding": "gzip"}):
            for path in ("/v1/traces", "/v1/metrics", "/v1/logs"):
                assert door.post(path, content=body, headers=headers).status_code in {200, 400}


def test_more_exports_than_there_is_room_for_are_told_to_come_again(tmp_path, clock, now):
    """While one waits for its commit and there is room for one, the next is 429."""
    config = load(None, {"otlp.most_waiting_requests": 1}, {"XDG_CONFIG_HOME": str(tmp_path)})
    with Database.open(tmp_path / "store.duckdb", config.store, clock) as database:
        runtime = Runtime(config, database, clock, SloBook(None, clock))
        app = create_app(runtime)
        go_on = threading.Event()
        with TestClient(app, base_url="http://127.0.0.1") as door:
            held = database.writer.run(lambda _: go_on.wait(10), changes=False)
            body = export({}, now=now).SerializeToString()
            answers = []
            first = threading.Thread(
                target=lambda: answers.append(
                    door.post("/v1/traces", content=body, headers=PROTOBUF)
                )
            )
            first.start()
            while not database.writer.stats().queued_rows:
                go_on.wait(0.01)
            second = door.post("/v1/traces", content=body, headers=PROTOBUF)
            go_on.set()
            held.result()
            first.join()
    assert (second.status_code, second.headers["retry-after"]) == (429, "1")
    assert answers[0].status_code == 200


@pytest.mark.parametrize("listen", ["nonsense", "0.0.0.0:4318"])
def test_a_second_address_that_cannot_be_names_its_setting(listen):
    """The mistake is in otlp.listen, not in server.listen."""
    with pytest.raises(ConfigError) as refused:
        bind(listen, "otlp.listen")
    assert refused.value.where == "otlp.listen"
