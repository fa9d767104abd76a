"""One posted request row: which fields there are, and what is wrong with one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from store.bulk_spec import GATEWAY_COLUMNS, LABELS, MAX_TOKENS
from store.nearest import nearest_hint

MOST_CHARACTERS = 256
MOST_SECONDS = 1e7
MOST_WEIGHT = 1e6
AHEAD = timedelta(hours=1)
YEAR_2000 = datetime(2000, 1, 1)  # noqa: DTZ001 - naive UTC, as the store keeps it
STATUSES = ("ok", "failed", "refused", "aborted")
TOKENS = ("input_tokens", "output_tokens", "cached_tokens", "predicted_output_tokens")
SECONDS = (
    "queue_seconds",
    "prefill_seconds",
    "decode_seconds",
    "ttft_seconds",
    "tpot_seconds",
    "e2e_seconds",
    *(name for name in GATEWAY_COLUMNS if name.endswith("_seconds")),
)
COUNTS: Mapping[str, int] = {
    "attempt": 2**15 - 1,
    "policy_version": 2**31 - 1,
    "decision_id": 2**63 - 1,
}
"""Numbers from 1 on, and the largest of each."""
WEIGHTS = ("tenant_weight",)
FLAGS = ("is_counted",)
REQUIRED = ("arrived_at", "status")
_TRACE_ID = re.compile(r"[0-9a-fA-F]{32}")


class BadField(ValueError):
    """Why a row is refused; one line, the same for every row with the same fault."""


def checked(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The row as it can be stored.

    Args:
        row: field -> value; None is as good as missing.
        now: naive UTC; later than an hour after it, nothing can have arrived.

    Raises:
        BadField: a field is unknown, missing or wrong.
    """
    found = {}
    for name, value in row.items():
        read = FIELDS.get(name)
        if read is None:
            raise BadField(_unknown(name))
        if value is not None:
            found[name] = read(name, value)
    for name in REQUIRED:
        if name not in found:
            raise BadField(f"{name} is missing")
    if not YEAR_2000 <= found["arrived_at"] <= now + AHEAD:
        raise BadField("arrived_at lies before 2000 or more than an hour ahead of this server")
    return found


def _unknown(name: object) -> str:
    return f"a field that no request has; {nearest_hint(name, FIELDS)}"


def _time(name: str, value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise BadField(f"{name} is not ISO 8601 text, such as 2026-01-31T12:00:00Z") from None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        value = _from_seconds(name, value)
    if not isinstance(value, datetime):
        raise BadField(f"{name} is neither ISO 8601 text nor seconds since 1970")
    try:
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    except OverflowError:
        raise BadField(f"{name} lies outside of time") from None


def _from_seconds(name: str, value: float) -> datetime:
    if not abs(value) < 1e11:
        raise BadField(f"{name} as a number is in seconds since 1970, not milliseconds")
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=value)


def _status(name: str, value: Any) -> str:
    if value not in STATUSES:
        raise BadField(f"{name} must be one of: {', '.join(STATUSES)}")
    return str(value)


def _tokens(name: str, value: Any) -> int:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not 0 <= value <= MAX_TOKENS:
        raise BadField(f"{name} must be a whole number from 0 to {MAX_TOKENS:,}")
    return int(value)


def _seconds(name: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= MOST_SECONDS:
        raise BadField(f"{name} must be a number of seconds from 0 to {MOST_SECONDS:,.0f}")
    return float(value)


def _count(name: str, value: Any) -> int:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not 1 <= value <= COUNTS[name]:
        raise BadField(f"{name} must be a whole number from 1 to {COUNTS[name]:,}")
    return int(value)


def _weight(name: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= MOST_WEIGHT:
        raise BadField(f"{name} must be a number above 0, at most {MOST_WEIGHT:,.0f}")
    return float(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadField(f"{name} must be true or false")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_CHARACTERS:
        raise BadField(f"{name} must be text of 1 to {MOST_CHARACTERS} characters")
    if not value.isprintable():
        raise BadField(f"{name} holds a character that cannot be shown")
    return value


def _trace_id(name: str, value: Any) -> str:
    if not isinstance(value, str) or not _TRACE_ID.fullmatch(value):
        raise BadField(f"{name} must be 32 hexadecimal digits")
    return value.lower()


FIELDS: Mapping[str, Callable[[str, Any], Any]] = {
    "request_id": _text,
    "arrived_at": _time,
    "status": _status,
    **dict.fromkeys(LABELS, _text),
    **dict.fromkeys(TOKENS, _tokens),
    **dict.fromkeys(SECONDS, _seconds),
    **dict.fromkeys(COUNTS, _count),
    **dict.fromkeys(WEIGHTS, _weight),
    **dict.fromkeys(FLAGS, _flag),
    "session_id": _text,
    "trace_id": _trace_id,
}
"""Field -> how its value is read. The names are those of `store.append.REQUEST_FRAME`."""
MEANINGS: Mapping[str, str] = {
    "request_id": "The sender's own name of the request; sent again it changes nothing.",
    "arrived_at": "When it arrived: ISO 8601 (without a zone: UTC), or seconds since 1970.",
    "status": "ok, failed, refused (turned away) or aborted (the client left).",
    "tenant": "Who asked.",
    "model": "The model that was asked for.",
    "route": "The endpoint or use case.",
    "instance": "Which replica served it.",
    "slo_class": "The class of service.",
    "finish_reason": "Why it ended, such as stop or length.",
    "admission_reason": "Why it was turned away, as one word; of rows of gateways.",
    "input_tokens": "Tokens of the prompt.",
    "output_tokens": "Tokens generated.",
    "cached_tokens": "Prompt tokens found in a cache.",
    "predicted_output_tokens": "What somebody expected output_tokens to be.",
    "queue_seconds": "Waiting before the first work.",
    "prefill_seconds": "Work on the prompt.",
    "decode_seconds": "Work on the output.",
    "ttft_seconds": "Arrival to first token.",
    "tpot_seconds": "Mean time per output token after the first.",
    "e2e_seconds": "Arrival to last token.",
    "itl_p50_seconds": "Median of the gaps between its chunks.",
    "itl_p95_seconds": "0.95 quantile of the gaps between its chunks.",
    "itl_p99_seconds": "0.99 quantile of the gaps between its chunks.",
    "itl_max_seconds": "The longest gap between two of its chunks.",
    "retry_after_seconds": "What a client that was turned away was told to wait.",
    "attempt": "Which try of the request this is, from 1.",
    "is_counted": "False where it is no request: another attempt followed, or it made no sense.",
    "tenant_weight": "The tenant's share in the queue; twice as much may be served of 2 as of 1.",
    "policy_version": "The version of the gateway's policy that decided.",
    "decision_id": "The newest decision of the autoscaler at that time.",
    "session_id": "The conversation it belongs to.",
    "trace_id": "Trace in which it is a span: 32 hexadecimal digits.",
}
