"""Who may call what: every route declares its rule; a server with one that does not cannot start.

A person's route names an act of `store.access`; its least role is asked for before all else.
Doors of senders take telemetry from programs, and what anybody may ask tells that the server lives:
neither is asked for a person's role.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute

from store.access import ACTS, READ, Rights

KEY = "x-servescope-access"
"""Of an operation in the OpenAPI description: a role's word, "sender" or "anybody"."""
SENDER = "sender"
ANYBODY = "anybody"


def rights_of(request: Request) -> Rights:
    """What whoever sent a request may do."""
    rights: Rights = request.app.state.runtime.rights
    return rights


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a route.

    Attributes:
        kind: a role's word, "sender" or "anybody".
        act: of `store.access.ACTS`; "" where no role is asked for.
    """

    kind: str
    act: str = ""

    async def __call__(self, request: Request) -> None:
        """Refuse whoever may not.

        Raises:
            RoleRefused: a role below the act's.
        """
        if self.act:
            rights_of(request).check(self.act)


def needs(act: str) -> Any:
    """The dependency of a route that people call."""
    return Depends(Rule(ACTS[act].least.word, act))


READS = needs(READ)
SENDERS = Depends(Rule(SENDER))
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
