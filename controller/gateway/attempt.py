"""What is known of one attempt to serve a request when it is over: all that its row needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from controller.gateway.ask import Ask
from controller.gateway.gaps import Gaps

Status = Literal["ok", "failed", "refused", "aborted"]
Sizes = Literal["all", "prompt", "none"]
"""What was estimated of a request: of one that was turned away at the door not everything."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the engine counted them; None where it does not tell."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where a request stands in a trace (W3C trace context).

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: of the gateway's own span, 16 of them; the engine's parent.
        parent_id: of the caller's span; "" where the trace begins here.
        is_sampled: whether the caller wants it kept.
        state: `tracestate`, passed on as it came.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    is_sampled: bool = True
    state: str = ""

    @property
    def traceparent(self) -> str:
        """The header for the engine."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt, whatever became of it. Durations are seconds; unknown is None.

    Attributes:
        ask: the request as it was at the end of this attempt. Sizes in it are estimates; what the
            engine counted is in `usage`.
        request_id: the client's `x-request-id`, or made here; the engine is sent the same.
        arrived_at: wall clock, aware UTC; for a retry still the arrival of the request.
        path: like "/v1/chat/completions".
        is_stream: whether the client asked for a stream.
        status: "ok" the whole answer was passed on; "failed" the engine's or the gateway's fault;
            "refused" it was not let in; "aborted" the client went away.
        http_status: that the client was answered with; None where it was not answered by this
            attempt.
        reason: why it did not end well, for machines: a refusal's code, or "upstream_reset",
            "deadline_exceeded", "client_left" and the like; "" where it did.
        finish_reason: "stop", "length", … as the engine said; "" where it did not.
        usage: by the engine.
        streamed_tokens: chunks with content that were counted as they passed; None where the
            answer was not a stream.
        queue_seconds: in this gateway's line; None where it never left the line.
        ttft_seconds: from arrival to the first content, of this attempt.
        tpot_seconds: between tokens after the first: (last - first) / (tokens - 1).
        e2e_seconds: from arrival to the end.
        gaps: between chunks with content.
        retries: attempts before this one.
        is_last: False where another attempt follows; only the last is what the client saw.
        trace: None where it is not traced.
        decision_id: of the policy that decided; "" is none.
        retry_after_seconds: that a refused client was told to wait; None where it was told nothing.
        sizes: which of those of `ask` mean something.
    """

    ask: Ask
    request_id: str
    arrived_at: datetime
    path: str
    is_stream: bool
    status: Status
    http_status: int | None
    reason: str
    e2e_seconds: float
    finish_reason: str = ""
    usage: Usage = Usage()
    streamed_tokens: int | None = None
    queue_seconds: float | None = None
    ttft_seconds: float | None = None
    tpot_seconds: float | None = None
    gaps: Gaps = field(default_factory=Gaps)
    retries: int = 0
    is_last: bool = True
    trace: TraceContext | None = None
    decision_id: str = ""
    retry_after_seconds: float | None = None
    sizes: Sizes = "all"

    @property
    def is_counted(self) -> bool:
        """Whether it is what a client saw of a request that made sense."""
        return self.is_last and not (self.sizes != "all" and (self.http_status or 500) < 500)

    @property
    def instance(self) -> str:
        """The replica that had it; "" where none did."""
        return self.ask.instance

    @property
    def output_tokens(self) -> int | None:
        """By the engine, else as counted in the stream."""
        told = self.usage.output_tokens
        return self.streamed_tokens if told is None else told

    @property
    def input_tokens(self) -> int | None:
        """Of the prompt, by the engine, else as estimated; None where nobody could."""
        told = self.usage.input_tokens
        if told is None and self.sizes != "none":
            return self.ask.input_tokens
        return told

    @property
    def predicted_output_tokens(self) -> int | None:
        """As expected before it was known; None where nothing was."""
        return round(self.ask.expected_output_tokens) if self.sizes == "all" else None
