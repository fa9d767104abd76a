"""Who may come in, for admins; and for everybody, who they are."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from servescope.access.caller import caller
from servescope.access.scopes import DOORS
from servescope.api import negotiate
from servescope.api.access import READS, needs
from servescope.api.json_route import JsonRoute
from servescope.api.parameters import RuntimeDep, answers, only_known
from servescope.documents import plain

router = APIRouter(
    route_class=JsonRoute, prefix="/access", tags=["access"], dependencies=[Depends(only_known)]
)

_ME = {"name": "ana", "kind": "person", "role": "operator", "set_by": "your user", "doors": []}
_USER = {
    "name": "ana", "role": "operator", "signs_in": "password", "is_disabled": False,
    "signed_in_at": "2026-01-31T12:00:00Z", "created_at": "2026-01-30T12:00:00Z",
    "created_by": "cli",
}  # fmt: skip
_TOKEN = {
    "token_id": "b1946ac92492", "name": "agent gpu-3", "scopes": ["ingest"], "state": "valid",
    "expires_at": None, "used_at": "2026-01-31T12:00:00Z", "created_at": "2026-01-30T12:00:00Z",
    "created_by": "ana",
}  # fmt: skip
_SESSION = {
    "session_id": "9f86d081884c7d65", "user": "ana", "role": None, "way": "password",
    "address": "10.0.0.7", "browser": "Mozilla/5.0", "created_at": "2026-01-31T11:00:00Z",
    "seen_at": "2026-01-31T12:00:00Z", "ends_at": "2026-01-31T16:00:00Z",
}  # fmt: skip
ByBody = Annotated[
    str, Body(description="Who, for the record; whoever signed in is noted in place of it.",
              max_length=100),
]  # fmt: skip
ByQuery = Annotated[str, Query(description="As `by` of the others.", max_length=100)]
RoleBody = Annotated[str, Body(description="viewer, operator or admin.", examples=["viewer"])]
PasswordBody = Annotated[
    str | None, Body(description="12 characters at least; left out: signs in by none.")
]


@router.get("/me", responses=answers(_ME), dependencies=[READS])
async def me(runtime: RuntimeDep) -> Response:
    """Who asks, and what they may do; `kind` is "everybody" where nobody signs in."""
    who, rights = caller(), runtime.rights
    return negotiate.document(
        {
            "name": who.name if who else "",
            "kind": who.kind if who else "everybody",
            "role": rights.role.word,
            "set_by": rights.set_by,
            "doors": sorted(who.doors if who else DOORS),
        }
    )


@router.get("/users", responses=answers({"users": [_USER]}), dependencies=[needs("people")])
async def get_users(runtime: RuntimeDep) -> Response:
    """All users."""
    return await _listed("users", runtime.people.desk.users, runtime)


@router.post("/users", responses=answers(_USER), dependencies=[needs("user-add")])
async def post_user(
    runtime: RuntimeDep,
    name: Annotated[str, Body(description="Small letters, digits, . _ @ + -", examples=["ana"])],
    role: RoleBody,
    password: PasswordBody = None,
    by: ByBody = "api",
) -> Response:
    """Add somebody who signs in here."""
    return await _done(runtime.people.desk.user_add, name, role, password, by)


@router.patch("/users/{name}", responses=answers(_USER), dependencies=[needs("user-change")])
async def patch_user(
    name: str,
    runtime: RuntimeDep,
    role: Annotated[str | None, Body(examples=["viewer"])] = None,
    password: PasswordBody = None,
    is_disabled: Annotated[bool | None, Body(strict=True)] = None,
    by: ByBody = "api",
) -> Response:
    """Change what is given; a new password, or disabling, ends the sessions."""
    change = runtime.people.desk.user_change
    return await _done(
        change, name, by, role=role, password=password, is_disabled=is_disabled
    )  # fmt: skip


@router.delete("/users/{name}", responses=answers(_USER), dependencies=[needs("user-remove")])
async def delete_user(name: str, runtime: RuntimeDep, by: ByQuery = "api") -> Response:
    """Forget a user; the sessions end."""
    return await _done(runtime.people.desk.user_remove, name, by)


@router.get("/tokens", responses=answers({"tokens": [_TOKEN]}), dependencies=[needs("people")])
async def get_tokens(runtime: RuntimeDep) -> Response:
    """All tokens that hold, and those that ended in the last 90 days; never what they are."""
    return await _listed("tokens", runtime.people.desk.tokens, runtime)


@router.post(
    "/tokens",
    responses=answers({**_TOKEN, "token": "ss_b1946ac92492_ZXhhbXBsZQ"}),
    dependencies=[needs("token-add")],
)
async def post_token(
    runtime: RuntimeDep,
    name: Annotated[str, Body(description="What it is for.", examples=["agent gpu-3"])],
    scopes: Annotated[
        list[str],
        Body(description=f"One role at most, and any of: {', '.join(DOORS)}.", max_length=20),
    ],
    days: Annotated[float | None, Body(description="How long it holds; left out: always.")] = 365,
    by: ByBody = "api",
) -> Response:
    """Make a token. `token` is shown in this answer and never again."""
    made = await run_in_threadpool(runtime.people.desk.token_add, name, scopes, days, by)
    return _private(plain({**made[0], "token": made[1]}))


@router.delete("/tokens/{token_id}", responses=answers(_TOKEN), dependencies=[needs("token-end")])
async def delete_token(token_id: str, runtime: RuntimeDep, by: ByQuery = "api") -> Response:
    """Revoke a token by its id, or by its name where that is clear."""
    return await _done(runtime.people.desk.token_end, token_id, by)


@router.get(
    "/sessions", responses=answers({"sessions": [_SESSION]}), dependencies=[needs("people")]
)
async def get_sessions(runtime: RuntimeDep) -> Response:
    """Who is signed in, from where, and until when."""
    return await _listed("sessions", runtime.people.desk.open_sessions, runtime)


@router.delete(
    "/sessions/{session_id}", responses=answers(_SESSION), dependencies=[needs("session-end")]
)
async def delete_session(session_id: str, runtime: RuntimeDep, by: ByQuery = "api") -> Response:
    """End somebody's session."""
    return await _done(runtime.people.desk.session_end, session_id, by)


async def _listed(name: str, read: Any, runtime: Any) -> Response:
    await run_in_threadpool(runtime.people.book.refresh)
    return _private({name: plain(read())})


async def _done(work: Any, *given: Any, **named: Any) -> Response:
    return _private(plain(await run_in_threadpool(work, *given, **named)))


def _private(document: Any) -> Response:
    answer = negotiate.document(document)
    answer.headers["Cache-Control"] = "no-store"
    return answer
