"""What an engine is sent for a client's request."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from controller.gateway.attempt import TraceContext
from controller.gateway.hooks import Headers
from controller.gateway.http.answer import Pairs, header_lines, passed_on
from controller.gateway.http.exchange import Exchange
from controller.gateway.http.pool import Address
from controller.gateway.proxy_headers import REQUEST_ID
from controller.gateway.proxy_settings import ProxySettings

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# What is told to the gateway alone, or is said anew.
_OURS = (
    b"host", b"content-length", b"accept-encoding", b"expect", b"cookie", REQUEST_ID,
)  # fmt: skip


def texts(headers: Pairs) -> Headers:
    """Headers as texts; the last of a name counts."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


def own_id(headers: Headers) -> str:
    """The client's own name of its request, where it may be passed on; "" is none."""
    told = headers.get(REQUEST_ID.decode(), "")
    return told if _ID.fullmatch(told) else ""


def deadline_seconds(headers: Mapping[str, str], settings: ProxySettings) -> float:
    """The client's where it is shorter than ours."""
    told = headers.get(settings.deadline_header) if settings.deadline_header else None
    try:
        wanted = float(told) if told is not None else math.inf
    except ValueError:
        wanted = math.inf
    return min(wanted, settings.deadline_seconds) if wanted > 0 else settings.deadline_seconds


def upstream_request(
    exchange: Exchange,
    to: Address,
    settings: ProxySettings,
    identity: str,
    trace: TraceContext | None,
    body: bytes | None = None,
) -> bytes:
    """The whole request, head and body; the client's body where no other is given."""
    body = exchange.body if body is None else body
    without = list(_OURS)
    if settings.upstream_key or not settings.forwards_authorization:
        without.append(b"authorization")
    if trace is not None:
        without += [b"traceparent", b"tracestate"]
    target = to.root.encode() + exchange.path + (b"?" + exchange.query if exchange.query else b"")
    lines = [
        b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (exchange.method, target, to.authority),
        header_lines(passed_on(exchange.headers, *without)),
        b"%b: %b\r\n" % (REQUEST_ID, identity.encode()),
    ]
    if settings.upstream_key:
        lines.append(b"authorization: Bearer %b\r\n" % settings.upstream_key.encode())
    if trace is not None:
        lines.append(b"traceparent: %b\r\n" % trace.traceparent.encode())
        if trace.state:
            lines.append(b"tracestate: %b\r\n" % trace.state.encode("latin-1"))
    if body or exchange.method in (b"POST", b"PUT", b"PATCH"):
        lines.append(b"content-length: %d\r\n" % len(body))
    return b"".join([*lines, b"\r\n", body])
