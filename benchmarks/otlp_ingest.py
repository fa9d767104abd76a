"""Spans over OTLP/HTTP into the real server: how many a second, each answered once it is durable.

Several senders beside each other, as the exporters of several engines are, each with one kept
connection; a sender waits for its answer before it sends the next export. Spans look like those of
vLLM: 12 attributes, about 590 bytes in protobuf. All bodies are made before the clock starts, and
the rows in the store are counted at the end.

Beside it, in the same run and on one core: what decoding alone takes (protobuf's C implementation
and orjson), and decoding with making the rows.

Goals, on two cores with the senders on them: 30,000 spans/s protobuf, 12,000 spans/s JSON.

    python benchmarks/otlp_ingest.py [--spans 200000] [--senders 4] [--batch 1000] [--gzip]
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.otlp import json_walk, protobuf
from collector.otlp.duplicates import Duplicates
from collector.otlp.frames import request_frame
from collector.otlp.requests import SpanReader
from collector.otlp.settings import OtlpSettings

ROOT = Path(__file__).parents[1]
GOALS = {"protobuf": 30_000, "json": 12_000}
TYPES = {"protobuf": "application/x-protobuf", "json": "application/json"}
READY_SECONDS = 60.0


def attributes(rng: random.Random) -> dict[str, float | int | str]:
    ttft, decode = rng.lognormvariate(-2, 0.8), rng.lognormvariate(1, 0.5)
    return {
        "gen_ai.latency.time_to_first_token": ttft,
        "gen_ai.latency.e2e": ttft + decode,
        "gen_ai.latency.time_in_queue": ttft * 0.1,
        "gen_ai.latency.time_in_model_prefill": ttft * 0.8,
        "gen_ai.latency.time_in_model_decode": decode,
        "gen_ai.latency.time_in_model_inference": ttft * 0.8 + decode,
        "gen_ai.request.temperature": 0.7,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.usage.prompt_tokens": rng.randint(10, 4000),
        "gen_ai.usage.completion_tokens": rng.randint(2, 800),
        "gen_ai.request.max_tokens": 1024,
        "gen_ai.request.id": f"cmpl-{rng.getrandbits(128):032x}",
    }


def spans(count: int, seed: int) -> list[dict]:
    """One export's spans, as OTLP/JSON has them."""
    rng = random.Random(seed)
    # As exporters send: requests that ended just now and began up to a minute ago.
    now = time.time_ns()
    made = []
    for _ in range(count):
        start = now - rng.randint(3 * 10**9, 60 * 10**9)
        told = [{"key": k, "value": _any_value(v)} for k, v in attributes(rng).items()]
        made.append(
            {
                "traceId": f"{rng.getrandbits(128):032x}",
                "spanId": f"{rng.getrandbits(64):016x}",
                "name": "llm_request",
                "kind": 2,
                "startTimeUnixNano": str(start),
                "endTimeUnixNano": str(start + 3 * 10**9),
                "attributes": told,
                "status": {},
            }
        )
    return made


def _any_value(value: float | int | str) -> dict:
    if isinstance(value, str):
        return {"stringValue": value}
    return {"doubleValue": value} if isinstance(value, float) else {"intValue": str(value)}


def json_body(count: int, seed: int) -> bytes:
    resource = {"service.name": "llama-8b", "service.instance.id": f"gpu-{seed % 8}:8000"}
    told = [{"key": k, "value": _any_value(v)} for k, v in resource.items()]
    scope = {"scope": {"name": "vllm.tracing.otel"}, "spans": spans(count, seed)}
    group = {"resource": {"attributes": told}, "scopeSpans": [scope]}
    return orjson.dumps({"resourceSpans": [group]})


def protobuf_body(count: int, seed: int) -> bytes:
    request = ExportTraceServiceRequest()
    for group in orjson.loads(json_body(count, seed))["resourceSpans"]:
        resource = request.resource_spans.add()
        for pair in group["resource"]["attributes"]:
            resource.resource.attributes.add(key=pair["key"]).value.string_value = pair["value"][
                "stringValue"
            ]
        scope = resource.scope_spans.add()
        scope.scope.name = "vllm.tracing.otel"
        for told in group["scopeSpans"][0]["spans"]:
            _add_span(scope, told)
    return request.SerializeToString()


def _add_span(scope, told: dict) -> None:
    span = scope.spans.add(
        trace_id=bytes.fromhex(told["traceId"]),
        span_id=bytes.fromhex(told["spanId"]),
        name=told["name"],
        kind=told["kind"],
        start_time_unix_nano=int(told["startTimeUnixNano"]),
        end_time_unix_nano=int(told["endTimeUnixNano"]),
    )
    for pair in told["attributes"]:
        value = span.attributes.add(key=pair["key"]).value
        [(kind, text)] = pair["value"].items()
        if kind == "stringValue":
            value.string_value = text
        elif kind == "intValue":
            value.int_value = int(text)
        else:
            value.double_value = text


