"""Requests stay in the caller's trace, and spans tell of them without ever being in the way."""

import zlib
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.agent.post import Answer, Unreachable
from collector.drops import Drops
from controller.gateway import spans
from controller.gateway.ask import Ask
from controller.gateway.attempt import Attempt, TraceContext, Usage
from controller.gateway.hooks import Tracer
from controller.gateway.spans import Both, SpanExporter, SpanSettings, span_exporter
from controller.gateway.tracing import Traces
from store.clock import VirtualClock
from store.errors import ConfigError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def attempt(number=1, **more):
    ask = Ask(number, 0.0, "acme", "llama", 50, 8.0, 20.0, instance="gpu-1")
    told = {"status": "ok", "http_status": 200, "reason": "", "e2e_seconds": 1.5, "ask": ask}
    told |= {"trace": TraceContext(TRACE, "cd" * 8, PARENT, state="a=b")}
    fixed = {"request_id": "r", "arrived_at": NOW, "path": "/v1/chat/completions"}
    return Attempt(**fixed, is_stream=True, **{**told, **more})


class Hurried(VirtualClock):
    """Whoever sleeps finds the time passed."""

    async def sleep(self, seconds):
        self.advance(seconds)


class Collector:
    """Answers with what it was told to, in turn; then 200."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.exports = []

    async def post(self, path, headers, body):
        told = self.answers.pop(0) if self.answers else 200
        if told is None:
            raise Unreachable("nobody there")
        if told == 200:
            request = ExportTraceServiceRequest()
            request.ParseFromString(zlib.decompress(body, 16 + zlib.MAX_WBITS))
            self.exports.append(request)
        return Answer(told, {}, b"")

    async def aclose(self):
        pass

    @property
    def spans(self):
        return [s for e in self.exports for g in e.resource_spans for s in g.scope_spans[0].spans]


def exporter(collector, **more):
    drops = Drops()
    settings = SpanSettings("http://there", **more)
    return SpanExporter(settings, Hurried(NOW), drops, collector), drops


def test_the_callers_trace_goes_on():
    """Same trace, a span of our own, the caller's as its parent, its state untouched."""
    traces = Traces()
    assert isinstance(traces, Tracer)
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=x,other=y"}
    told = traces.begin(headers)
    assert (told.trace_id, told.parent_id, told.state) == (TRACE, PARENT, "vendor=x,other=y")
    assert told.traceparent == f"00-{TRACE}-{told.span_id}-01"
    again = traces.again(told)
    assert (again.trace_id, again.parent_id) == (TRACE, PARENT)
    assert len({told.span_id, again.span_id, PARENT}) == 3


@pytest.mark.parametrize(
    "bad",
    [
        "", "00", f"00-{TRACE}-{PARENT}", f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more", f"00-{TRACE}-{PARENT}-0x",
    ],
)  # fmt: skip
def test_what_is_no_context_begins_a_new_trace(bad):
    """And takes no state from it."""
    told = Traces().begin({"traceparent": bad, "tracestate": "a=b"})
    assert (told.trace_id != TRACE, told.parent_id, told.state) == (True, "", "")


def test_a_newer_version_is_read_as_far_as_we_know():
    """As the standard asks; a flag that is not set stays so."""
    told = Traces().begin({"traceparent": f"cc-{TRACE}-{PARENT}-02-what-comes"})
    assert (told.trace_id, told.is_sampled) == (TRACE, False)


@given(st.text(), st.text())
@example(f"00-{TRACE}-{PARENT}-01", "a=b\n")
def test_a_context_is_always_valid(parent, state):
    """Whatever came: what goes to the engine is a header that it can read."""
    told = Traces().begin({"traceparent": parent, "tracestate": state})
    assert Traces().begin({"traceparent": told.traceparent}).trace_id == told.trace_id
    assert "\n" not in told.state
    assert len(told.state) <= 512


def test_few_of_many_traces_are_kept():
    """By the trace id, so that all who sample agree."""
    half = Traces(0.5)
    kept = [half.begin({}).is_sampled for _ in range(2_000)]
    assert 800 < sum(kept) < 1_200
    assert not any(Traces(0.0).begin({}).is_sampled for _ in range(50))
    assert all(Traces(1.0).begin({}).is_sampled for _ in range(50))


