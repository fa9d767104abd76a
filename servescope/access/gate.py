"""What nobody gets to see: every path is shut to who has not said who they are, but for a few.

The routes ask for roles of their own (`servescope.api.access`); a route that forgot would still be
shut here. People who open a page are shown where to sign in.
"""

from __future__ import annotations

from html import escape
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Scope

from servescope.access.caller import Caller
from servescope.access.rules import SIGN_IN, Paths
from servescope.api.problems import FIXED_HEADERS, problem
from store.access import SIGN_IN_HINT, Role

HOME = "/ui/"


def refusal(who: Caller, scope: Scope, headers: Headers, paths: Paths) -> ASGIApp | None:
    """Why a request ends here; None when it may go on to what it asks for."""
    path = scope["path"]
    if paths.is_public(path):
        return None
    if paths.is_page(path):
        return None if who.rights.role >= Role.VIEWER else _shut_page(who, scope, headers)
    if who.rights.role >= Role.VIEWER or who.doors:
        return None
    return problem(
        401, "sign_in", "this server wants to know who asks", hint=SIGN_IN_HINT, instance=path,
        headers=FIXED_HEADERS[401],
    )  # fmt: skip


def _shut_page(who: Caller, scope: Scope, headers: Headers) -> ASGIApp:
    is_opened = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
    if who.is_known:
        return problem(403, "role", f"{who.name} may not look at pages", hint="ask an admin")
    if not is_opened:
        return problem(401, "sign_in", "your sign-in has ended", hint="load the page again")
    asked = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"]
                             else "")  # fmt: skip
    if headers.get("sec-fetch-site") == "cross-site":
        return onward(asked)
    return RedirectResponse(f"{SIGN_IN}?next={quote(asked)}", 303)


def onward(path: str | None) -> HTMLResponse:
    """Lets a browser ask for a page by itself.

    One that comes by a link from elsewhere, a mail say, leaves out the cookie that it holds, and
    shows it when a page of this server asks.
    """
    place = escape(safe_next(path), quote=True)
    page = f'<!doctype html><meta http-equiv="refresh" content="0;url={place}"><title>…</title>'
    return HTMLResponse(page, headers={"Cache-Control": "no-store"})


def safe_next(path: str | None) -> str:
    """Where to go after a sign-in: a page of this server, whatever was asked for."""
    if not path or not path.startswith(HOME) or "\\" in path or len(path) > 4_000:
        return HOME
    parts = urlsplit(path)
    return path if not parts.scheme and not parts.netloc else HOME
