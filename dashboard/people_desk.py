"""Who may come in: what the Admin page asks, and what admins tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dashboard.wishes import Wish, typed
from store.errors import InputError

if TYPE_CHECKING:
    from dashboard.services import Services

Document = Mapping[str, Any]
ANYBODY = "dashboard"
DAYS = 365.0
FOR_EVER = "never"


@dataclass(frozen=True, slots=True)
class Account:
    """Who looks, where people sign in.

    Attributes:
        name: who goes into a record; "" where nobody has signed in.
        signs_out: whether there is a sign-in of a browser that can be ended.
    """

    name: str = ""
    signs_out: bool = False


class PeopleDesk(Protocol):
    """Users, tokens and sessions; documents of the REST API under /access.

    What cannot be done is a `ServescopeError` that says why.
    """

    def listed(self) -> Mapping[str, Sequence[Document]]:
        """`users`, `tokens`, `sessions`, `refused` (attempts of the last week), `changes`."""
        ...

    def scopes(self) -> Mapping[str, str]:
        """What a token may open, each with what it is for; roles first."""
        ...

    def user_add(self, name: str, role: str, password: str | None, by: str) -> Document:
        """Add somebody who signs in here."""
        ...

    def user_change(
        self, name: str, by: str, *, role: str | None = None, password: str | None = None,
        is_disabled: bool | None = None,
    ) -> Document:  # fmt: skip
        """Change what is given."""
        ...

    def user_remove(self, name: str, by: str) -> Document:
        """Forget somebody; the sessions end."""
        ...

    def token_add(
        self, name: str, wanted: Sequence[str], days: float | None, by: str
    ) -> tuple[Document, str]:
        """Make a token; gives it once, besides what is known of it."""
        ...

    def token_end(self, token_id: str, by: str) -> Document:
        """Revoke one."""
        ...

    def session_end(self, session_id: str, by: str) -> Document:
        """End one."""
        ...


@dataclass(frozen=True, slots=True)
class Once:
    """What came of a wish, with something that is shown this one time.

    Attributes:
        text: one sentence.
        secret: a fresh token; it is kept nowhere.
    """

    text: str
    secret: str


def _desk(services: Services) -> PeopleDesk:
    if services.people is None:
        raise InputError("nobody signs in here", hint='set access.sign_in = "on"')
    return services.people


def _password(wish: Wish) -> str | None:
    # As it was typed: a blank may be part of it.
    return str((wish.get("fields") or {}).get("password") or "") or None


def _user_add(services: Services, wish: Wish) -> str:
    desk, by, password = _desk(services), services.who(ANYBODY), _password(wish)
    if password is None:
        raise InputError("a new user needs a password", hint="12 characters at least")
    made = desk.user_add(typed(wish, "name"), typed(wish, "role"), password, by)
    return f"{made['name']} may sign in as {made['role']}."


def _user_change(services: Services, wish: Wish) -> str:
    desk, by, name = _desk(services), services.who(ANYBODY), str(wish["user"])
    what = wish["what"]
    if what == "role":
        made = desk.user_change(name, by, role=typed(wish, "role"))
        return f"{name} is {made['role']} from now on."
    if what == "password":
        desk.user_change(name, by, password=_password(wish))
        return f"{name} has a new password; what was signed in with the old one has ended."
    if what not in ("disable", "enable"):
        raise ValueError(what)
    desk.user_change(name, by, is_disabled=what == "disable")
    return f"{name} may {'not ' if what == 'disable' else ''}sign in."


def _user_remove(services: Services, wish: Wish) -> str:
    made = _desk(services).user_remove(str(wish["user"]), services.who(ANYBODY))
    return f"{made['name']} is removed; what was signed in has ended."


def _token_add(services: Services, wish: Wish) -> Once:
    days_text = typed(wish, "days")
    scopes = [typed(wish, "scope"), *typed(wish, "also").replace(",", " ").split()]
    made, secret = _desk(services).token_add(
        typed(wish, "name"), [scope for scope in scopes if scope], _days(days_text),
        services.who(ANYBODY),
    )  # fmt: skip
    return Once(f"The token {made['name']} is made.", secret)


def _days(text: str) -> float | None:
    if text in ("", FOR_EVER):
        return DAYS if not text else None
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"'{text[:40]}' is no number of days", hint=f"such as 90, or {FOR_EVER}"
        ) from None


def _token_end(services: Services, wish: Wish) -> str:
    made = _desk(services).token_end(str(wish["token"]), services.who(ANYBODY))
    return f"The token {made['name']} is revoked: it opens nothing any more."


def _session_end(services: Services, wish: Wish) -> str:
    made = _desk(services).session_end(str(wish["session"]), services.who(ANYBODY))
    return f"A session of {made['user']} is ended."


PEOPLE_ACTS: Mapping[str, Callable[[Services, Wish], str | Once]] = {
    "user-add": _user_add,
    "user-change": _user_change,
    "user-remove": _user_remove,
    "token-add": _token_add,
    "token-end": _token_end,
    "session-end": _session_end,
}
