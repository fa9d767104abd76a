"""What senders push: remote-write, rows of requests, batches of agents, alerts of others, gzip."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import cramjam
import numpy as np
import orjson
import polars as pl

from collector.agent import framing
from collector.agent.wire import Batch, encode
from collector.drops import Drops
from collector.model import HistogramSample, Sample, Scrape, TargetFacts
from collector.remote_write.body import TooLarge, Unpackable, unsnap
from collector.remote_write.decode import V1, V2, BadBody
from collector.remote_write.door import Door
from collector.remote_write.proto import v1_pb2, v2_pb2
from collector.remote_write.rows import PlanCache, Rows
from collector.request_rows.accept import frame_of, sort_rows
from collector.request_rows.forms import ARROW, FORMS, PARQUET, BadForm, TooMany, rows_of
from fuzzing.target import Take, Target, same
from servescope.agents import read_batches
from servescope.alerting.intake import events_of
from servescope.api.bodies import BodyRefused, gunzip
from store.errors import InputError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
_FORMS = tuple(FORMS)
_LABELS = '{"model":"m"}'
ROWS = [
    {"arrived_at": "2026-01-31T11:00:00Z", "status": "ok", "request_id": "a", "model": "m",
     "input_tokens": 12, "output_tokens": 7, "ttft_seconds": 0.2, "e2e_seconds": 1.5,
     "tenant": "acme", "trace_id": "0af7651916cd43dd8448eb211c80319c", "attempt": 1},
    {"arrived_at": 1769857200.5, "status": "failed", "is_counted": True, "tenant_weight": 2.0},
]  # fmt: skip
ALERTS = {
    "version": "4", "status": "firing", "receiver": "x",
    "alerts": [{"status": "resolved", "labels": {"alertname": "A", "severity": "page"},
                "annotations": {"summary": "s"}, "startsAt": "2026-01-31T11:00:00.5Z",
                "endsAt": "2026-01-31T11:30:00+01:00", "fingerprint": "abc"}],
}  # fmt: skip


# -- remote-write


def _write_seeds(folder: Path) -> Sequence[bytes]:
    del folder
    names = ("__name__", "vllm:num_requests_running", "instance", "gpu-1:8000", "job", "vllm")
    first = v1_pb2.WriteRequest()
    for metric in ("vllm:num_requests_running", "up", "vllm:prompt_tokens_total"):
        series = first.timeseries.add()
        for name, value in ((names[0], metric), (names[2], names[3]), (names[4], names[5])):
            series.labels.add(name=name, value=value)
        series.samples.add(value=1.5, timestamp=NOW_MS)
    second = v2_pb2.Request(symbols=["", *names])
    told = second.timeseries.add(labels_refs=[1, 2, 3, 4, 5, 6])
    told.samples.add(value=2.0, timestamp=NOW_MS)
    bodies = first.SerializeToString(), second.SerializeToString()
    packed = [bytes(cramjam.snappy.compress_raw(body)) for body in bodies]
    return (b"1" + bodies[0], b"2" + bodies[1], b"3" + packed[0], b"4" + packed[1])


def _write_made(folder: Path, ending: ExitStack) -> Take:
    del folder, ending
    held = [Door(Drops())]
    count = 0

    def take(data: bytes) -> None:
        nonlocal count
        count += 1
        if count % 500 == 0:
            held[0] = Door(Drops())  # the intake begins again when its table is full
        which, body = data[:1], data[1:]
        try:
            if which in (b"3", b"4"):
                body = unsnap(body, 1 << 20)
            message = V2 if which in (b"2", b"4") else V1
            with np.errstate(all="ignore"):  # values of others may be anything
                taken = held[0].take(body, message, NOW_MS, float(count))
                again = Door(Drops()).take(body, message, NOW_MS, 0.0)
        except (BadBody, Unpackable, TooLarge):
            return
        same("a door that knows the series", taken.sample_count, again.sample_count)
        same("what it refuses", taken.refused, again.refused)
        rows = Rows(PlanCache())
        for number, page in enumerate(held[0].pages.ready(float(count), taken.pages)):
            page.target.target_id = number
            rows.add(page)
        rows.frames()

    return take


# -- rows of requests


def _row_seeds(folder: Path) -> Sequence[bytes]:
    del folder
    frame = pl.DataFrame([{**row, "arrived_at": NOW} for row in ROWS])
    arrow, parquet = io.BytesIO(), io.BytesIO()
    frame.write_ipc_stream(arrow, compat_level=pl.CompatLevel.oldest())
    frame.write_parquet(parquet)
    listed = json.dumps(ROWS).encode()
    lines = b"\n".join(json.dumps(row).encode() for row in ROWS)
    made = {ARROW: arrow.getvalue(), PARQUET: parquet.getvalue(), _FORMS[0]: listed}
    return [bytes([48 + at]) + made.get(form, lines) for at, form in enumerate(_FORMS)]


def _rows_made(folder: Path, ending: ExitStack) -> Take:
    del folder, ending
    now = NOW.replace(tzinfo=None)

    def take(data: bytes) -> None:
        form = _FORMS[data[0] % len(_FORMS)] if data else _FORMS[0]
        try:
            rows = rows_of(form, data[1:])
        except (BadForm, TooMany):
            return
        found = sort_rows(rows, now)
        if found.good:
            frame_of(found.good)

    return take


# -- agents


def _agent_seeds(folder: Path) -> Sequence[bytes]:
    del folder
    scrape = Scrape(
        0, NOW, 0.1, "ok", None, 100, 3, 0, 0,
        samples=(Sample("requests_running", _LABELS, 3.0), Sample("queue_depth", "{}", 0.5)),
        histograms=(HistogramSample("ttft", _LABELS, 2.0, 0.7, (0.1, float("1e9")), (1.0, 2.0)),),
        facts=TargetFacts("vllm", "0.13", "m"),
    )  # fmt: skip
    lost = Scrape(1, NOW, 0.1, "unreachable", "no answer")
    batch = Batch(("http://a:1/metrics", "gpu://n/0"), (scrape, lost))
    return (gzip.decompress(encode(batch)),)


def _agents_made(folder: Path, ending: ExitStack) -> Take:
    del folder, ending
    drops = Drops()

    def take(data: bytes) -> None:
        lines = len(data.splitlines())
        ids = ",".join(f"b{number}" for number in range(lines)) or "b"
        try:
            told = read_batches("gpu-1", ids, data, drops)
        except InputError:
            return
        for frame in told.frames.values():
            frame.height  # noqa: B018 - made, which is what may fail

    return take


def _spool_seeds(folder: Path) -> Sequence[bytes]:
    del folder
    head = framing.new_segment_header()[1]
    record = framing.pack(1, 3, 10**15, b"payload" * 20)
    return (head + record * 3, record[:-5], record + b"\0" * 40)


def _spool_made(folder: Path, ending: ExitStack) -> Take:
    del folder, ending

    def take(data: bytes) -> None:
        # Half of them with a header that adds up: else hardly any gets past its checksum.
        if len(data) > framing.RECORD_HEADER_BYTES and data[0] & 1:
            told = data[: framing.RECORD_HEADER_BYTES - 4]
            data = told + struct.pack("<I", zlib.crc32(told)) + data[len(told) + 4 :]
        framing.segment_name(data[: framing.SEGMENT_HEADER_BYTES])
        file, at = io.BytesIO(data), 0
        while isinstance(found := framing.read_frame(file, at), framing.Frame):
            same("a step forward", found.end > at, True)
            at = found.end

    return take


# -- alerts of others, gzip


def _alert_seeds(folder: Path) -> Sequence[bytes]:
    del folder
    return (json.dumps(ALERTS).encode(),)


def _alerts_made(folder: Path, ending: ExitStack) -> Take:
    del folder, ending

    def take(data: bytes) -> None:
        try:
            told = orjson.loads(data)
        except orjson.JSONDecodeError:
            return
        try:
            events_of(told)
        except InputError:
            return

    return take


def _gzip_seeds(folder: Path) -> Sequence[bytes]:
    del folder
    small = gzip.compress(b"hello" * 100, mtime=0)
    bomb = gzip.compress(bytes(8 << 20), mtime=0)
    return small, small + small, bomb, gzip.compress(bomb, mtime=0), small * 50


def _gzip_made(folder: Path, ending: ExitStack) -> Take:
    del folder, ending

    def take(data: bytes) -> None:
        most = 1 << 20
        try:
            found = gunzip(data, most)
        except BodyRefused:
            return
        same("what comes out is bounded", len(found) <= most, True)
        same("as gzip reads it", found, gzip.decompress(data) if data else b"")

    return take


REMOTE_WRITE = Target(
    "remote-write", "remote-write 1.0 and 2.0, snappy and protobuf, to rows",
    _write_seeds, _write_made, words=(b"\x0a", b"\x12\x10\x09", b"up", b"__name__", b"_total"),
)  # fmt: skip
ROWS_IN = Target(
    "rows", "posted rows of requests: JSON, lines, Arrow and Parquet", _row_seeds, _rows_made,
    words=(b'"status":"ok"', b'"arrived_at":', b"ARROW1", b"PAR1", b"\n"),
)  # fmt: skip
AGENTS = Target("agents", "batches of agents, to rows", _agent_seeds, _agents_made, is_text=True)
SPOOL = Target("spool", "segments of an agent's spool after a crash", _spool_seeds, _spool_made)
ALERTS_IN = Target(
    "alerts", "webhook messages of an Alertmanager", _alert_seeds, _alerts_made, is_text=True
)
GZIP = Target("gzip", "gzipped bodies: bombs, many members, cut ones", _gzip_seeds, _gzip_made)
