"""What comes by OTLP, on its way to the store. An export is answered when its rows are durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any, TypeVar

from collector.drops import Drops
from collector.model import Scrape
from collector.otlp import json_walk, metrics, protobuf, requests
from collector.otlp.answers import Encoding
from collector.otlp.duplicates import Judgement
from collector.otlp.frames import request_frame, start_frame
from collector.otlp.metrics import MetricReader, MetricReading, Round
from collector.otlp.requests import SpanReader, TraceReading
from collector.otlp.settings import OtlpSettings
from collector.sink import frames as sink_frames
from servescope.one_row import OneRow
from servescope.otlp_targets import OtlpTargets
from store.clock import Clock
from store.writer import Writer

DOOR = "otlp"
TOLD_BY_OTHERS = "span of a caller or gateway; the server that it called tells of the same request"
LOG_RECORD = "log record: this server keeps no logs"
NO_LOGS = "this server keeps no logs; send spans to /v1/traces and metrics to /v1/metrics"
DECODERS = 2
MOST_TARGETS = 10_000
_DECODERS: Mapping[Encoding, Any] = {"protobuf": protobuf, "json": json_walk}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an export; all of it is durable.

    Attributes:
        rejected: spans, data points or log records that were invalid.
        message: why they were; empty when none was.
    """

    rejected: int = 0
    message: str = ""


class OtlpIntake:
    """Takes exports for one store.

    Args:
        writer: where rows go.
        clock: the time.
        drops: where it is counted what became no row.
        settings: attribute maps and limits.
        one_row: finds requests that others tell of, too.
    """

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        drops: Drops,
        settings: OtlpSettings,
        one_row: OneRow | None = None,
    ) -> None:
        self.settings = settings
        self._writer = writer
        self._clock = clock
        self._drops = drops
        self._spans = SpanReader(settings)
        self._one_row = OneRow(writer) if one_row is None else one_row
        self._metrics = MetricReader()
        self._metrics_lock = Lock()
        self._targets = OtlpTargets(writer, clock)
        self._decoding = asyncio.Semaphore(DECODERS)

    async def traces(self, body: Callable[[], bytes], encoding: Encoding) -> Receipt:
        """Take an ExportTraceServiceRequest.

        Args:
            body: gives the unpacked message; called on a worker thread.
            encoding: how it is encoded.

        Raises:
            BodyRefused: `body` does.
            OtlpDamaged: it cannot be decoded.
            WriterOverloaded: too much waits to be written; nothing was taken.
            StoreError: it could not be kept.
        """
        now_ns = _ns(self._clock.now())
        reading = await self._decoded(lambda: self._read(body, encoding, now_ns))
        async with self._one_row.order:
            judged, frames = await asyncio.to_thread(self._judge, reading)
            self._one_row.note(judged)
            waiting = self._queue(frames)
        await _all(waiting)
        await self._one_row.settle()
        self._count(reading)
        self._drops.add(DOOR, TOLD_BY_OTHERS, judged.told_by_others + len(judged.superseded))
        return _receipt(reading, requests.REFUSED_REASONS)

    async def metrics(self, body: Callable[[], bytes], encoding: Encoding) -> Receipt:
        """Take an ExportMetricsServiceRequest.

        Raises:
            BodyRefused: `body` does.
            OtlpDamaged: it cannot be decoded.
            WriterOverloaded: too much waits to be written; nothing was taken.
            StoreError: it could not be kept.
        """
        now_ns = _ns(self._clock.now())
        reading = await self._decoded(lambda: self._read_metrics(body, encoding, now_ns))
        rounds = self._with_room(reading)
        numbers = await self._targets.numbered(rounds)
        scrapes = [_scrape(numbers[told.url], told) for told in rounds]
        # The worker thread makes the frames: many series take a while.
        frames = await asyncio.to_thread(sink_frames, scrapes)
        await _all(self._queue({table: told for table, told in frames.items() if told.height}))
        self._count(reading)
        return _receipt(reading, metrics.REFUSED_REASONS)

    async def logs(self, body: Callable[[], bytes], encoding: Encoding) -> Receipt:
        """Refuse an ExportLogsServiceRequest in a way that nobody sends it again.

        Raises:
            BodyRefused: `body` does.
            OtlpDamaged: it cannot be decoded.
        """
        count = await self._decoded(lambda: _DECODERS[encoding].count_log_records(body()))
        self._drops.add(DOOR, LOG_RECORD, count)
        return Receipt(count, NO_LOGS if count else "")

    def _read(self, body: Callable[[], bytes], encoding: Encoding, now_ns: int) -> TraceReading:
        groups = _DECODERS[encoding].decode_traces(body(), self._spans.wanted)
        return self._spans.read(groups, now_ns)

    def _judge(self, reading: TraceReading) -> tuple[Judgement, dict[str, Any]]:
        judged = self._one_row.judge(reading.requests)
        frames = {}
        if judged.kept:
            frames["request"] = request_frame(judged.kept)
        if reading.starts:
            frames["instance_start"] = start_frame(reading.starts)
        return judged, frames

    async def _decoded(self, work: Callable[[], T]) -> T:
        """Run on a worker thread, few at a time: they share one interpreter, and memory."""
        async with self._decoding:
            return await asyncio.to_thread(work)

    def _queue(self, frames: Mapping[str, Any]) -> list[Future[int]]:
        """Hand rows to the writer. What went in before a refusal adds nothing when it comes again.

        Raises:
            WriterOverloaded: it takes no more.
            StoreError: it takes nothing.
        """
        return [self._writer.append(table, frame) for table, frame in frames.items()]

    def _read_metrics(
        self, body: Callable[[], bytes], encoding: Encoding, now_ns: int
    ) -> MetricReading:
        groups = _DECODERS[encoding].decode_metrics(body())
        with self._metrics_lock:
            return self._metrics.read(groups, now_ns)

    def _with_room(self, reading: MetricReading) -> list[Round]:
        """The rounds of targets that are known or can be; the points of others are counted out."""
        kept: list[Round] = []
        new: set[str] = set()
        for told in reading.rounds:
            if told.url not in self._targets and told.url not in new:
                if len(self._targets) + len(new) >= MOST_TARGETS:
                    reading.leave_out(metrics.TOO_MANY_TARGETS, told.url, told.point_count)
                    continue
                new.add(told.url)
            kept.append(told)
        return kept

    def _count(self, reading: TraceReading | MetricReading) -> None:
        for reason, count in reading.left_out.items():
            self._drops.add(DOOR, reason, count, reading.examples.get(reason, ""))


def _receipt(reading: TraceReading | MetricReading, reasons: Sequence[str]) -> Receipt:
    told = [
        f"{reading.left_out[reason]} x {reason}" for reason in reasons if reading.left_out[reason]
    ]
    return Receipt(reading.refused_count(), "; ".join(told))


def _scrape(target_id: int, told: Round) -> Scrape:
    """What a target told at one moment."""
    return Scrape(
        target_id,
        datetime.fromtimestamp(told.at_ns / 1e9, UTC),
        duration_seconds=0.0,
        outcome="ok",
        sample_count=told.point_count,
        samples=told.samples,
        histograms=told.histograms,
    )


async def _all(waiting: Sequence[Future[Any]]) -> None:
    await asyncio.gather(*map(asyncio.wrap_future, waiting))


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1e9)
