"""Changing who may come in: users, tokens, sessions. Every change is in the record of changes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

from servescope.access import keys, passwords, scopes
from servescope.access.book import AccessBook, why_ended
from servescope.access.caller import recorded
from store import audit
from store.access import ROLES
from store.clock import Clock
from store.errors import InputError
from store.identities import Session, Token, User
from store.nearest import nearest_hint
from store.writer import Writer

NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
TOKEN_NAME = re.compile(r"[\w][\w .:/@+-]{0,79}")
MOST_DAYS = 3_650
MOST_TOKENS = 1_000
Document = dict[str, Any]


class AccessDesk:
    """What admins do about people and programs; the API, the pages and the commands ask here.

    Args:
        book: what is known.
        writer: of the store, for the record of changes.
        clock: the time.
        origin: the door the changes come through, such as "api".
    """

    def __init__(self, book: AccessBook, writer: Writer, clock: Clock, origin: str = "api") -> None:
        self.book = book
        self._writer, self._clock, self._origin = writer, clock, origin

    def users(self) -> list[Document]:
        """All users, by name; never a password's hash."""
        return [_user(user) for _, user in sorted(self.book.known.users.items())]

    def tokens(self) -> list[Document]:
        """All tokens, the newest first; never a hash."""
        now = self._clock.now()
        found = sorted(self.book.known.tokens.values(), key=lambda t: t.created_at, reverse=True)
        return [_token(token, now, self.book.used_at(token)) for token in found]

    def open_sessions(self, user: str | None = None) -> list[Document]:
        """Sessions that hold, of one user or of all, the newest first."""
        now = self._clock.now()
        found = sorted(
            self.book.known.sessions.values(), key=lambda s: s.created_at, reverse=True
        )  # fmt: skip
        return [
            _session(session, self.book.ends_at(session))
            for session in found
            if user in (None, session.user) and self.book.ends_at(session) > now
        ]

    def user_add(self, name: str, role: str, password: str | None, by: str) -> Document:
        """Add a user who signs in here.

        Raises:
            InputError: name, role or password cannot be, or the name is taken.
        """
        if not NAME.fullmatch(name):
            raise InputError(
                f"'{name[:70]}' cannot be a user's name",
                hint="small letters, digits and . _ @ + -, 64 at most, a letter or digit first",
            )
        kept = passwords.hashed(password) if password is not None else None
        user = User(name, _role(role), kept, None, self._clock.now(), recorded(by))
        self.book.identities.add_user(user)
        self._changed(by, "access.user-add", name, None, {"role": role})
        return _user(user)

    def user_from(self, name: str, role: str, subject: str) -> User:
        """Note somebody whom a provider has named for the first time.

        Raises:
            InputError: the name is taken.
        """
        user = User(name, role, None, subject, self._clock.now(), "oidc")
        self.book.identities.add_user(user)
        self._changed("oidc", "access.user-add", name, None, {"role": role, "subject": subject})
        return user

    def user_change(
        self, name: str, by: str, *, role: str | None = None, password: str | None = None,
        is_disabled: bool | None = None,
    ) -> Document:  # fmt: skip
        """Change what is given; a new password, or disabling, ends the user's sessions.

        Raises:
            InputError: no such user; nothing or nonsense given; or no admin would be left.
        """
        user = self._user(name)
        if role is None and password is None and is_disabled is None:
            raise InputError("nothing to change", hint="give a role, a password or is_disabled")
        if password is not None and user.subject is not None:
            raise InputError(f"{name} signs in elsewhere", hint="change the password there")
        if (role is not None and _role(role) != "admin") or is_disabled:
            self._keep_an_admin(user)
        kept = passwords.hashed(password) if password is not None else None
        self.book.identities.change_user(name, role=role, password=kept, is_disabled=is_disabled)
        after = {
            "role": role, "password": None if password is None else "changed",
            "is_disabled": is_disabled,
        }  # fmt: skip
        told = {key: value for key, value in after.items() if value is not None}
        before = {"role": user.role, "is_disabled": user.is_disabled}
        self._changed(by, "access.user-change", name, before, told)
        return _user(self._user(name))

    def user_remove(self, name: str, by: str) -> Document:
        """Forget a user; the sessions end.

        Raises:
            InputError: no such user, or no admin would be left.
        """
        user = self._user(name)
        self._keep_an_admin(user)
        self.book.identities.remove_user(name)
        self._changed(by, "access.user-remove", name, {"role": user.role}, None)
        return _user(user)

    def token_add(
        self, name: str, wanted: Sequence[str], days: float | None, by: str
    ) -> tuple[Document, str]:
        """Make a token; gives what is known of it, and the token itself, which is not kept.

        Args:
            name: what it is for.
            wanted: scopes.
            days: how long it holds; None for ever.
            by: who makes it.

        Raises:
            InputError: something of it cannot be.
        """
        if not TOKEN_NAME.fullmatch(name):
            raise InputError(
                f"'{name[:90]}' cannot be a token's name",
                hint="say what it is for in 80 letters, digits, spaces and . : / @ + - at most",
            )
        if days is not None and not 0 < days <= MOST_DAYS:
            raise InputError(f"a token holds up to {MOST_DAYS} days", hint="or give none: for ever")
        now = self._clock.now()
        if sum(why_ended(t, now) is None for t in self.book.known.tokens.values()) >= MOST_TOKENS:
            raise InputError(f"there are {MOST_TOKENS} tokens", hint="revoke those not in use")
        key = keys.new_key()
        expires_at = now + timedelta(days=days) if days is not None else None
        opens = scopes.checked(wanted)
        token = Token(key.token_id, name, key.digest, opens, now, recorded(by), expires_at)
        self.book.identities.add_token(token)
        about = {"name": name, "scopes": opens, "expires_at": expires_at}
        self._changed(by, "access.token-add", key.token_id, None, about)
        return _token(token, now), key.text

    def token_end(self, token_id: str, by: str) -> Document:
        """Revoke a token, by its public part or by its name.

        Raises:
            InputError: none, or several, are meant.
        """
        now = self._clock.now()
        token = self._token(token_id, now)
        self.book.identities.end_token(token.token_id, now)
        about = {"name": token.name, "scopes": token.scopes}
        self._changed(by, "access.token-end", token.token_id, about, None)
        return _token(self.book.known.tokens[token.token_id], now)

    def session_end(self, session_id: str, by: str) -> Document:
        """End a session, as somebody who has lost a laptop would.

        Raises:
            InputError: there is none such.
        """
        held = self.book.known.sessions.values()
        session = next((s for s in held if s.session_id == session_id), None)
        if session is None:
            raise InputError("there is no such session", hint="it may have ended by itself")
        self.book.identities.end_sessions([session.digest])
        self._changed(by, "access.session-end", session.user, {"session": session_id}, None)
        return _session(session, self.book.ends_at(session))

    def _changed(
        self, by: str, action: str, subject: str, before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:  # fmt: skip
        self.book.refresh()
        self.noted(recorded(by), action, subject, before, after).result()

    def noted(
        self, actor: str, action: str, subject: str, before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> Future[None]:  # fmt: skip
        """Keep what happened in the record of changes."""
        change = audit.Change(actor, action, subject, before, after, self._origin)
        return audit.note(self._writer, self._clock.now(), change)

    def _user(self, name: str) -> User:
        found = self.book.known.users.get(name)
        if found is None:
            hint = nearest_hint(name, list(self.book.known.users)) or "add one first"
            raise InputError(f"there is no user {name[:70]}", hint=hint)
        return found

    def _token(self, wanted: str, now: datetime) -> Token:
        held = [t for t in self.book.known.tokens.values() if why_ended(t, now) is None]
        found = [t for t in held if wanted in (t.token_id, t.name)]
        if len(found) == 1:
            return found[0]
        ids = ", ".join(t.token_id for t in found)
        raise InputError(
            f"{len(found) or 'no'} tokens that hold are called {wanted[:90]}",
            hint=f"say which: {ids}" if ids else "`servescope access tokens` lists them",
        )

    def _keep_an_admin(self, user: User) -> None:
        others = [
            other
            for other in self.book.known.users.values()
            if other.role == "admin" and not other.is_disabled and other.name != user.name
        ]
        if user.role == "admin" and not user.is_disabled and not others:
            raise InputError(
                f"{user.name} is the last admin", hint="make somebody else an admin first"
            )


def _role(word: str) -> str:
    if word not in ROLES:
        raise InputError(f"there is no role '{word[:60]}'", hint=nearest_hint(word, list(ROLES)))
    return word


def _user(user: User) -> Document:
    return {
        "name": user.name,
        "role": user.role,
        "signs_in": "elsewhere" if user.subject else "password" if user.password else "never",
        "is_disabled": user.is_disabled,
        "signed_in_at": user.signed_in_at,
        "created_at": user.created_at,
        "created_by": user.created_by,
    }


def _token(token: Token, now: datetime, used_at: datetime | None = None) -> Document:
    return {
        "token_id": token.token_id,
        "name": token.name,
        "scopes": list(token.scopes),
        "state": why_ended(token, now) or "valid",
        "expires_at": token.expires_at,
        "used_at": used_at or token.used_at,
        "created_at": token.created_at,
        "created_by": token.created_by,
    }


def _session(session: Session, ends_at: datetime) -> Document:
    return {
        "session_id": session.session_id,
        "user": session.user,
        "role": session.role,
        "way": session.way,
        "address": session.address,
        "browser": session.browser,
        "created_at": session.created_at,
        "seen_at": session.seen_at,
        "ends_at": ends_at,
    }
