"""Errors as OpenAI's API words them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import orjson

from controller.gateway.admission.base import Allowance, Refusal
from controller.gateway.http.answer import Answer

REASON_HEADER = b"x-servescope-reason"
"""The reason for machines; `x-llm-d-request-dropped-reason` says the same to who knows that one."""
LLMD_HEADER = b"x-llm-d-request-dropped-reason"

SHOULD_RETRY = (b"x-should-retry", b"false")
"""The SDKs of OpenAI ask again by themselves, unless they are told not to."""
FINAL_STATUSES = frozenset({400, 401, 404, 405, 413, 414, 431})
"""What the request itself is the reason of: the same one would be answered the same again."""
_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
    404: "not_found_error", 413: "invalid_request_error", 429: "rate_limit_error",
}  # fmt: skip


def error_body(status: int, message: str, code: str, param: str | None = None) -> bytes:
    """The body of an error."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def error(status: int, message: str, code: str, param: str | None = None) -> Answer:
    """An error of the gateway itself."""
    final = (SHOULD_RETRY,) if status in FINAL_STATUSES else ()
    headers = ((REASON_HEADER, code.encode()), *final)
    return Answer(status, error_body(status, message, code, param), headers)


def error_event(status: int, message: str, code: str) -> bytes:
    """The last event of a stream that broke; begins on a line of its own."""
    return b"\ndata: " + error_body(status, message, code) + b"\n\n"


def refused(
    refusal: Refusal, wait_seconds: float | None = None, limits: Sequence[Allowance] = ()
) -> Answer:
    """A refusal as the client reads it.

    Args:
        refusal: why.
        wait_seconds: when asking again helps; None promises nothing, and sends no Retry-After.
        limits: what is left of those that the client stands before; the refusal's own is added.
    """
    code = refusal.code.encode()
    headers = [(REASON_HEADER, code), (LLMD_HEADER, code)]
    if refusal.is_final or refusal.status in FINAL_STATUSES:
        headers.append(SHOULD_RETRY)
    else:
        headers += _waits(wait_seconds)
    headers += ratelimit_headers(_with_own(refusal, wait_seconds, limits))
    body = error_body(refusal.status, refusal.text, refusal.code)
    return Answer(refusal.status, body, tuple(headers))


def ratelimit_headers(limits: Iterable[Allowance]) -> list[tuple[bytes, bytes]]:
    """As OpenAI's API sends them; of two limits of a unit the one of which less is left."""
    tightest: dict[str, Allowance] = {}
    for one in limits:
        known = tightest.get(one.unit)
        if known is None or one.remaining / one.limit < known.remaining / known.limit:
            tightest[one.unit] = one
    found = []
    for unit, one in tightest.items():
        name = unit.encode()
        found += [
            (b"x-ratelimit-limit-" + name, b"%d" % one.limit),
            (b"x-ratelimit-remaining-" + name, b"%d" % max(one.remaining, 0)),
            (b"x-ratelimit-reset-" + name, b"%.3fs" % one.reset_seconds),
        ]
    return found


def _waits(seconds: float | None) -> list[tuple[bytes, bytes]]:
    if seconds is None:
        return []
    # Whole seconds are rounded up: who comes a moment early is refused once more.
    return [
        (b"retry-after", b"%d" % max(math.ceil(seconds), 1)),
        (b"retry-after-ms", b"%d" % max(math.ceil(1000 * seconds), 1)),
    ]


def _with_own(
    refusal: Refusal, wait_seconds: float | None, limits: Sequence[Allowance]
) -> Sequence[Allowance]:
    if not refusal.limit or wait_seconds is None:
        return limits
    own = Allowance(refusal.unit, refusal.limit, refusal.remaining or 0.0, wait_seconds)
    return (own, *limits)
