"""Spans of engines, gateways and instrumentations, read by the attribute maps."""

from pathlib import Path

import pytest

from collector.otlp import requests
from collector.otlp.attributes import ATTRIBUTES, SESSION_ATTRIBUTES, TENANT_ATTRIBUTES
from collector.otlp.duplicates import Duplicates
from collector.otlp.frames import request_frame, start_frame
from collector.otlp.model import Span, SpanGroup
from collector.otlp.requests import ROW_COLUMNS, SpanReader
from collector.otlp.settings import OtlpSettings
from store.append import INSTANCE_START_FRAME, REQUEST_FRAME, shaped

SECOND = 10**9
NOW = 1_800_000_000 * SECOND
SERVER, CLIENT, INTERNAL = 2, 3, 1


def span(attributes, **told):
    return Span(
        told.get("trace", "a" * 32),
        told.get("span", "b" * 16),
        told.get("parent", ""),
        told.get("name", "chat llama"),
        told.get("kind", CLIENT),
        told.get("start", NOW - 10 * SECOND),
        told.get("end", NOW - 6 * SECOND),
        told.get("status", 0),
        attributes,
    )


def read(*spans, resource=None, scope="", settings=None):
    reader = SpanReader(settings or OtlpSettings())
    return reader.read([SpanGroup(resource or {}, scope, list(spans))], NOW)


def row(*spans, **told):
    [request] = read(*spans, **told).requests
    return dict(zip(ROW_COLUMNS, request.row, strict=True))


def test_sglang_tells_cached_tokens_and_its_model():
    """Its root span is internal and carries the engine's latencies."""
    told = row(
        span(
            {
                "gen_ai.latency.time_to_first_token": 0.2,
                "gen_ai.latency.e2e": 2.2,
                "gen_ai.usage.prompt_tokens": 50,
                "gen_ai.usage.completion_tokens": 11,
                "gen_ai.usage.cached_tokens": 32,
                "gen_ai.response.model": "qwen",
                "gen_ai.response.finish_reasons": ("length",),
            },
            kind=INTERNAL,
        ),
        resource={"service.name": "sglang", "service.instance.id": "i-1"},
    )
    assert told["model"] == "qwen"
    assert told["instance"] == "i-1"
    assert told["cached_tokens"] == 32
    assert told["finish_reason"] == "length"
    assert told["tpot_seconds"] == pytest.approx(0.2)


def test_the_standard_of_today_is_read():
    """OTel GenAI 1.41: new names, time to first chunk, the span's duration as the whole."""
    told = row(
        span(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "gpt",
                "gen_ai.response.model": "gpt-2026-01-01",
                "gen_ai.usage.input_tokens": 70,
                "gen_ai.usage.output_tokens": 1,
                "gen_ai.usage.cache_read.input_tokens": 64,
                "gen_ai.response.time_to_first_chunk": 0.25,
                "gen_ai.conversation.id": "c-7",
                "server.address": "api.example.org",
                "server.port": 443,
            }
        )
    )
    assert (told["model"], told["instance"]) == ("gpt", "api.example.org:443")
    assert (told["input_tokens"], told["cached_tokens"]) == (70, 64)
    assert (told["ttft_seconds"], told["e2e_seconds"]) == (0.25, 4.0)
    assert told["tpot_seconds"] is None
    assert told["session_id"] == "c-7"


def test_older_instrumentations_are_read():
    """OpenLLMetry before the standard, and OpenInference."""
    old = row(
        span(
            {
                "llm.request.type": "chat",
                "gen_ai.usage.prompt_tokens": 5,
                "gen_ai.usage.completion_tokens": 6,
                "gen_ai.request.model": "m",
                "traceloop.association.properties.user_id": "ann",
            }
        )
    )
    assert (old["input_tokens"], old["output_tokens"], old["tenant"]) == (5, 6, "ann")
    other = row(
        span(
            {
                "openinference.span.kind": "LLM",
                "llm.model_name": "m",
                "llm.token_count.prompt": 7,
                "llm.token_count.completion": 8,
                "user.id": "bob",
                "session.id": "s",
            },
            kind=INTERNAL,
        )
    )
    assert (other["input_tokens"], other["output_tokens"]) == (7, 8)
    assert (other["model"], other["tenant"], other["session_id"]) == ("m", "bob", "s")


def test_new_names_win_over_old_ones_on_one_span():
    """Instrumentations send both during a change; the table's order decides."""
    told = row(
        span(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.usage.prompt_tokens": 1,
                "gen_ai.usage.input_tokens": 2,
            }
        )
    )
    assert told["input_tokens"] == 2


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 100},
        {"gen_ai.operation.name": "execute_tool"},
        {"gen_ai.operation.name": "embeddings", "gen_ai.usage.input_tokens": 3},
        {"traceloop.span.kind": "workflow", "gen_ai.usage.prompt_tokens": 100},
        {"openinference.span.kind": "CHAIN", "llm.token_count.prompt": 100},
    ],
)
def test_tokens_on_other_spans_make_no_request(attributes):
    """Agents and workflows repeat the tokens of the calls below them."""
    reading = read(span(attributes))
    assert reading.requests == []
    assert dict(reading.left_out) == {requests.NOT_AN_INFERENCE: 1}


