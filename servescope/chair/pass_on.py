"""Requests about what only one server does are passed on to it, as they came.

Whoever asks may come to any of the servers: behind a balancer nobody chooses.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress

import httpx2
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from servescope.access.caller import caller
from servescope.api.problems import problem
from servescope.chair.chair import Chair

log = logging.getLogger(__name__)

PASSED = "servescope-passed"
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 120.0
# About one connection, not about the request. Source: RFC 9110, 7.6.1.
_OF_A_CONNECTION = frozenset(
    {b"connection", b"date", b"keep-alive", b"proxy-connection", b"te", b"trailer",
     b"transfer-encoding", b"upgrade"}
)  # fmt: skip


class PassOn:
    """ASGI middleware of a server that may stand by.

    Args:
        app: answers what every server can.
        chair: whose turn it is.
        roots: begin the paths that only the server with the chair answers.
        key: what servers of one store show one another, for commands of a server's own user.
        verify: file with certificates to trust between servers; "" takes the usual ones.
    """

    def __init__(
        self, app: ASGIApp, *, chair: Chair, roots: tuple[str, ...], key: str, verify: str = ""
    ) -> None:
        self._app, self._chair, self._roots, self._key = app, chair, roots, key
        limits = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        self._client = httpx2.AsyncClient(
            timeout=limits, trust_env=False, follow_redirects=False,
            verify=httpx2.create_ssl_context(verify) if verify else True,
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            async with self._client:
                await self._app(scope, receive, send)
            return
        is_ours = scope["type"] != "http" or self._chair.is_ours
        if is_ours or not self._is_of_the_chair(scope["path"]):
            await self._app(scope, receive, send)
            return
        url = self._chair.holder_url
        if url is None or PASSED in Headers(scope=scope):
            await _nobody(scope)(scope, receive, send)
            return
        try:
            await self._passed(url, scope, receive, send)
        except httpx2.TransportError as error:
            log.warning("not_passed_on", extra={"to": url, "error": str(error)})
            await _nobody(scope)(scope, receive, send)

    def _is_of_the_chair(self, path: str) -> bool:
        return any(path == root or path.startswith(f"{root}/") for root in self._roots)

    def _headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        found = [*_own(scope["headers"]), (PASSED.encode(), b"1")]
        who = caller()
        if who is not None and who.kind == "local":  # the other server does not know our own key
            found = [pair for pair in found if pair[0] != b"authorization"]
            found.append((b"authorization", f"Bearer {self._key}".encode()))
        return found

    async def _passed(self, url: str, scope: Scope, receive: Receive, send: Send) -> None:
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        request = self._client.build_request(
            scope["method"], f"{url}{scope['raw_path'].decode('latin-1')}{query}",
            headers=self._headers(scope), content=_body(receive) if _has_body(scope) else None,
        )  # fmt: skip
        answer = await self._client.send(request, stream=True)
        try:
            head = [(name.lower(), value) for name, value in answer.headers.raw]
            await send({"type": "http.response.start", "status": answer.status_code,
                        "headers": list(_own(head))})  # fmt: skip
            async for part in answer.aiter_raw():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            with suppress(httpx2.TransportError):
                await answer.aclose()


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


def _own(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    return ((name, value) for name, value in headers if name.lower() not in _OF_A_CONNECTION)


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message: Message = await receive()
        if message["type"] != "http.request":
            return  # the client has left
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def _nobody(scope: Scope) -> ASGIApp:
    if scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", ""):
        return HTMLResponse(_PAGE, 503, headers={**_SOON, "Cache-Control": "no-store"})
    return problem(
        503, "no_chair", "the server that this is for has just gone; another takes over",
        hint="come again in a few seconds", headers=_SOON,
    )  # fmt: skip


_SOON = {"Retry-After": "3"}
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta http-equiv="refresh" content="3">
<meta name="color-scheme" content="light dark"><title>One moment</title>
<main style="font: 16px/1.5 system-ui, sans-serif; margin: 20vh auto; max-width: 30rem">
<h1 style="font-size: 1.3rem">One moment</h1>
<p>The server that shows this page has just gone; another takes over.
This page is loaded again by itself. Rows are taken meanwhile.</p></main></html>
"""
