"""The pages where people come in and go out; plain forms, without scripts."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, Template

from servescope.access.assembly import People
from servescope.access.caller import caller
from servescope.access.entrance import Browser, SignInRefused
from servescope.access.gate import HOME, onward, safe_next
from servescope.access.identify import COOKIE, address_of
from servescope.access.oidc import Oidc, Person, Trip
from servescope.api.access import EVERYBODY
from servescope.api.parameters import RuntimeDep
from servescope.api.problems import from_error
from store.errors import InputError, ServescopeError

TRIP = "servescope_trip"
TRIP_SECONDS = 600
TRIP_PATH = "/sign-in/oidc"
FORM_BYTES = 16_384

router = APIRouter(dependencies=[EVERYBODY], include_in_schema=False)
Next = Annotated[str | None, Query()]


@router.get("/sign-in")
async def form(runtime: RuntimeDep, next: Next = None) -> Response:  # noqa: A002 - the parameter
    """Where to sign in."""
    people: People = runtime.people
    who = caller()
    if not people.asks:
        return RedirectResponse(HOME, 303)
    if who is not None and who.kind == "person":
        said = [f"You are signed in as {who.name}."]
        return _page("Signed in", said, link=(safe_next(next), "Go on"))
    return _page("Sign in", [], form=True, next=safe_next(next), provider=_label(people))


@router.post("/sign-in")
async def sign_in(request: Request, runtime: RuntimeDep) -> Response:
    """Sign in by name and password."""
    people: People = runtime.people
    if not people.asks:
        return RedirectResponse(HOME, 303)
    given = await _form(request)
    name, next_ = given.get("name", ""), safe_next(given.get("next"))
    try:
        secret = await run_in_threadpool(
            people.entrance.by_password, name, given.get("password", ""), _browser(request)
        )
    except SignInRefused as error:
        page = _page(
            "Sign in", [], status=error.status, form=True, next=next_, name=name[:100],
            provider=_label(people), alert=_sentences(error),
        )  # fmt: skip
        if error.wait_seconds:
            page.headers["Retry-After"] = f"{error.wait_seconds:.0f}"
        return page
    except ServescopeError as error:
        return _failed(error)
    answer = RedirectResponse(next_, 303)
    _hand_out(answer, request, people, secret)
    return answer


@router.post("/sign-out")
async def sign_out(runtime: RuntimeDep) -> Response:
    """End this browser's session."""
    people: People = runtime.people
    who = caller()
    if people.asks and who is not None and who.kind == "person":
        await run_in_threadpool(people.entrance.let_out, who)
    answer = _page("Signed out", [], link=(HOME, "Sign in again"))
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


@router.get("/sign-in/oidc")
async def leave(request: Request, runtime: RuntimeDep, next: Next = None) -> Response:  # noqa: A002
    """Go to the provider."""
    oidc = _provider(runtime.people)
    try:
        url, trip = await oidc.leave(safe_next(next))
    except ServescopeError as error:
        return _failed(error)
    answer = RedirectResponse(url, 303)
    # Lax: the way back is a link from the provider.
    answer.set_cookie(
        TRIP, trip.packed(), max_age=TRIP_SECONDS, path=TRIP_PATH, httponly=True, samesite="lax",
        secure=_is_secure(request, runtime.people),
    )  # fmt: skip
    return answer


@router.get("/sign-in/oidc/back")
async def back(request: Request, runtime: RuntimeDep) -> Response:
    """Come back from the provider."""
    people: People = runtime.people
    oidc = _provider(people)
    held = request.cookies.get(TRIP)
    trip = Trip.unpacked(held) if held else None
    try:
        people.entrance.admit("", _browser(request))
        person = await oidc.back(dict(request.query_params), trip)
        secret = await run_in_threadpool(_let_in, people, person, _browser(request))
    except ServescopeError as error:
        return _failed(error)
    # A page, no redirect: a session's cookie is not shown on a way that began elsewhere.
    answer = onward(trip.next if trip else None)
    _hand_out(answer, request, people, secret)
    answer.delete_cookie(TRIP, path=TRIP_PATH, httponly=True, samesite="lax")
    return answer


def _let_in(people: People, person: Person, browser: Browser) -> str:
    """Begin the session of somebody whom the provider has named; who is new here is noted."""
    users = people.book.known.users
    user = next((u for u in users.values() if u.subject == person.subject), None)
    if user is None:
        name = person.name.lower()[:64]
        if name in users:
            raise InputError(
                f"there is a user {name} here who signs in by password",
                hint="an admin can remove that user, or give another oidc.name_claim",
            )
        user = people.desk.user_from(name, person.role.word, person.subject)
    elif user.role != person.role.word:
        people.book.identities.change_user(user.name, role=person.role.word)
    if user.is_disabled:
        raise SignInRefused(f"{user.name} is disabled here", hint="ask an admin")
    return people.entrance.let_in(user, browser, "oidc", person.role.word)


def _provider(people: People) -> Oidc:
    if not people.asks or people.oidc is None:
        raise InputError("nobody signs in elsewhere here", hint="set oidc.issuer, see docs")
    return people.oidc


def _label(people: People) -> str | None:
    return people.oidc_settings.label if people.oidc is not None else None


def _browser(request: Request) -> Browser:
    return Browser(address_of(request.scope), request.headers.get("user-agent", "")[:200])


async def _form(request: Request) -> dict[str, str]:
    body = (await request.body())[:FORM_BYTES].decode("utf-8", "replace")
    try:
        found = parse_qs(body, max_num_fields=10, keep_blank_values=True)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}


def _hand_out(answer: Response, request: Request, people: People, secret: str) -> None:
    seconds = round(people.book.sessions.most.total_seconds())
    answer.set_cookie(
        COOKIE, secret, max_age=seconds, path="/", httponly=True, samesite="strict",
        secure=_is_secure(request, people),
    )  # fmt: skip


def _is_secure(request: Request, people: People) -> bool:
    return request.url.scheme == "https" or people.public_url.startswith("https:")


def _failed(error: ServescopeError) -> Response:
    return _page(
        "Sign in", [], status=from_error(error).status_code, alert=_sentences(error),
        link=("/sign-in", "Try again"),
    )  # fmt: skip


def _sentences(error: ServescopeError) -> str:
    parts = [part for part in (error.message, error.hint) if part]
    return " ".join(part[:1].upper() + part[1:].rstrip(".") + "." for part in parts)


def _page(title: str, said: list[str], *, status: int = 200, **more: Any) -> HTMLResponse:
    text = _template().render(title=title, said=said, **more)
    return HTMLResponse(text, status, headers={"Cache-Control": "no-store"})


@cache
def _template() -> Template:
    source = files("servescope.access").joinpath("page.html").read_text("utf-8")
    return Environment(autoescape=True).from_string(source)