def test_spans_of_other_things_are_counted_with_an_example():
    """Nothing goes unseen."""
    reading = read(span({}, name="GET /health"), span({"error.type": "500"}, name="POST /x"))
    assert dict(reading.left_out) == {requests.OTHER_SPAN: 2}
    assert reading.examples[requests.OTHER_SPAN] == "GET /health"


@pytest.mark.parametrize(
    ("told", "attributes", "status"),
    [
        ({}, {}, "ok"),
        ({"status": 2}, {}, "failed"),
        ({}, {"error.type": "timeout"}, "failed"),
        ({"status": 2}, {"error.type": "429"}, "refused"),
        ({"status": 2}, {"http.response.status_code": 503}, "refused"),
        ({"status": 2}, {"http.response.status_code": 499}, "aborted"),
        ({}, {"gen_ai.response.finish_reasons": ("abort",)}, "aborted"),
        ({}, {"gen_ai.response.finish_reasons": ("error",)}, "failed"),
        ({}, {"gen_ai.response.finish_reasons": ("stop", "stop")}, "ok"),
    ],
)
def test_how_a_request_ended(told, attributes, status):
    """Status, error type, HTTP status and finish reason together."""
    assert row(span({"gen_ai.operation.name": "chat", **attributes}, **told))["status"] == status


@pytest.mark.parametrize("bad", [-5.0, float("nan"), float("inf"), "soon", True, 10**400])
def test_a_value_that_cannot_be_is_unknown_and_counted(bad):
    """The engine subtracts two stamps: a negative queue time is no time. The rest is kept."""
    reading = read(span({"gen_ai.latency.e2e": 1.0, "gen_ai.latency.time_in_queue": bad}))
    told = dict(zip(ROW_COLUMNS, reading.requests[0].row, strict=True))
    assert (told["queue_seconds"], told["e2e_seconds"]) == (None, 1.0)
    assert reading.left_out[requests.BAD_VALUE] == 1


