"""Who may call what: every route declares its rule; a server with one that does not cannot start.

A person's route names an act of `store.access`; its least role is asked for before all else.
Doors of programs are opened by a scope of their token. What anybody may ask tells that the server
lives, or lets people in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute

from servescope.access.caller import caller
from servescope.access.scopes import DOORS, INGEST
from store.access import ACTS, READ, SIGN_IN_HINT, Rights
from store.errors import RoleRefused, SignInNeeded

KEY = "x-servescope-access"
"""Of an operation in the OpenAPI description: a role's word, a door's or "anybody"."""
ANYBODY = "anybody"


def rights_of(request: Request) -> Rights:
    """What whoever sent a request may do."""
    rights: Rights = request.app.state.runtime.rights
    return rights


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a route.

    Attributes:
        kind: a role's word, a door of `servescope.access.scopes.DOORS` or "anybody".
        act: of `store.access.ACTS`; "" where no role is asked for.
    """

    kind: str
    act: str = ""

    async def __call__(self, request: Request) -> None:
        """Refuse whoever may not.

        Raises:
            SignInNeeded: nobody has said who they are.
            RoleRefused: a role below the act's, or a token without the door's scope.
        """
        if self.act:
            rights_of(request).check(self.act)
        elif self.kind in DOORS:
            check_door(self.kind)


def check_door(door: str) -> None:
    """Refuse a program whose token does not open a door.

    Raises:
        SignInNeeded: it has none.
        RoleRefused: it opens other things.
    """
    who = caller()
    if who is None or door in who.doors:
        return
    words = f"this door is for tokens with the scope {door}"
    if not who.is_known:
        raise SignInNeeded(words, hint=SIGN_IN_HINT)
    raise RoleRefused(
        f"{words}; this is {who.name or 'another'}", needs_role=door,
        hint=f"make one: `servescope access token NAME --scope {door}`",
        role=who.rights.role.word,
    )  # fmt: skip


def needs(act: str) -> Any:
    """The dependency of a route that people call."""
    return Depends(Rule(ACTS[act].least.word, act))


READS = needs(READ)
SENDERS = Depends(Rule(INGEST))


def opens(door: str) -> Any:
    """The dependency of a route that programs with a scope call."""
    return Depends(Rule(door))


EVERYBODY = Depends(Rule(ANYBODY))


def rule_of(route: APIRoute) -> Rule:
    """What a route declares.

    Raises:
        TypeError: nothing, or more than one thing.
    """
    found = [one.call for one in route.dependant.dependencies if isinstance(one.call, Rule)]
    if len(found) != 1:
        raise TypeError(f"{route.path} declares {len(found)} rules of access, not one")
    return found[0]


def describe(routes: APIRouter | FastAPI) -> None:
    """Write the rule of every route into its description."""
    for route in routes.routes:
        if isinstance(route, APIRoute):
            route.openapi_extra = {**(route.openapi_extra or {}), KEY: rule_of(route).kind}