BODIES = {"protobuf": protobuf_body, "json": json_body}


def sender(pipe: Connection, port: int, encoding: str, seeds: list[int], options) -> None:
    """Makes its exports, says so, waits for the start, sends all; tells how long each took."""
    bodies = [BODIES[encoding](options.batch, seed) for seed in seeds]
    headers = {"Content-Type": TYPES[encoding]}
    if options.gzip:
        bodies = [gzip.compress(body, 1) for body in bodies]
        headers["Content-Encoding"] = "gzip"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    pipe.send(sum(map(len, bodies)))
    pipe.recv()
    waits, again = [], 0
    for body in bodies:
        began = time.perf_counter()
        while _send(connection, body, headers) == 429:
            again += 1
            time.sleep(0.05)
        waits.append(time.perf_counter() - began)
    pipe.send((waits, again))


def _send(connection: http.client.HTTPConnection, body: bytes, headers: dict) -> int:
    connection.request("POST", "/v1/traces", body, headers)
    answer = connection.getresponse()
    told = answer.read()
    if answer.status not in (200, 429) or (answer.status == 200 and told not in (b"", b"{}")):
        sys.exit(f"answered {answer.status}: {told!r}")
    return answer.status


def run(port: int, pid: int, encoding: str, options, first_seed: int) -> float:
    """Send everything; gives spans a second."""
    batches = options.spans // options.batch
    seeds = [first_seed + number for number in range(batches)]
    pipes = []
    for number in range(options.senders):
        ours, theirs = multiprocessing.Pipe()
        mine = seeds[number :: options.senders]
        multiprocessing.Process(
            target=sender, args=(theirs, port, encoding, mine, options), daemon=True
        ).start()
        pipes.append(ours)
    size = sum(pipe.recv() for pipe in pipes)
    busy = _cpu_seconds(pid)
    began = time.perf_counter()
    for pipe in pipes:
        pipe.send("go")
    told = [pipe.recv() for pipe in pipes]
    seconds = time.perf_counter() - began
    count = batches * options.batch
    waits = sorted(wait for mine, _ in told for wait in mine)
    again = sum(times for _, times in told)
    middle, late = waits[len(waits) // 2] * 1000, waits[int(len(waits) * 0.95)] * 1000
    cores = (_cpu_seconds(pid) - busy) / seconds
    print(f"  {encoding:9s} {count / seconds:9,.0f} spans/s end to end   goal {GOALS[encoding]:,}")
    print(
        f"            {count:,} spans of {size / count:.0f} B in {seconds:.1f} s; answered in"
        f" {middle:.0f} ms (p50), {late:.0f} ms (p95); told to come again {again} times;"
        f" server on {cores:.2f} cores, {cores * seconds / count * 1e6:.0f} us a span"
    )
    return count / seconds


def limits(encoding: str, batch: int) -> None:
    """Decoding alone, and decoding with rows, on one core."""
    body = BODIES[encoding](batch, 1)
    reader, seen = SpanReader(OtlpSettings()), Duplicates()
    decoder = {"protobuf": protobuf, "json": json_walk}[encoding]
    alone = {"protobuf": ExportTraceServiceRequest.FromString, "json": orjson.loads}[encoding]

    def rows() -> None:
        reading = reader.read(decoder.decode_traces(body, reader.wanted), time.time_ns())
        request_frame(seen.judge(reading.requests).kept)

    print(
        f"  {encoding:9s} {batch / _best(lambda: alone(body)):9,.0f} spans/s decoding alone,"
        f" {batch / _best(rows):,.0f} spans/s with rows made, one core"
    )


def _best(work: Callable[[], object], rounds: int = 7) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_server(folder: Path) -> tuple[subprocess.Popen, int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "servescope", "up"),
            *("--listen", f"127.0.0.1:{port}", "--store", str(folder / "store.duckdb")),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder)},
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/api/v1/health")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.1)
        else:
            return process, port
    sys.exit("the server did not start")


def stored(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = orjson.dumps({"sql": "SELECT count(*) AS n FROM request"})
    connection.request("POST", "/api/v1/sql", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return int(orjson.loads(answer.read())["rows"][0]["n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--gzip", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, port = start_server(Path(folder))
        try:
            for number, encoding in enumerate(GOALS):
                run(port, process.pid, encoding, options, number * 10**6)
                limits(encoding, options.batch)
        finally:
            rows = stored(port)
            process.terminate()
            process.wait(30)
    sent = 2 * (options.spans // options.batch) * options.batch
    print(f"  rows in the store: {rows:,} of {sent:,} sent")
    if rows != sent:
        sys.exit("rows are missing or doubled")


if __name__ == "__main__":
    main()
