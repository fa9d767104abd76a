"""Finding out who asks: a token, a session, a command of the server's own user, or nobody."""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from servescope.access import keys
from servescope.access.assembly import People
from servescope.access.caller import NOBODY, Caller, calling
from servescope.access.gate import refusal
from servescope.access.scopes import ALL_DOORS
from servescope.access.throttle import Throttle
from servescope.api.problems import FIXED_HEADERS, problem
from store.access import SIGN_IN_HINT, Rights, Role
from store.clock import Clock

COOKIE = "servescope_session"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
BURST_MINUTES = 0.2


class Identify:
    """ASGI middleware: sets the caller of every request, and turns away false tokens.

    Args:
        app: what answers.
        people: who is known.
        clock: the time.
        senders: begin the paths that programs send to.
    """

    def __init__(
        self, app: ASGIApp, *, people: People, clock: Clock, senders: tuple[str, ...]
    ) -> None:
        rules = people.rules(senders)
        self._app, self._rules = app, rules
        self._people = people
        own = filter(None, (people.local_key, people.peer_key))
        self._own_digests = tuple(keys.digest(key) for key in own)
        per_minute = rules.requests_per_minute
        burst = max(20.0, per_minute * BURST_MINUTES)
        self._pace = Throttle(clock, burst=burst, per_minute=per_minute) if per_minute else None
        self._false_tokens = Throttle(clock, burst=30, per_minute=30)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        who, refused = await self._who(scope)
        if refused is not None:
            await refused(scope, receive, send)
            return
        with calling(who):
            await self._app(scope, receive, send)

    async def _who(self, scope: Scope) -> tuple[Caller, ASGIApp | None]:
        headers, address = Headers(scope=scope), address_of(scope)
        await self._people.book.look()
        token = bearer(headers)
        if token is not None:
            who = self._by_token(token) or await self._again(lambda: self._by_token(token))
            if who is None:
                return NOBODY, self._false_token(address)
        else:
            secret = cookie_of(headers)
            who = await self._by_cookie(secret) if secret else None
            if who is not None and _is_unclear(scope["method"], headers):
                return NOBODY, _UNCLEAR
        who = who or Caller("nobody", "", self._rules.anonymous)
        fast = self._too_fast(who, scope["path"], address)
        return who, fast or refusal(who, scope, headers, self._rules.paths)

    def _by_token(self, token: str) -> Caller | None:
        shown = keys.digest(token)
        if any(keys.same(shown, own) for own in self._own_digests):
            return Caller("local", "", Rights(Role.ADMIN, "this machine's own user"), ALL_DOORS)
        return self._people.book.by_token(token)

    async def _by_cookie(self, secret: str) -> Caller | None:
        find = self._people.book.by_session
        return find(secret) or await self._again(lambda: find(secret))

    async def _again(self, find: Callable[[], Caller | None]) -> Caller | None:
        await self._people.book.look_again()
        return find()

    def _false_token(self, address: str) -> ASGIApp:
        wait = self._false_tokens.take(address)
        if wait:
            return problem(
                429, "too_many", "too many tokens from there that hold for nothing",
                hint=f"wait {wait:.0f} s", headers={"Retry-After": f"{wait:.0f}"},
            )  # fmt: skip
        return problem(
            401, "sign_in", "this token holds for nothing: wrong, expired or revoked",
            hint="an admin can make one: `servescope access token NAME --scope ...`",
            headers=FIXED_HEADERS[401],
        )  # fmt: skip

    def _too_fast(self, who: Caller, path: str, address: str) -> ASGIApp | None:
        if self._pace is None or path.startswith(self._rules.unlimited_paths):
            return None
        wait = self._pace.take(who.name or address)
        if not wait:
            return None
        return problem(
            429, "too_many", "more requests than access.requests_per_minute",
            hint=f"wait {wait:.1f} s", headers={"Retry-After": f"{max(1.0, wait):.0f}"},
        )  # fmt: skip


def bearer(headers: Headers) -> str | None:
    """The token of a request; None when it has none."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def cookie_of(headers: Headers) -> str | None:
    """What a browser holds; None when it holds nothing, or nonsense."""
    try:
        held = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return held.value if held else None


def address_of(scope: Scope) -> str:
    """Where a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _is_unclear(method: str, headers: Headers) -> bool:
    """Whether a change comes with a browser's session and yet does not say from which page.

    Every browser of today says so; `Guard` has refused what says another site.
    """
    says = "origin" in headers or "sec-fetch-site" in headers
    return method not in SAFE_METHODS and not says


_UNCLEAR = problem(
    403, "cross_site", "a session may change things from its own pages only",
    hint="programs send a token: " + SIGN_IN_HINT.rpartition("token: ")[2],
)  # fmt: skip
