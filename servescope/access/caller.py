"""Whoever asks, known to everything that answers them.

The caller is set once, where a request comes in (`servescope.access.identify`), and read wherever
it matters: by the routes of the API, by the pages, by what keeps records. Threads that work for a
request see its caller; what the server does on its own has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from store.access import Rights, Role

Kind = Literal["person", "token", "local", "nobody"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request, where people sign in.

    Attributes:
        kind: "local" is a command of the server's own user.
        name: of the person or the token, for records; "" where nobody is known by name.
        rights: what they may do.
        doors: what they may send or read as a program, of `servescope.access.scopes.DOORS`.
        session: digest of a person's session; "" for others.
        way: how a person signed in: "password" or "oidc".
    """

    kind: Kind
    name: str
    rights: Rights
    doors: frozenset[str] = frozenset()
    session: str = ""
    way: str = ""

    @property
    def is_known(self) -> bool:
        """Whether they have said who they are."""
        return self.kind in ("person", "token", "local")

    def record(self, typed: str) -> str:
        """Who goes into a record: who signed in, whatever was typed; else what was typed.

        Args:
            typed: a name that came with the request, or a word for the door it came by.
        """
        return self.name if self.kind in ("person", "token") else typed


_CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)


def caller() -> Caller | None:
    """Whoever sent the request that is being answered.

    None where nobody signs in, and where the server acts on its own.
    """
    return _CALLER.get()


def recorded(typed: str) -> str:
    """Who goes into a record, see `Caller.record`."""
    found = _CALLER.get()
    return typed if found is None else found.record(typed)


@contextmanager
def calling(who: Caller) -> Iterator[None]:
    """Answer somebody."""
    token = _CALLER.set(who)
    try:
        yield
    finally:
        _CALLER.reset(token)


NOBODY = Caller("nobody", "", Rights(Role.NOBODY, "not signed in", is_known=False))