async def test_a_span_tells_what_happened():
    """By the names of the GenAI conventions, and ours for what they do not know."""
    collector = Collector()
    out, _ = exporter(collector, instance="edge")
    told = attempt(
        usage=Usage(60, 9, 32), ttft_seconds=0.5, finish_reason="stop", queue_seconds=0.25
    )
    told.gaps.add(0.05, 8)
    out.record(told)
    out.record(attempt(status="refused", http_status=429, reason="queue_full",
                       retry_after_seconds=2.0))  # fmt: skip
    out.record(attempt(trace=TraceContext(TRACE, "ee" * 8, is_sampled=False)))
    out.record(attempt(trace=None))
    await out.flush()
    good, refused = collector.spans
    assert (good.trace_id.hex(), good.span_id.hex(), good.parent_span_id.hex()) == (
        TRACE, "cd" * 8, PARENT,
    )  # fmt: skip
    assert (good.name, good.kind, good.trace_state) == ("chat llama", 2, "a=b")
    assert good.end_time_unix_nano - good.start_time_unix_nano == 1_500_000_000
    found = {pair.key: pair.value for pair in good.attributes}
    assert found["gen_ai.operation.name"].string_value == "chat"
    assert found["gen_ai.usage.input_tokens"].int_value == 60
    assert found["gen_ai.usage.cache_read.input_tokens"].int_value == 32
    assert found["gen_ai.response.time_to_first_chunk"].double_value == 0.5
    assert found["gen_ai.response.finish_reasons"].array_value.values[0].string_value == "stop"
    assert found["servescope.tenant"].string_value == "acme"
    assert "error.type" not in found
    assert refused.status.code == 2
    names = {pair.key: pair.value for pair in refused.attributes}
    assert names["error.type"].string_value == "queue_full"
    assert names["servescope.retry_after_seconds"].double_value == 2.0


async def test_names_are_those_of_the_version_asked_for():
    """Older collectors know older names."""
    collector = Collector()
    out, _ = exporter(collector, names="genai-1.36")
    out.record(attempt())
    await out.flush()
    (span,) = collector.spans
    names = {pair.key for pair in span.attributes}
    assert "gen_ai.system" in names
    assert "gen_ai.provider.name" not in names
    with pytest.raises(ConfigError, match="known: genai"):
        exporter(collector, names="genai-9")


async def test_a_collector_that_is_busy_gets_them_again():
    """What it refuses for good is counted, and the next ones go on."""
    collector = Collector(503, 200, 400)
    out, drops = exporter(collector)
    out.start()
    for _ in range(2 * spans.TOGETHER):
        out.record(attempt())
    await out.flush()
    await out.aclose()
    assert len(collector.spans) == spans.TOGETHER
    assert drops.totals() == {(spans.DOOR, spans.REFUSED): spans.TOGETHER}


async def test_a_collector_that_is_away_costs_only_spans(monkeypatch):
    """The queue is bounded, and every span that went is counted."""
    monkeypatch.setattr(spans, "MOST_WAITING", 100)
    out, drops = exporter(Collector(*[None] * 1_000))
    for _ in range(150):
        out.record(attempt())
    assert out.waiting == 100
    await out.aclose()
    assert out.problem == "nobody there"
    assert sum(drops.totals().values()) == 150
    await out.aclose()
    assert sum(drops.totals().values()) == 150


def test_an_endpoint_may_be_written_both_ways():
    """With and without the path; what is no address is refused at the start."""
    for written in ("127.0.0.1:4318", "http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"):
        span_exporter(SpanSettings(written), VirtualClock(NOW), Drops())
    with pytest.raises(ConfigError, match="no address of a collector"):
        span_exporter(SpanSettings("ftp://x"), VirtualClock(NOW), Drops())


def test_several_are_told():
    """Rows and spans of the same attempt."""
    seen = []

    class One:
        def record(self, told):
            seen.append(told)

    Both(One(), One()).record(attempt())
    assert len(seen) == 2