@pytest.mark.parametrize("bad", [-1, 2**31, 1.5, "many", False])
def test_counts_of_tokens_fit_their_column(bad):
    """What does not fit is unknown, and the other rows of the export are not lost with it."""
    reading = read(span({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": bad}))
    assert request_frame(reading.requests)["input_tokens"].to_list() == [None]


def test_the_tenant_is_where_the_settings_say():
    """Span before resource, first name first; lists as of headers are joined."""
    settings = OtlpSettings(tenant_attributes=("x.team", "http.request.header.x-team"))
    chat = {"gen_ai.operation.name": "chat"}
    told = [
        row(span({**chat, "http.request.header.x-team": ("a",)}), settings=settings)["tenant"],
        row(span({**chat, "x.team": "b"}), settings=settings, resource={"x.team": "c"})["tenant"],
        row(span(chat), settings=settings, resource={"x.team": "c"})["tenant"],
        row(span({**chat, "user.id": "d"}), settings=settings)["tenant"],
    ]
    assert told == ["a", "b", "c", None]


def test_an_unnamed_service_names_no_model():
    """vLLM's spans have no model: the service is it, unless nobody named the service."""
    engine = span({"gen_ai.latency.e2e": 1.0}, kind=SERVER)
    assert row(engine, resource={"service.name": "llama"})["model"] == "llama"
    assert row(engine, resource={"service.name": "unknown_service:python"})["model"] is None


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"trace": ""}, requests.NO_IDS),
        ({"span": ""}, requests.NO_IDS),
        ({"start": 0}, requests.NO_TIME),
        ({"start": NOW // 10**6}, requests.NO_TIME),
        ({"end": 2**64 - 1}, requests.FROM_THE_FUTURE),
        ({"start": NOW + 3600 * SECOND}, requests.FROM_THE_FUTURE),
    ],
)
def test_invalid_spans_are_refused_with_the_reason(told, reason):
    """No ids, no time, or a clock that is an hour ahead."""
    reading = read(span({"gen_ai.operation.name": "chat"}, **told))
    assert (reading.requests, reading.refused_count()) == ([], 1)
    assert dict(reading.left_out) == {reason: 1}


def test_frames_are_what_the_store_takes():
    """Empty ones too."""
    reading = read(
        span({"gen_ai.operation.name": "chat"}),
        span({}, name="Capture model", kind=INTERNAL),
        scope="vllm.v1.worker",
    )
    for kept in (reading.requests, []):
        assert shaped(request_frame(kept), REQUEST_FRAME).height == len(kept)
    for starts in (reading.starts, []):
        assert shaped(start_frame(starts), INSTANCE_START_FRAME).height == len(starts)
    assert reading.starts[0]["phase"] == "graph_capture"


def test_phases_are_only_those_of_the_engine():
    """A span of somebody else's that is called alike is none."""
    reading = read(span({}, name="Load model"), scope="my.app")
    assert (reading.starts, reading.left_out[requests.OTHER_SPAN]) == ([], 1)


def test_a_request_done_in_two_halves_is_one():
    """SGLang with prefill and decode apart sends a span of each; the decode half is the request."""
    engine = {"gen_ai.latency.e2e": 1.0}
    reading = read(span(engine, name="prefill Req ab"), span(engine, name="decode Req ab"))
    assert len(reading.requests) == 1
    assert dict(reading.left_out) == {requests.HALF_REQUEST: 1}


def test_the_map_stands_in_the_documentation():
    """Which name wins can be looked up without reading code."""
    page = (Path(__file__).parents[3] / "docs" / "ingest.md").read_text("utf-8")
    rows = [
        f"| {row.field} | `{row.name}` | {row.convention} | {row.versions} |" for row in ATTRIBUTES
    ]
    assert "\n".join(rows) in page
    for name in (*TENANT_ATTRIBUTES, *SESSION_ATTRIBUTES):
        assert f"`{name}`" in page


def test_every_row_of_the_map_is_asked_for_once():
    """A name stands for one field, and the spans keep what the map reads."""
    names = [attribute.name for attribute in ATTRIBUTES]
    assert len(names) == len(set(names))
    assert set(names) <= SpanReader(OtlpSettings()).wanted


ENGINE = {"gen_ai.latency.e2e": 1.0}
CHAT = {"gen_ai.operation.name": "chat"}


def judged(duplicates, *spans):
    verdict = duplicates.judge(read(*spans).requests)
    return [request.span_id for request in verdict.kept], verdict


def test_engine_gateway_and_caller_are_one_request():
    """Three tell of it, the engine's stays; the order within an export means nothing."""
    caller = span(CHAT, span="c" * 16, start=NOW - 9 * SECOND, end=NOW - SECOND)
    gateway = span(CHAT, span="d" * 16, kind=SERVER, start=NOW - 8 * SECOND, end=NOW - 2 * SECOND)
    engine = span(ENGINE, span="e" * 16, start=NOW - 7 * SECOND, end=NOW - 3 * SECOND)
    kept, verdict = judged(Duplicates(), caller, gateway, engine)
    assert (kept, verdict.told_by_others) == (["e" * 16], 2)


def test_two_calls_one_after_the_other_are_two():
    """Each engine span stands for the call around it, and for one only."""
    duplicates = Duplicates()
    calls = [
        span(
            CHAT, span=f"c{n}" * 8, start=NOW - n * 100 * SECOND, end=NOW - (n * 100 - 50) * SECOND
        )
        for n in (1, 2)
    ]
    kept, _ = judged(duplicates, *calls)
    assert len(kept) == 2
    _, verdict = judged(
        duplicates, span(ENGINE, span="e" * 16, start=NOW - 90 * SECOND, end=NOW - 60 * SECOND)
    )
    [(identity, _)] = verdict.superseded
    assert identity.endswith("c1" * 8)


def test_a_parallel_call_elsewhere_stays():
    """Of two calls at the same time the parent is the engine's, the other one is kept."""
    duplicates = Duplicates()
    ours = span(CHAT, span="c" * 16, start=NOW - 9 * SECOND, end=NOW - SECOND)
    theirs = span(CHAT, span="d" * 16, start=NOW - 8 * SECOND, end=NOW - 2 * SECOND)
    judged(duplicates, ours, theirs)
    _, verdict = judged(
        duplicates,
        span(ENGINE, span="e" * 16, parent="c" * 16, start=NOW - 7 * SECOND, end=NOW - 3 * SECOND),
    )
    assert [identity[-16:] for identity, _ in verdict.superseded] == ["c" * 16]


def test_the_memory_of_traces_is_bounded():
    """The oldest traces are forgotten."""
    duplicates = Duplicates(most_traces=10)
    for number in range(100):
        judged(duplicates, span(ENGINE, trace=f"{number:032x}"))
    assert 5 <= len(duplicates) <= 11


@pytest.mark.parametrize("end", [NOW - 20 * SECOND, 0])
def test_a_span_that_ends_before_it_starts_has_no_duration(end):
    """The row is kept without its whole time, which must not poison a mean."""
    assert row(span(CHAT, end=end))["e2e_seconds"] is None


def test_a_span_of_years_has_no_duration():
    """Nor one whose start is of another age: that is a clock, not a request."""
    assert row(span(CHAT, start=NOW - 5 * 10**8 * SECOND))["e2e_seconds"] is None
