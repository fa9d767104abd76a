"""An attempt as a row of requests: what the store keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controller.gateway.attempt import Attempt

MOST_CHARACTERS = 256
SPAN_FIELDS = ("span_id", "parent_id")
"""Fields beside those of a row: by them the engine's own span of the same request is found."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What was in force.

    Attributes:
        policy_version: of the policy that the server gave; None for one's own settings.
        decision_id: the newest decision of the autoscaler that is known; None without any.
    """

    policy_version: int | None = None
    decision_id: int | None = None


def row_of(attempt: Attempt, identity: str, marks: Marks) -> dict[str, Any]:
    """The fields of `collector.request_rows.fields` and SPAN_FIELDS; what is unknown is left out.

    Sizes of prompts are the gateway's estimate where no engine counted them: a refused request
    would have none otherwise, and what a tenant asked for could not be told.

    Args:
        attempt: what happened.
        identity: of this process, so that requests without a trace have names of their own.
        marks: what was in force.
    """
    ask, usage, gaps, trace = attempt.ask, attempt.usage, attempt.gaps, attempt.trace
    is_refused = attempt.status == "refused"
    row = {
        "request_id": request_id(attempt, identity),
        "arrived_at": attempt.arrived_at.timestamp(),
        "status": attempt.status,
        "tenant": _text(ask.tenant),
        "model": _text(ask.model),
        "route": _text(attempt.path.removeprefix("/v1/")),
        "instance": _text(attempt.instance),
        "slo_class": _text(ask.slo.name),
        "finish_reason": _text(attempt.finish_reason or ("" if is_refused else attempt.reason)),
        "admission_reason": _text(attempt.reason) if is_refused else None,
        "input_tokens": attempt.input_tokens,
        "output_tokens": attempt.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "predicted_output_tokens": attempt.predicted_output_tokens,
        "queue_seconds": _rounded(attempt.queue_seconds),
        "ttft_seconds": _rounded(attempt.ttft_seconds),
        "tpot_seconds": _rounded(attempt.tpot_seconds),
        "e2e_seconds": _rounded(attempt.e2e_seconds),
        "itl_p50_seconds": _rounded(gaps.quantile_seconds(0.5)),
        "itl_p95_seconds": _rounded(gaps.quantile_seconds(0.95)),
        "itl_p99_seconds": _rounded(gaps.quantile_seconds(0.99)),
        "itl_max_seconds": _rounded(gaps.longest_seconds) if gaps.count else None,
        "retry_after_seconds": _rounded(attempt.retry_after_seconds),
        "attempt": ask.attempt,
        "is_counted": attempt.is_counted,
        "tenant_weight": ask.weight if ask.tenant else None,
        "policy_version": marks.policy_version,
        "decision_id": marks.decision_id,
        "session_id": _text(ask.session),
        "trace_id": trace.trace_id if trace else None,
        "span_id": trace.span_id if trace else None,
        "parent_id": (trace.parent_id or None) if trace else None,
    }
    return {name: value for name, value in row.items() if value is not None}


def request_id(attempt: Attempt, identity: str) -> str:
    """The name of a row: sent again, it changes nothing."""
    trace = attempt.trace
    if trace is None:
        return f"{identity}:{attempt.ask.number}:{attempt.ask.attempt}"
    own = f"{trace.trace_id}:{trace.span_id}"
    return own if attempt.ask.attempt == 1 else f"{own}:{attempt.ask.attempt}"


def _rounded(seconds: float | None) -> float | None:
    """Microseconds are enough, and shorter to send; a clock that went back tells nothing."""
    return None if seconds is None or not seconds >= 0 else round(seconds, 6)


def _text(told: str) -> str | None:
    """Text as a row may have it: what cannot be shown is taken out, what is too long is cut."""
    if not told.isprintable():
        told = "".join(sign for sign in told if sign.isprintable())
    return told[:MOST_CHARACTERS].strip() or None
