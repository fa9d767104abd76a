"""GenAI spans -> rows of requests.

What is a request: a span that carries an engine's own latencies, or one whose operation is an
inference (`collector.otlp.attributes.MARKS`). Tokens on spans of agents, tools or workflows make no
request: they repeat what the inference below them tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from collector.otlp.attributes import (
    AGENT_MARKS,
    ATTRIBUTES,
    GENAI_PREFIXES,
    HALF_REQUESTS,
    MARKS,
    Field,
    Role,
)
from collector.otlp.model import ERROR_STATUS, SERVER_KIND, Attributes, Span, SpanGroup, Value
from collector.otlp.resources import Sender, first_label, label, sender_of
from collector.otlp.settings import OtlpSettings
from collector.otlp.starts import start_phase

NO_IDS = "span without a valid trace id and span id"
NO_TIME = "span without a start time, or before 2000: times are nanoseconds since 1970"
FROM_THE_FUTURE = "span that reaches more than 10 minutes ahead of this server's clock"
NOT_AN_INFERENCE = "GenAI span that is no inference, such as of an agent, a tool or embeddings"
OTHER_SPAN = "span of something else than an LLM request"
CALLER_DROPPED = "span of a caller, and otlp.caller_spans is drop"
HALF_REQUEST = "span of the prefill half of a request; the decode half tells of all of it"
BAD_VALUE = "attribute that is no number in its range; the rest of the span is kept"
OWN_SPAN = "span of a servescope gateway, which tells of the same request by a row"
REFUSED_REASONS = (NO_IDS, NO_TIME, FROM_THE_FUTURE)
"""These spans are invalid: the sender is told. The others are none of ours, and it is not."""

FUTURE_SECONDS = 600
EARLIEST_NS = 946_684_800 * 10**9
"""Year 2000; a sender that counts in another unit than nanoseconds lies far before it."""
_MOST_TOKENS = 2**31 - 1
_MOST_SECONDS = 1e8
_ROLES: dict[Role, int] = {"engine": 0, "server": 2, "caller": 3}
GATEWAY_RANK = 1
"""Of rows that a gateway of servescope tells; they come by a door of their own."""
GATEWAY_SCOPE = "servescope.gateway"
"""Instrumentation scope of its spans."""
_ABORTED = frozenset({"abort", "aborted", "cancelled", "canceled", "cancel", "client_disconnect"})
_REFUSED_STATUS = frozenset({429, 503, 529})
_CLOSED_BY_CLIENT = 499


class Request(NamedTuple):
    """One row, and what is needed to find the same request told by another.

    Attributes:
        rank: 0 the engine, 1 a gateway of servescope, 2 another server in front of it, 3 the
            caller.
        row: values for `ROW_COLUMNS`.
    """

    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    rank: int
    row: tuple[Any, ...]


ROW_COLUMNS = (
    *("request_id", "arrived_at", "status"),
    *("tenant", "model", "route", "instance", "slo_class", "finish_reason"),
    *("input_tokens", "output_tokens", "cached_tokens"),
    *("queue_seconds", "prefill_seconds", "decode_seconds", "ttft_seconds", "tpot_seconds"),
    *("e2e_seconds", "session_id", "trace_id"),
)
"""`arrived_at` is an integer, microseconds since 1970 UTC."""


@dataclass(slots=True)
class TraceReading:
    """What an export of spans means.

    Attributes:
        requests: rows of requests.
        starts: rows of `instance_start`.
        span_count: spans in the export.
        left_out: reason -> how many spans (or values, for BAD_VALUE) became no row.
        examples: reason -> one of them.
    """

    requests: list[Request] = field(default_factory=list)
    starts: list[dict[str, Any]] = field(default_factory=list)
    span_count: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def leave_out(self, reason: str, example: str) -> None:
        """Count one span out."""
        self.left_out[reason] += 1
        self.examples.setdefault(reason, example)

    def refused_count(self) -> int:
        """Spans that are invalid."""
        return sum(self.left_out[reason] for reason in REFUSED_REASONS)


class SpanReader:
    """Reads spans by the attribute maps and the settings; share it between exports.

    Args:
        settings: which attributes name tenant, session, route and class.
    """

    def __init__(self, settings: OtlpSettings) -> None:
        self._settings = settings
        self._drop_callers = settings.caller_spans == "drop"
        self._names = {
            name: tuple((row.name, row.factor) for row in ATTRIBUTES if row.field == name)
            for name in dict.fromkeys(row.field for row in ATTRIBUTES)
        }
        self.wanted = frozenset(
            (
                *(row.name for row in ATTRIBUTES),
                *(mark.name for mark in MARKS),
                *AGENT_MARKS,
                *("server.address", "server.port"),
                *settings.tenant_attributes,
                *settings.session_attributes,
                *settings.route_attributes,
                *settings.slo_class_attributes,
            )
        )

    def read(self, groups: Iterable[SpanGroup], now_ns: int) -> TraceReading:
        """Rows of an export.

        Args:
            groups: the spans, with at least the attributes in `wanted`.
            now_ns: this server's time, nanoseconds since 1970 UTC.
        """
        reading = TraceReading()
        latest = now_ns + FUTURE_SECONDS * 10**9
        for group in groups:
            sender = sender_of(group.resource)
            shared = self._labels(group.resource)
            for span in group.spans:
                self._take(reading, span, group.scope, sender, shared, latest)
            reading.span_count += len(group.spans)
        return reading

    def _take(
        self,
        reading: TraceReading,
        span: Span,
        scope: str,
        sender: Sender,
        shared: tuple[str | None, ...],
        latest_ns: int,
    ) -> None:
        reason = OWN_SPAN if scope == GATEWAY_SCOPE else _refusal(span, latest_ns)
        if reason is None:
            role = _role(span)
            if role is None:
                phase = start_phase(span, scope, sender)
                if phase is not None:
                    reading.starts.append(phase)
                    return
                reason = _why_none(span.attributes)
            elif self._drop_callers and role == "caller":
                reason = CALLER_DROPPED
            elif span.name.startswith(HALF_REQUESTS):
                reason = HALF_REQUEST
            else:
                reading.requests.append(self._request(reading, span, role, sender, shared))
                return
        reading.leave_out(reason, span.name)

    def _labels(self, attributes: Attributes) -> tuple[str | None, ...]:
        """Tenant, route, class and session."""
        told = self._settings
        return (
            first_label(attributes, told.tenant_attributes),
            first_label(attributes, told.route_attributes),
            first_label(attributes, told.slo_class_attributes),
            first_label(attributes, told.session_attributes),
        )

    def _request(
        self,
        reading: TraceReading,
        span: Span,
        role: Role,
        sender: Sender,
        shared: tuple[str | None, ...],
    ) -> Request:
        attributes = span.attributes
        tenant, route, slo_class, session = (
            own or of_all for own, of_all in zip(self._labels(attributes), shared, strict=True)
        )
        first = self._first
        numbers = _Numbers(attributes, self._names)
        output = numbers.tokens("output_tokens")
        e2e = numbers.seconds("e2e_seconds")
        e2e = _duration(span) if e2e is None else e2e
        ttft, decode = numbers.seconds("ttft_seconds"), numbers.seconds("decode_seconds")
        finish = label(first(attributes, "finish_reason"))
        row = (
            f"{span.trace_id}:{span.span_id}",
            span.start_ns // 1000,
            _status(
                span, finish, first(attributes, "http_status"), first(attributes, "error_type")
            ),
            tenant,
            label(first(attributes, "model")) or (sender.model if role == "engine" else None),
            route,
            _server_of(attributes) if role == "caller" else sender.instance,
            slo_class,
            finish,
            numbers.tokens("input_tokens"),
            output,
            numbers.tokens("cached_tokens"),
            numbers.seconds("queue_seconds"),
            numbers.seconds("prefill_seconds"),
            decode,
            ttft,
            _tpot(output, decode, ttft, e2e),
            e2e,
            session,
            span.trace_id,
        )
        if numbers.bad:
            reading.left_out[BAD_VALUE] += len(numbers.bad)
            reading.examples.setdefault(BAD_VALUE, numbers.bad[0])
        return Request(
            span.trace_id,
            span.span_id,
            span.parent_id,
            span.start_ns,
            span.end_ns,
            _ROLES[role],
            row,
        )

    def _first(self, attributes: Attributes, name: Field) -> Value | None:
        for key, _ in self._names[name]:
            if key in attributes:
                return attributes[key]
        return None


class _Numbers:
    """Numeric fields of one span; notes what is none."""

    __slots__ = ("_attributes", "_names", "bad")

    def __init__(
        self, attributes: Attributes, names: dict[Field, tuple[tuple[str, float], ...]]
    ) -> None:
        self._attributes = attributes
        self._names = names
        self.bad: tuple[str, ...] = ()

    def seconds(self, name: Field) -> float | None:
        """A duration, not negative and below three years."""
        for key, factor in self._names[name]:
            value = self._attributes.get(key)
            if value is not None:
                kind = value.__class__
                if (kind is float or kind is int) and 0 <= value <= _MOST_SECONDS:  # type: ignore[operator]
                    return value * factor  # type: ignore[operator]
                self._note(key, value)
                return None
        return None

    def tokens(self, name: Field) -> int | None:
        """A count of tokens."""
        for key, _ in self._names[name]:
            value = self._attributes.get(key)
            if value is not None:
                kind = value.__class__
                if (kind is int or kind is float) and 0 <= value <= _MOST_TOKENS:  # type: ignore[operator]
                    count = int(value)  # type: ignore[arg-type]
                    if count == value:
                        return count
                self._note(key, value)
                return None
        return None

    def _note(self, key: str, value: Value) -> None:
        self.bad = (*self.bad, f"{key} = {value!r}")


def _refusal(span: Span, latest_ns: int) -> str | None:
    if not span.trace_id or not span.span_id:
        return NO_IDS
    if span.start_ns < EARLIEST_NS:
        return NO_TIME
    return FROM_THE_FUTURE if max(span.start_ns, span.end_ns) > latest_ns else None


def _duration(span: Span) -> float | None:
    seconds = (span.end_ns - span.start_ns) / 1e9
    return seconds if 0 < seconds <= _MOST_SECONDS else None


def _role(span: Span) -> Role | None:
    """Who tells of an inference; None when the span tells of none."""
    attributes = span.attributes
    if not attributes:
        return None
    for mark in MARKS:
        value = attributes.get(mark.name)
        if value is None or (mark.values and str(value).lower() not in mark.values):
            continue
        return mark.role or ("server" if span.kind == SERVER_KIND else "caller")
    return None


def _why_none(attributes: Attributes) -> str:
    return (
        NOT_AN_INFERENCE
        if any(key.startswith(GENAI_PREFIXES) for key in attributes)
        else OTHER_SPAN
    )


def _status(
    span: Span, finish: str | None, http_status: Value | None, error_type: Value | None
) -> str:
    """How the request ended, by what the span tells."""
    error = str(error_type).lower() if error_type is not None else ""
    code = http_status if isinstance(http_status, int) else int(error) if _is_code(error) else 0
    if (finish or "").lower() in _ABORTED or error in _ABORTED or code == _CLOSED_BY_CLIENT:
        return "aborted"
    if code in _REFUSED_STATUS:
        return "refused"
    failed = span.status == ERROR_STATUS or code >= 400 or finish == "error" or error != ""
    return "failed" if failed else "ok"


def _is_code(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isdigit()


def _tpot(
    output: int | None, decode: float | None, ttft: float | None, e2e: float | None
) -> float | None:
    """Mean time per output token after the first; unknown for a single token."""
    if output is None or output < 2:
        return None
    if decode is None and ttft is not None and e2e is not None and e2e >= ttft:
        decode = e2e - ttft
    return None if decode is None else decode / (output - 1)


def _server_of(attributes: Attributes) -> str | None:
    address = label(attributes.get("server.address"))
    port = label(attributes.get("server.port"))
    return f"{address}:{port}" if address and port else address
