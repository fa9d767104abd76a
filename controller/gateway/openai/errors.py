"""Errors as OpenAI's API words them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from controller.gateway.admission.base import Refusal
from controller.gateway.http.answer import Answer

REASON_HEADER = b"x-servescope-reason"
"""The reason for machines; `x-llm-d-request-dropped-reason` says the same to who knows that one."""
LLMD_HEADER = b"x-llm-d-request-dropped-reason"

_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
    404: "not_found_error", 413: "invalid_request_error", 429: "rate_limit_error",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bound:
    """What is left of a limit, for `x-ratelimit-*`.

    Attributes:
        unit: "requests" or "tokens".
        limit: the bound.
        remaining: of it.
        reset_seconds: until it is whole again; None is unknown.
    """

    unit: str
    limit: float
    remaining: float
    reset_seconds: float | None = None


def error_body(status: int, message: str, code: str, param: str | None = None) -> bytes:
    """The body of an error."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def error(status: int, message: str, code: str, param: str | None = None) -> Answer:
    """An error of the gateway itself."""
    return Answer(
        status, error_body(status, message, code, param), ((REASON_HEADER, code.encode()),)
    )


def error_event(status: int, message: str, code: str) -> bytes:
    """The last event of a stream that broke; begins on a line of its own."""
    return b"\ndata: " + error_body(status, message, code) + b"\n\n"


def refused(
    refusal: Refusal, wait_seconds: float | None = None, bounds: tuple[Bound, ...] = ()
) -> Answer:
    """A refusal as the client reads it.

    Args:
        refusal: why.
        wait_seconds: when asking again helps; None promises nothing, and sends no Retry-After.
        bounds: limits that the client stands before; the refusal's own is added.
    """
    code = refusal.code.encode()
    headers = [(REASON_HEADER, code), (LLMD_HEADER, code), *_waits(wait_seconds)]
    for bound in _with_own(refusal, wait_seconds, bounds).values():
        headers += ratelimit_headers(bound)
    body = error_body(refusal.status, refusal.text, refusal.code)
    return Answer(refusal.status, body, tuple(headers))


def ratelimit_headers(bound: Bound) -> list[tuple[bytes, bytes]]:
    """As OpenAI's API sends them."""
    unit = bound.unit.encode()
    found = [
        (b"x-ratelimit-limit-" + unit, b"%d" % bound.limit),
        (b"x-ratelimit-remaining-" + unit, b"%d" % max(bound.remaining, 0)),
    ]
    if bound.reset_seconds is not None:
        found.append((b"x-ratelimit-reset-" + unit, b"%.3fs" % bound.reset_seconds))
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
    refusal: Refusal, wait_seconds: float | None, bounds: tuple[Bound, ...]
) -> Mapping[str, Bound]:
    found = {bound.unit: bound for bound in bounds}
    if refusal.limit is not None:
        found[refusal.unit] = Bound(
            refusal.unit, refusal.limit, refusal.remaining or 0.0, wait_seconds
        )
    return found
