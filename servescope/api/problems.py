"""Every failure of the API as one document: RFC 9457 problem details."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from servescope.json_text import to_json
from store.errors import RoleRefused, ServescopeError

log = logging.getLogger("servescope.api")

MEDIA_TYPE = "application/problem+json"
STATUS_BY_CODE = {
    "input": 400,
    "collect": 400,
    "predictor": 400,
    "controller": 400,
    "report": 422,
    "query_refused": 403,
    "sign_in": 401,
    "role": 403,
    "query_timeout": 504,
    "writer_overloaded": 503,
    "store_locked": 503,
    "store_full": 503,
    "store_read_only": 503,
    "store_paused": 503,
}
# A sender that is too slow gets no second try on the same connection.
FIXED_HEADERS = {
    401: {"WWW-Authenticate": 'Bearer realm="servescope"'},
    408: {"Connection": "close"},
    429: {"Retry-After": "1"},
    503: {"Retry-After": "1"},
}
SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": ["string", "null"]},
        "code": {"type": "string"},
        "hint": {"type": ["string", "null"]},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    hint: str | None = None,
    instance: str | None = None,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:
    """A problem document.

    Args:
        status: HTTP status.
        code: stable machine-readable name of the kind of problem.
        detail: what is wrong, for people.
        hint: what to do.
        instance: the path it happened on.
        headers: more response headers.
        more: extension members.
    """
    body = {
        "type": f"urn:servescope:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "hint": hint,
        **more,
    }
    return Response(to_json(body), status, headers=headers, media_type=MEDIA_TYPE)


def from_error(error: ServescopeError, instance: str | None = None) -> Response:
    """The problem that one of our own errors is."""
    status = getattr(error, "status", None) or STATUS_BY_CODE.get(error.code, 500)
    detail = f"{error.where}: {error.message}" if error.where else error.message
    headers = FIXED_HEADERS.get(status)
    more: dict[str, Any] = {}
    if isinstance(error, RoleRefused):
        more = {"needs_role": error.needs_role, "role": error.role}
    return problem(
        status, error.code, detail, hint=error.hint, instance=instance, headers=headers, **more
    )


def install(app: FastAPI) -> None:
    """Answer every failure of `app` with a problem document."""
    app.add_exception_handler(ServescopeError, _on_own_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_middleware(Faults)


def _on_own_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServescopeError)  # noqa: S101 - for the type checker
    return from_error(error, request.url.path)


def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - for the type checker
    errors = [
        {"where": ".".join(map(str, item["loc"])), "message": item["msg"]}
        for item in error.errors()
    ]
    detail = "; ".join(f"{item['where']}: {item['message']}" for item in errors)
    return problem(
        422, "validation", detail, hint="see /api/v1/openapi.json",
        instance=request.url.path, errors=errors,
    )  # fmt: skip


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker
    if error.status_code == 404:
        detail, hint = f"there is nothing at {request.url.path}", "see /api/v1/openapi.json"
    else:
        detail, hint = str(error.detail), None
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request)) or headers.get("Allow", "")
    return problem(
        error.status_code, code, detail, hint=hint, instance=request.url.path, headers=headers
    )


def _allowed(request: Request) -> list[str]:
    """Methods that the description gives a path: each route by itself tells of its own alone."""
    paths: dict[str, dict[str, Any]] = request.app.openapi()["paths"]
    found = [path for path in paths if compile_path(path)[0].match(request.scope["path"])]
    # The plainest description of it is meant: /schedules/{name}/preview, not /{name}/{verb}.
    nearest = min(found, key=lambda path: path.count("{"), default=None)
    return sorted(method.upper() for method in paths[nearest]) if nearest is not None else []


class Faults:
    """ASGI middleware: a fault of ours is logged once and answered with a problem document.

    Args:
        app: what may fail.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        started = False

        async def watching(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watching)
        except ClientDisconnect:
            log.info("sender_left", extra={"path": scope["path"]})
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            log.exception("request_failed", extra={"path": scope["path"]})
            answer = problem(
                500, "fault", f"{type(error).__name__} inside the server",
                hint="the server's log has the details", instance=scope["path"],
            )  # fmt: skip
            await answer(scope, receive, send)
