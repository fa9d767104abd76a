"""The operations of /access on a store that no server holds, for the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from servescope.access.desk import AccessDesk

Body = Mapping[str, Any]


def answered(desk: AccessDesk, by: str, method: str, path: str, body: Body) -> Any:
    """What the server would answer.

    Args:
        desk: over the store's file.
        by: who asks.
        method: of HTTP.
        path: below /access.
        body: of the request.
    """
    _, kind, *rest = path.split("/")
    return _WORKS[method, kind](desk, by, unquote(rest[0]) if rest else "", body)


def _add_token(desk: AccessDesk, by: str, _: str, body: Body) -> Any:
    made, token = desk.token_add(body["name"], body["scopes"], body["days"], by)
    return {**made, "token": token}


_WORKS: Mapping[tuple[str, str], Callable[[AccessDesk, str, str, Body], Any]] = {
    ("GET", "users"): lambda desk, *_: {"users": desk.users()},
    ("GET", "tokens"): lambda desk, *_: {"tokens": desk.tokens()},
    ("GET", "sessions"): lambda desk, *_: {"sessions": desk.open_sessions()},
    ("POST", "users"): lambda desk, by, _, body: desk.user_add(**body, by=by),
    ("PATCH", "users"): lambda desk, by, name, body: desk.user_change(name, by, **body),
    ("DELETE", "users"): lambda desk, by, name, _: desk.user_remove(name, by),
    ("POST", "tokens"): _add_token,
    ("DELETE", "tokens"): lambda desk, by, token, _: desk.token_end(token, by),
    ("DELETE", "sessions"): lambda desk, by, session, _: desk.session_end(session, by),
}
