"""What stands between the network and the application: host, origin, size and headers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.agent.wire import SERVER_HEADER
from servescope.api.problems import problem

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_OWN_HEADERS: Mapping[str, str] = {**SECURITY_HEADERS, SERVER_HEADER: "1"}


@dataclass(frozen=True, slots=True)
class BodyPace:
    """How long a body is waited for; whoever is slower holds a thread or a task for nothing.

    Attributes:
        seconds: for the whole of it, besides what its bytes earn.
        idle_seconds: how long the sender may be silent within it.
        bytes_per_second: each so many bytes that came earn one second more, for large uploads.
    """

    seconds: float = 60.0
    idle_seconds: float = 10.0
    bytes_per_second: float = 16_384.0


def content_security_policy(script_hashes: Collection[str] = ()) -> str:
    """The policy for all pages: nothing from elsewhere, no inline script that is not ours.

    Args:
        script_hashes: `'sha256-…'` of the inline scripts that the dashboard's page carries.
    """
    scripts = " ".join(["'self'", *sorted(script_hashes)])
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src {scripts}",
            # Component libraries and Plotly set styles on elements.
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


class Guard:
    """Refuses foreign hosts, cross-site writes and oversized bodies; adds security headers.

    Args:
        app: what is guarded.
        hosts: names accepted in the Host header. Source: DNS rebinding makes any page reach a
            loopback server under its own name. Addresses in figures are always accepted: there is
            no name in them that could come to mean another machine.
        policy: the Content-Security-Policy.
        body_max_bytes: largest body.
        upload_max_bytes: largest body of the paths in `upload_paths`.
        upload_paths: paths that take uploads.
        bounded_paths: paths whose door bounds its bodies itself (`servescope.api.bodies`), in its
            own words and after unpacking.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        policy: str,
        body_max_bytes: int,
        upload_max_bytes: int,
        upload_paths: Collection[str] = (),
        bounded_paths: Collection[str] = (),
        pace: BodyPace | None = None,
    ) -> None:
        self._app = app
        self._hosts = frozenset(name.lower() for name in hosts)
        self._policy = policy
        self._body_max_bytes = body_max_bytes
        self._upload_max_bytes = upload_max_bytes
        self._upload_paths = frozenset(upload_paths)
        self._bounded_paths = frozenset(bounded_paths)
        self._pace = pace or BodyPace()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = self._limit(scope["path"])
        misled = self._refuse_host(headers)
        refusal = (
            misled
            or _refuse_origin(scope["method"], headers)
            or (_refuse_length(headers, limit) if limit is not None else None)
        )
        # Who asks under another name may have asked for another server: no word of ours is final.
        outgoing = self._with_headers(send, SECURITY_HEADERS if misled else _OWN_HEADERS)
        if refusal is not None:
            await refusal(scope, receive, outgoing)
            return
        bounded = receive if limit is None else _limited(receive, limit, self._pace)
        await self._app(scope, bounded, outgoing)

    def _limit(self, path: str) -> int | None:
        if path in self._bounded_paths:
            return None
        return self._upload_max_bytes if path in self._upload_paths else self._body_max_bytes

    def _refuse_host(self, headers: Headers) -> ASGIApp | None:
        host = headers.get("host", "")
        name = _host_name(f"//{host}")
        if name in self._hosts or _is_address(name):
            return None
        return problem(
            400, "host", f"this server does not answer to the name '{host}'",
            hint="open it by the address it prints, or add the name to server.allowed_hosts",
        )  # fmt: skip

    def _with_headers(self, send: Send, more: Mapping[str, str]) -> Send:
        async def outgoing(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in more.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", self._policy)
                if "x-powered-by" in headers:
                    del headers["x-powered-by"]
            await send(message)

        return outgoing


def _place(url: str) -> str | None:
    """Host and port of a URL; None when it is none, such as `http://[::1`."""
    try:
        return urlsplit(url).netloc or None
    except ValueError:
        return None


def _host_name(url: str) -> str | None:
    """The host's name alone, in lower case; None when there is none."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_address(name: str | None) -> bool:
    try:
        ip_address(name or "")
    except ValueError:
        return False
    return True


def _refuse_origin(method: str, headers: Headers) -> ASGIApp | None:
    """Writes must come from our own pages or from no page at all (CLI, agents)."""
    if method in SAFE_METHODS:
        return None
    origin = headers.get("origin")
    foreign = origin is not None and _place(origin) != headers.get("host")
    if foreign or headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
        return problem(
            403, "cross_site", "a page of another site may not write here",
            hint="call the API from the command line or from its own dashboard",
        )  # fmt: skip
    return None


def _refuse_length(headers: Headers, limit_bytes: int) -> ASGIApp | None:
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) <= limit_bytes:
        return None
    return problem(
        413, "too_large", f"the body is larger than {limit_bytes} bytes",
        hint="send it in smaller parts, or raise server.body_max_bytes",
    )  # fmt: skip


def _limited(receive: Receive, limit_bytes: int, pace: BodyPace) -> Receive:
    """A body that lies about its length, or has none, is cut off at the limit; so is a slow one."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    taken, more = 0, True

    async def incoming() -> Message:
        nonlocal taken, more
        if not more:
            return await receive()  # waits for the client to leave, for as long as that takes
        end = began + pace.seconds + taken / pace.bytes_per_second
        try:
            async with asyncio.timeout_at(min(end, loop.time() + pace.idle_seconds)):
                message = await receive()
        except TimeoutError as error:
            raise _slow(taken, pace) from error
        taken += len(message.get("body", b""))
        more = message.get("more_body", False)
        if taken > limit_bytes:
            raise HTTPException(413, f"the body is larger than {limit_bytes} bytes")
        return message

    return incoming


def _slow(taken: int, pace: BodyPace) -> HTTPException:
    text = (
        f"the body was not here in time ({taken} bytes came); it may take {pace.seconds:g} s, and"
        f" longer where it is large, with no pause above {pace.idle_seconds:g} s"
    )
    # Nothing more is read on this connection.
    return HTTPException(408, text, headers={"Connection": "close"})
