"""Rows of gateways arrive once, and what an engine tells of the same request joins them."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.testclient import TestClient

from collector.agent.wire import BATCH_HEADER
from servescope.runtime import Runtime
from servescope.server import create_app
from store.queries import control

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
AT = NOW - timedelta(minutes=1)
TRACE, OTHER = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c"
SPAN, ENGINE_SPAN, CALLER_SPAN = "aa" * 8, "bb" * 8, "cc" * 8
ROW = {
    "request_id": f"{TRACE}:{SPAN}", "arrived_at": AT.timestamp(), "status": "ok",
    "tenant": "acme", "model": "llama", "route": "chat/completions", "instance": "gpu-1",
    "input_tokens": 90, "output_tokens": 9, "queue_seconds": 0.5, "ttft_seconds": 1.25,
    "e2e_seconds": 3.0, "attempt": 1, "tenant_weight": 2.0, "trace_id": TRACE,
    "span_id": SPAN, "parent_id": CALLER_SPAN,
}  # fmt: skip
ENGINE = {
    "gen_ai.latency.e2e": 2.4,
    "gen_ai.latency.time_in_queue": 0.25,
    "gen_ai.latency.time_in_model_prefill": 0.5,
    "gen_ai.latency.time_in_model_decode": 1.5,
    "gen_ai.usage.prompt_tokens": 100,
    "gen_ai.usage.completion_tokens": 10,
}
CALLER = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "llama"}
FOLDED = {
    "tenant": "acme", "instance": "gpu-1", "attempt": 1, "queue_seconds": 0.75,
    "prefill_seconds": 0.5, "decode_seconds": 1.5, "input_tokens": 100, "output_tokens": 10,
    "ttft_seconds": 1.25, "e2e_seconds": 3.0,
}  # fmt: skip


def span(span_id, parent, start, end, attributes, *, kind=2, scope="engine"):
    """An OTLP export of one span; times in seconds after the request came."""
    request = ExportTraceServiceRequest()
    scoped = request.resource_spans.add().scope_spans.add()
    scoped.scope.name = scope
    begin = int(AT.timestamp() * 1e9)
    told = scoped.spans.add(
        trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(span_id),
        parent_span_id=bytes.fromhex(parent), name="llm_request", kind=kind,
        start_time_unix_nano=begin + int(start * 1e9), end_time_unix_nano=begin + int(end * 1e9),
    )  # fmt: skip
    for key, value in attributes.items():
        pair = told.attributes.add(key=key)
        if isinstance(value, str):
            pair.value.string_value = value
        elif isinstance(value, int):
            pair.value.int_value = value
        else:
            pair.value.double_value = value
    return request.SerializeToString()


ENGINES = span(ENGINE_SPAN, SPAN, 0.5, 2.9, ENGINE)
CALLERS = span(CALLER_SPAN, "", -0.01, 3.01, CALLER, kind=3)


@pytest.fixture
def door(runtime):
    with TestClient(create_app(runtime), base_url="http://127.0.0.1:8787") as client:
        yield client


def post(client, *rows, batch_id="b-1", name="edge", drops=()):
    body = orjson.dumps({"rows": rows, "drops": drops})
    headers = {"Content-Type": "application/json", BATCH_HEADER: batch_id}
    return client.post(f"/api/v1/gateways/{name}/rows", content=body, headers=headers)


def export(client, body):
    headers = {"Content-Type": "application/x-protobuf"}
    assert client.post("/v1/traces", content=body, headers=headers).status_code == 200


def kept(runtime):
    sql = "SELECT * FROM requests ORDER BY arrived_at, attempt"
    return runtime.database.reader.frame(sql).to_dicts()


def the_one(runtime):
    (row,) = kept(runtime)
    return {name: row[name] for name in FOLDED}


def test_a_batch_is_kept_once(door, runtime):
    """The rows are there when the answer is; the same batch or the same row again adds none."""
    refused = {
        "request_id": "g:7:1", "arrived_at": AT.timestamp() + 1, "status": "refused",
        "tenant": "acme", "admission_reason": "queue_full", "retry_after_seconds": 1.5,
    }  # fmt: skip
    first, again = post(door, ROW, refused), post(door, ROW, refused)
    assert first.json() == {"rows": 2, "added": 2, "known": False, "rejected": 0, "reasons": {}}
    assert (again.status_code, again.json()["known"], again.json()["added"]) == (200, True, 0)
    assert post(door, ROW, batch_id="b-2").json()["added"] == 0
    assert [(row["status"], row["admission_reason"]) for row in kept(runtime)] == [
        ("ok", None), ("refused", "queue_full"),
    ]  # fmt: skip


def test_nonsense_is_no_demand(door, runtime):
    """Whoever sends broken requests to a model neither makes it grow nor spoils its record."""
    nonsense = {
        "request_id": "g:8:1", "arrived_at": AT.timestamp() + 1, "status": "refused",
        "model": "llama", "admission_reason": "invalid_json", "is_counted": False,
    }  # fmt: skip
    post(door, ROW, nonsense)
    start, end = (at.replace(tzinfo=None) for at in (AT - timedelta(minutes=5), NOW))
    found = control.requests(
        runtime.database.reader, ["llama"], [], (None, None), (start, start, start, end)
    )
    assert len(kept(runtime)) == 2
    assert (found["arrived"], found["refused"], found["attainment"]) == (1, 0, 1.0)


@pytest.mark.parametrize("request_id", [[], {"a": 1}, 7, True])
def test_an_id_that_is_no_text_is_a_bad_row(door, request_id):
    """The row is left out; found by reading beside the fuzzer, it took the whole batch along."""
    told = post(door, ROW, {**ROW, "request_id": request_id}).json()
    assert (told["added"], told["rejected"]) == (1, 1)


def test_losses_beyond_counting_are_refused(door):
    """A count that the store cannot hold is the sender's mistake."""
    body = orjson.dumps({"rows": [ROW], "drops": [[AT.timestamp(), "gateway", "full", 2**63, ""]]})
    headers = {"Content-Type": "application/json", BATCH_HEADER: "b-9"}
    answer = door.post("/api/v1/gateways/gw-1/rows", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "input")


