"""W3C trace context: taken from the caller, passed on to the engine with a span of our own.

Source: W3C Trace Context, level 1 recommendation with the flags of level 2.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace

from controller.gateway.attempt import TraceContext
from controller.gateway.hooks import Headers

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
MOST_STATE_CHARACTERS = 512
SAMPLED = 1
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_STATE = re.compile(r"[\x20-\x7e]*")


def read_context(headers: Headers) -> tuple[str, str, bool, str] | None:
    """Trace id, span id, whether it is sampled, and state of a caller; None without a valid one.

    A newer version is read as far as this one goes; what comes behind it is ignored.
    """
    found = _PARENT.fullmatch(headers.get(TRACEPARENT, "").strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more):
        return None
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    state = headers.get(TRACESTATE, "").strip()
    if len(state) > MOST_STATE_CHARACTERS or _STATE.fullmatch(state) is None:
        state = ""
    return trace_id, span_id, bool(int(flags, 16) & SAMPLED), state


class Traces:
    """Puts every request into a trace: the caller's, else one that begins here.

    By the ids the engine's own span of a request is found again, so requests are traced whether or
    not spans are exported from here.

    Args:
        sampled_share: of traces that begin here, asked to be kept: 0 to 1.
        dice: gives so many random bytes.
    """

    def __init__(
        self, sampled_share: float = 1.0, dice: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._below = round(sampled_share * (1 << 56))
        self._dice = dice

    def begin(self, headers: Headers) -> TraceContext:
        """A span of our own within the caller's trace, or in a new one."""
        told = read_context(headers)
        if told is not None:
            trace_id, parent_id, is_sampled, state = told
            return TraceContext(trace_id, self._span_id(), parent_id, is_sampled, state)
        while (trace_id := self._dice(16).hex()) == _NO_TRACE:
            pass
        # The last 56 bits are random by level 2, so everybody who samples by them agrees.
        is_sampled = int(trace_id[-14:], 16) < self._below
        return TraceContext(trace_id, self._span_id(), is_sampled=is_sampled)

    def again(self, context: TraceContext) -> TraceContext:
        """The next attempt at the same request: another span of the same parent."""
        return replace(context, span_id=self._span_id())

    def _span_id(self) -> str:
        while (span_id := self._dice(8).hex()) == _NO_SPAN:
            pass
        return span_id
