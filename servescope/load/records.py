"""What is kept of each attempt that was made, or should have been."""

from __future__ import annotations

from dataclasses import dataclass

from servescope.load.hearing import Status
from servescope.load.planning import Planned


@dataclass(frozen=True, slots=True)
class Sent:
    """One attempt. Durations are seconds, None is unknown.

    Attributes:
        planned: what was to be sent.
        attempt: 1 for the first.
        is_last: whether no other follows.
        due_seconds: when it was meant to leave, after the start of the run.
        target: where it was sent; "" where it was not.
        instance: that the answer named; "" is not told.
        status: how it ended.
        http_status: 0 where there was no answer.
        reason: why it did not end well.
        finish_reason: as the engine said.
        input_tokens: by the engine.
        output_tokens: by the engine, or as counted in the stream.
        cached_tokens: by the engine.
        ttft_seconds: from when it was meant to leave to the first token.
        e2e_seconds: from then to the last token.
        ttft_from_send_seconds: from when it really left.
        e2e_from_send_seconds: likewise.
        tpot_seconds: (last - first) / (tokens - 1).
        gap_quantiles: p50, p95, p99 and the longest of the gaps between chunks.
        lag_seconds: by which the sender itself was late; None where it was not sent.
        held_seconds: waited for a free connection before it left.
        retry_after_seconds: as told with a refusal.
        trace_id: that was sent, 32 hexadecimal digits; a gateway's row of it has the same. "" is
            not sent.
        since_first_seconds: from when the first attempt was meant to leave to this one's first
            token, or its end where it is no stream: what the user waited.
    """

    planned: Planned
    attempt: int
    is_last: bool
    due_seconds: float
    target: str
    instance: str
    status: Status
    http_status: int
    reason: str
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    ttft_seconds: float | None = None
    e2e_seconds: float | None = None
    ttft_from_send_seconds: float | None = None
    e2e_from_send_seconds: float | None = None
    tpot_seconds: float | None = None
    gap_quantiles: tuple[float | None, ...] = (None, None, None, None)
    lag_seconds: float | None = None
    held_seconds: float = 0.0
    retry_after_seconds: float | None = None
    trace_id: str = ""
    since_first_seconds: float | None = None