def test_what_cannot_be_kept_says_why(door, runtime):
    """A bad row is left out and counted, a damaged batch is refused for good."""
    told = post(door, ROW, {**ROW, "status": "fine"}, 7).json()
    assert (told["added"], told["rejected"]) == (1, 2)
    assert "status must be one of" in " ".join(told["reasons"])
    headers = {"Content-Type": "application/json", BATCH_HEADER: "b-3"}
    for body in (b"no json", b"[]", b'{"rows": 7}', b'{"rows": [], "drops": [[1]]}'):
        answer = door.post("/api/v1/gateways/edge/rows", content=body, headers=headers)
        assert answer.status_code == 400, body
    assert post(door, ROW, batch_id="").status_code == 400
    assert post(door, ROW, name="no name").status_code == 400


def test_losses_are_told(door, runtime):
    """What the gateway lost is in the counts of the server, under its own name."""
    post(door, drops=[[AT.timestamp(), "gateway", "the spool was full", 12, "x"]])
    told = runtime.database.reader.frame("SELECT door, reason, dropped_count FROM ingest_drop")
    assert told.rows() == [("gateway:edge", "the spool was full", 12)]


@pytest.mark.parametrize("order", ["gateway engine", "engine gateway"])
def test_gateway_and_engine_are_one_row(door, runtime, order):
    """The gateway's word for tenant and line, the engine's for its own times; told again, too."""
    tell = {"gateway": lambda: post(door, ROW), "engine": lambda: export(door, ENGINES)}
    for who in order.split():
        tell[who]()
    assert the_one(runtime) == FOLDED
    for who in order.split():
        tell[who]()
    assert post(door, ROW, batch_id="b-9").json()["added"] == 0
    assert the_one(runtime) == FOLDED


@pytest.mark.parametrize("order", ["caller gateway engine", "gateway engine caller",
                                   "engine caller gateway", "caller gateway"])  # fmt: skip
def test_a_caller_that_tells_too_adds_no_row(door, runtime, order):
    """Three who tell of one request, in any order."""
    tell = {
        "gateway": lambda: post(door, ROW),
        "engine": lambda: export(door, ENGINES),
        "caller": lambda: export(door, CALLERS),
    }
    for who in order.split():
        tell[who]()
    (row,) = kept(runtime)
    assert (row["tenant"], row["attempt"]) == ("acme", 1)
    assert row["prefill_seconds"] == (0.5 if "engine" in order else None)


def test_a_server_that_was_away_folds_what_came_before_it(door, runtime, clock):
    """The row waited in the spool while the server that knew the engine's span ended."""
    export(door, ENGINES)
    clock.advance(60)
    after = Runtime(runtime.config, runtime.database, clock, runtime.slos)
    with TestClient(create_app(after), base_url="http://127.0.0.1:8787") as again:
        assert post(again, ROW).json()["added"] == 1
        assert the_one(runtime) == FOLDED


def test_each_attempt_has_a_row(door, runtime):
    """The engine that served is folded into the attempt that it served."""
    second = "dd" * 8
    failed = {
        **ROW, "status": "failed", "instance": "gpu-0", "e2e_seconds": 0.2,
        "finish_reason": "upstream_reset",
    }  # fmt: skip
    served = {
        **ROW, "request_id": f"{TRACE}:{second}", "span_id": second, "attempt": 2,
    }  # fmt: skip
    post(door, failed, served)
    export(door, span(ENGINE_SPAN, second, 0.5, 2.9, ENGINE))
    rows = kept(runtime)
    told = [(row["attempt"], row["status"], row["prefill_seconds"]) for row in rows]
    assert told == [(1, "failed", None), (2, "ok", 0.5)]


def test_the_gateways_own_span_is_no_second_row(door, runtime):
    """Its spans may come to the same server: the row tells more."""
    export(door, span(SPAN, "", 0, 3, CALLER, kind=3, scope="servescope.gateway"))
    assert kept(runtime) == []
    post(door, ROW)
    assert len(kept(runtime)) == 1
