"""Attempts as spans by OTLP/HTTP: off unless an endpoint is set, bounded, never in the way."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector.agent.post import Answer, Poster, Unreachable
from collector.drops import Drops
from collector.http_access import Access
from collector.otlp.requests import GATEWAY_SCOPE
from controller.gateway.attempt import Attempt
from controller.gateway.hooks import Recorder
from controller.gateway.span_names import NEWEST, OPERATIONS, VERSIONS
from store.clock import Clock
from store.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

log = logging.getLogger(__name__)

DOOR = "gateway spans"
FULL = "the queue of spans was full: the oldest went"
REFUSED = "the collector refuses the spans for good"
LATE = "the collector was away for too long"
MOST_WAITING = 4_096
TOGETHER = 64
"""Spans in one export: made in about 2 ms, so that no stream waits for long."""
FLUSH_SECONDS = 2.0
MOST_ATTEMPTS = 5
RETRY_SECONDS = 1.0
MOST_RETRY_SECONDS = 30.0
TRACES_PATH = "/v1/traces"
_AGAIN = frozenset({408, 429, 502, 503, 504})
"""Source: OTLP specification 1.11, "Failures"; other errors are final."""
_KIND_SERVER, _STATUS_ERROR = 2, 2


@dataclass(frozen=True, slots=True)
class SpanSettings:
    """Where spans go.

    Attributes:
        endpoint: base URL of an OTLP/HTTP collector, or its whole address ending in /v1/traces.
        names: version of the attributes' names, see `span_names.VERSIONS`.
        service: name of this gateway as a service.
        instance: and of this process.
        token_file: file with a bearer token; "" is none.
        ca_file: certificates to trust; "" means the usual ones.
        timeout_seconds: for one export.
    """

    endpoint: str
    names: str = NEWEST
    service: str = "servescope-gateway"
    instance: str = ""
    token_file: str = ""
    ca_file: str = ""
    timeout_seconds: float = 10.0


class SpanExporter:
    """A recorder that sends spans, beside another that keeps rows.

    Args:
        settings: where to.
        clock: the time.
        drops: counts what is lost.
        poster: the way there.

    Raises:
        ConfigError: the names are of no known version.
    """

    def __init__(self, settings: SpanSettings, clock: Clock, drops: Drops, poster: Poster) -> None:
        if settings.names not in VERSIONS:
            raise ConfigError(
                f"there are no names '{settings.names}'", where="gateway.otlp_names",
                hint=f"known: {', '.join(VERSIONS)}",
            )  # fmt: skip
        self._settings, self._clock, self._drops, self._poster = settings, clock, drops, poster
        self._names = VERSIONS[settings.names]
        self._waiting: deque[Attempt] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.sent = 0
        self.problem: str | None = None

    def start(self) -> None:
        """Send from now on."""
        self._task = asyncio.create_task(self._run())

    def record(self, attempt: Attempt) -> None:
        """A span of it waits to be sent, where its trace is to be kept."""
        if attempt.trace is None or not attempt.trace.is_sampled:
            return
        self._waiting.append(attempt)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._drops.add(DOOR, FULL)
        if len(self._waiting) >= TOGETHER:
            self._arrived.set()

    @property
    def waiting(self) -> int:
        """Spans that were not sent yet."""
        return len(self._waiting)

    async def flush(self) -> bool:
        """Send all that waits now; False where the collector does not take it."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]
            if not await self._deliver(batch):
                return False
        return True

    async def aclose(self) -> None:
        """Send what waits if the collector answers at once; what is left is counted. Safe twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        with suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                if self.problem is None:
                    await self.flush()
        self._drops.add(DOOR, LATE, len(self._waiting))
        self._waiting.clear()
        await self._poster.aclose()

    async def _run(self) -> None:
        while True:
            self._arrived.clear()
            if len(self._waiting) < TOGETHER:
                with suppress(TimeoutError):
                    async with asyncio.timeout(FLUSH_SECONDS):
                        await self._arrived.wait()
            try:
                await self.flush()
            except Exception:
                log.exception("spans_not_sent")
                await self._clock.sleep(RETRY_SECONDS)

    async def _deliver(self, batch: Sequence[Attempt]) -> bool:
        body = self._packed(batch)
        for attempt in range(MOST_ATTEMPTS):
            pause_seconds = await self._post(body, len(batch), attempt)
            if pause_seconds is None:
                return self.problem is None
            if self._task is None:
                break  # at the end there is no time to wait
            await self._clock.sleep(pause_seconds)
        self._drops.add(DOOR, LATE, len(batch))
        return False

    async def _post(self, body: bytes, count: int, attempt: int) -> float | None:
        """Once; seconds to wait before the next time, None when there is none."""
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
        try:
            answer = await self._poster.post("", headers, body)
        except Unreachable as why:
            self._is_problem(str(why))
            return min(RETRY_SECONDS * 2.0**attempt, MOST_RETRY_SECONDS)
        if 200 <= answer.status < 300:
            self.sent += count
            if self.problem is not None:
                log.info("spans_sent_again")
            self.problem = None
            return None
        self._is_problem(f"HTTP {answer.status}")
        if answer.status in _AGAIN:
            return _retry_after(answer, min(RETRY_SECONDS * 2.0**attempt, MOST_RETRY_SECONDS))
        self._drops.add(DOOR, REFUSED, count, f"HTTP {answer.status}")
        return None

    def _is_problem(self, why: str) -> None:
        if self.problem is None:
            log.warning("spans_not_sent", extra={"why": why})
        self.problem = why

    def _packed(self, batch: Sequence[Attempt]) -> bytes:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        request = ExportTraceServiceRequest()
        group = request.resource_spans.add()
        named = {"service.name": self._settings.service}
        if self._settings.instance:
            named["service.instance.id"] = self._settings.instance
        _set(group.resource, named)
        scope = group.scope_spans.add()
        scope.scope.name = GATEWAY_SCOPE
        for attempt in batch:
            self._fill(scope.spans.add(), attempt)
        packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        return packer.compress(request.SerializeToString()) + packer.flush()

    def _fill(self, span: Span, attempt: Attempt) -> None:
        trace, told = attempt.trace, fields_of(attempt)
        assert trace is not None  # noqa: S101 - only what is traced waits
        span.trace_id, span.span_id = bytes.fromhex(trace.trace_id), bytes.fromhex(trace.span_id)
        span.parent_span_id = bytes.fromhex(trace.parent_id)
        span.trace_state = trace.state
        span.name = f"{told['operation']} {attempt.ask.model}".strip()[:256]
        span.kind = _KIND_SERVER  # type: ignore[assignment]
        start = int(attempt.arrived_at.timestamp() * 1e6) * 1000
        span.start_time_unix_nano = start
        span.end_time_unix_nano = start + int(max(attempt.e2e_seconds, 0.0) * 1e9)
        if attempt.status in ("failed", "refused"):
            span.status.code = _STATUS_ERROR  # type: ignore[assignment]
            span.status.message = attempt.reason[:256]
        _set(span, {one.name: told.get(one.field) for one in self._names})


class Both:
    """Tells several recorders."""

    def __init__(self, *recorders: Recorder) -> None:
        self._recorders = recorders

    def record(self, attempt: Attempt) -> None:
        """Each of them."""
        for one in self._recorders:
            one.record(attempt)


def span_exporter(settings: SpanSettings, clock: Clock, drops: Drops) -> SpanExporter:
    """An exporter for an endpoint; `start` it.

    Raises:
        ConfigError: the endpoint is no address, or the names are of no known version.
    """
    address = settings.endpoint if "://" in settings.endpoint else f"http://{settings.endpoint}"
    address = address.rstrip("/").removesuffix(TRACES_PATH) + TRACES_PATH
    access = Access(ca_file=settings.ca_file, bearer_token_file=settings.token_file)
    try:
        poster = Poster(address, access, settings.timeout_seconds)
    except ValueError as error:
        raise ConfigError(
            f"'{settings.endpoint}' is no address of a collector", where="gateway.otlp_endpoint",
            hint="write it like http://127.0.0.1:4318",
        ) from error  # fmt: skip
    return SpanExporter(settings, clock, drops, poster)


def fields_of(attempt: Attempt) -> Mapping[str, Any]:
    """Field of `span_names` -> value; None and "" are unknown, and left out."""
    ask, usage = attempt.ask, attempt.usage
    is_refused = attempt.status == "refused"
    return {
        "operation": OPERATIONS.get(attempt.path, attempt.path.rpartition("/")[2]),
        "provider": "servescope",
        "model": ask.model,
        "most_output_tokens": ask.most_output_tokens,
        "is_stream": attempt.is_stream,
        "finish_reasons": [attempt.finish_reason] if attempt.finish_reason else None,
        "input_tokens": usage.input_tokens,
        "output_tokens": attempt.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "ttft_seconds": attempt.ttft_seconds,
        "session": ask.session,
        "http_status": attempt.http_status,
        "error_type": attempt.reason,
        "instance": attempt.instance,
        "tenant": ask.tenant,
        "slo_class": ask.slo.name,
        "queue_seconds": attempt.queue_seconds,
        "attempt": ask.attempt,
        "tenant_weight": float(ask.weight) if ask.tenant else None,
        "admission_reason": attempt.reason if is_refused else None,
        "retry_after_seconds": attempt.retry_after_seconds,
        "itl_p99_seconds": attempt.gaps.quantile_seconds(0.99),
        "predicted_output_tokens": attempt.predicted_output_tokens,
        "request_id": attempt.request_id,
    }


def _set(owner: Any, told: Mapping[str, Any]) -> None:
    for key, value in told.items():
        if value is None or value == "":
            continue
        pair = owner.attributes.add(key=key).value
        if isinstance(value, bool):
            pair.bool_value = value
        elif isinstance(value, int):
            pair.int_value = value
        elif isinstance(value, float):
            pair.double_value = value
        elif isinstance(value, str):
            pair.string_value = _plain(value)
        else:
            for item in value:
                pair.array_value.values.add(string_value=_plain(item))


def _plain(text: str) -> str:
    """Text that protobuf takes: lone surrogates are none."""
    return text[:1_024].encode("utf-8", "replace").decode()


def _retry_after(answer: Answer, usual: float) -> float:
    told = answer.headers.get("retry-after", "").strip()
    return min(float(told), MOST_RETRY_SECONDS) if told.isdecimal() else usual
