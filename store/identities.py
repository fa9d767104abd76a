"""Who may come in: people, their sessions and the tokens of programs.

They lie beside the store, not in it: whoever may put SQL to the store must not find what opens its
doors, not even hashed (`store.adhoc`). Times are aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from store.errors import InputError


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may sign in.

    Attributes:
        name: lower case, unique.
        role: a word of `store.access.ROLES`.
        password: its hash as a PHC string; None signs in elsewhere only, or not at all.
        subject: `issuer#sub` of an OpenID provider; None for a local user.
        created_at: when the row was made.
        created_by: who made it.
        is_disabled: whether sign-ins and sessions are refused.
        signed_in_at: last; None never.
    """

    name: str
    role: str
    password: str | None
    subject: str | None
    created_at: datetime
    created_by: str
    is_disabled: bool = False
    signed_in_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """What a program comes in with; only the hash of its secret is kept.

    Attributes:
        token_id: its public part.
        name: what it is for.
        digest: SHA-256 of its secret, hexadecimal.
        scopes: a role and doors, words of `servescope.access.scopes`.
        created_at: when it was made.
        created_by: who made it.
        expires_at: None never.
        used_at: last, to the minute; None never.
        ended_at: when it was revoked; None is valid.
    """

    token_id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    used_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has signed in from one browser.

    Attributes:
        session_id: the first half of the digest; names it in lists.
        digest: SHA-256 of what the browser holds, hexadecimal.
        user: name.
        role: as the provider said at sign-in; None goes by the user's.
        created_at: of the sign-in.
        expires_at: at the latest.
        seen_at: last request, to the minute.
        address: of the browser.
        browser: what it says it is; cut to 200 characters.
        way: "password" or "oidc".
    """

    digest: str
    user: str
    role: str | None
    created_at: datetime
    expires_at: datetime
    seen_at: datetime
    address: str
    browser: str
    way: str

    @property
    def session_id(self) -> str:
        """Names it without opening anything."""
        return self.digest[:16]


@dataclass(frozen=True, slots=True)
class Known:
    """Everything there is, as of one instant.

    Attributes:
        revision: grows with every change.
        users: by name.
        tokens: by public part; revoked ones too.
        sessions: by digest; only those that have not ended.
    """

    revision: int = -1
    users: Mapping[str, User] = field(default_factory=dict)
    tokens: Mapping[str, Token] = field(default_factory=dict)
    sessions: Mapping[str, Session] = field(default_factory=dict)


Statement = tuple[str, Sequence[Any]]


class Rows(Protocol):
    """A small database: SQL with `?` for values; every call may come from any thread."""

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a question."""
        ...

    def write(self, statements: Iterable[Statement]) -> list[int]:
        """Do all or nothing; gives the rows that each changed."""
        ...

    def close(self) -> None:
        """Leave it; the next use comes back."""
        ...


_CHANGED: Statement = ("UPDATE access_revision SET n = n + 1", ())
_USER = "name, role, password, subject, created_at, created_by, is_disabled, signed_in_at"
_TOKEN = "token_id, name, digest, scopes, created_at, created_by, expires_at, used_at, ended_at"  # noqa: S105 - columns
_SESSION = "digest, user_name, role, created_at, expires_at, seen_at, address, browser, way"
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS access_revision (n BIGINT NOT NULL)",
    """INSERT INTO access_revision SELECT 0
       WHERE NOT EXISTS (SELECT 1 FROM access_revision)""",
    """CREATE TABLE IF NOT EXISTS access_user (name TEXT PRIMARY KEY, role TEXT NOT NULL,
       password TEXT, subject TEXT UNIQUE, created_at DOUBLE PRECISION NOT NULL,
       created_by TEXT NOT NULL, is_disabled BIGINT NOT NULL DEFAULT 0,
       signed_in_at DOUBLE PRECISION)""",
    """CREATE TABLE IF NOT EXISTS access_token (token_id TEXT PRIMARY KEY, name TEXT NOT NULL,
       digest TEXT NOT NULL, scopes TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL,
       created_by TEXT NOT NULL, expires_at DOUBLE PRECISION, used_at DOUBLE PRECISION,
       ended_at DOUBLE PRECISION)""",
    """CREATE TABLE IF NOT EXISTS access_session (digest TEXT PRIMARY KEY, user_name TEXT NOT NULL,
       role TEXT, created_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION NOT NULL,
       seen_at DOUBLE PRECISION NOT NULL, address TEXT NOT NULL, browser TEXT NOT NULL,
       way TEXT NOT NULL)""",
)
"""Understood by SQLite and PostgreSQL alike."""


class Identities:
    """The record of who may come in.

    Args:
        rows: where it is kept; its tables are made when missing.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        rows.write((sql, ()) for sql in SCHEMA)

    def close(self) -> None:
        """Leave the record; the next use comes back."""
        self._rows.close()

    def revision(self) -> int:
        """Grows with every change; cheap to ask."""
        return int(self._rows.read("SELECT n FROM access_revision")[0][0])

    def known(self) -> Known:
        """Everything there is."""
        revision = self.revision()  # read first: a change in between is seen at the next look
        read = self._rows.read
        users = [_user(row) for row in read(f"SELECT {_USER} FROM access_user")]
        tokens = [_token(row) for row in read(f"SELECT {_TOKEN} FROM access_token")]
        sessions = [_session(row) for row in read(f"SELECT {_SESSION} FROM access_session")]
        return Known(
            revision,
            {user.name: user for user in users},
            {token.token_id: token for token in tokens},
            {session.digest: session for session in sessions},
        )

    def add_user(self, user: User) -> None:
        """Keep a new one.

        Raises:
            InputError: there is one of that name, or of that subject.
        """
        values = (
            user.name, user.role, user.password, user.subject, _seconds(user.created_at),
            user.created_by, int(user.is_disabled), None,
        )  # fmt: skip
        sql = (
            f"INSERT INTO access_user ({_USER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING"
        )
        if not self._rows.write([(sql, values), _CHANGED])[0]:
            raise InputError(f"there is a user {user.name} already", hint="choose another name")

    def change_user(
        self, name: str, *, role: str | None = None, password: str | None = None,
        is_disabled: bool | None = None,
    ) -> None:  # fmt: skip
        """Change what is given; a new password or a disabled user ends all sessions."""
        given = {"role": role, "password": password}
        sets = {column: value for column, value in given.items() if value is not None}
        if is_disabled is not None:
            sets["is_disabled"] = int(is_disabled)  # type: ignore[assignment]
        assigned = ", ".join(f"{column} = ?" for column in sets)
        work: list[Statement] = [
            (f"UPDATE access_user SET {assigned} WHERE name = ?", (*sets.values(), name)), _CHANGED
        ]  # fmt: skip
        if password is not None or is_disabled:
            work.append(("DELETE FROM access_session WHERE user_name = ?", (name,)))
        self._rows.write(work)

    def remove_user(self, name: str) -> None:
        """Forget one, and all that is theirs."""
        self._rows.write(
            [
                ("DELETE FROM access_session WHERE user_name = ?", (name,)),
                ("DELETE FROM access_user WHERE name = ?", (name,)),
                _CHANGED,
            ]
        )

    def add_token(self, token: Token) -> None:
        """Keep a new one."""
        values = (
            token.token_id, token.name, token.digest, ",".join(token.scopes),
            _seconds(token.created_at), token.created_by, _seconds(token.expires_at), None, None,
        )  # fmt: skip
        sql = f"INSERT INTO access_token ({_TOKEN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        self._rows.write([(sql, values), _CHANGED])

    def end_token(self, token_id: str, at: datetime) -> bool:
        """Revoke one; False when there is none that is valid."""
        sql = "UPDATE access_token SET ended_at = ? WHERE token_id = ? AND ended_at IS NULL"
        return bool(self._rows.write([(sql, (_seconds(at), token_id)), _CHANGED])[0])

    def add_session(self, session: Session) -> None:
        """Keep a new one; the user has signed in."""
        at = _seconds(session.created_at)
        values = (
            session.digest, session.user, session.role, at, _seconds(session.expires_at), at,
            session.address, session.browser[:200], session.way,
        )  # fmt: skip
        sql = f"INSERT INTO access_session ({_SESSION}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        signed = ("UPDATE access_user SET signed_in_at = ? WHERE name = ?", (at, session.user))
        self._rows.write([(sql, values), signed, _CHANGED])

    def end_sessions(self, digests: Sequence[str]) -> None:
        """Sign out."""
        sql = "DELETE FROM access_session WHERE digest = ?"
        self._rows.write([*((sql, (digest,)) for digest in digests), _CHANGED])

    def seen(self, sessions: Mapping[str, datetime], tokens: Mapping[str, datetime]) -> None:
        """Note when sessions, by digest, and tokens, by public part, were last used."""
        session = "UPDATE access_session SET seen_at = ? WHERE digest = ?"
        token = "UPDATE access_token SET used_at = ? WHERE token_id = ?"  # noqa: S105 - SQL
        self._rows.write(
            [
                _CHANGED,
                *((session, (_seconds(at), digest)) for digest, at in sessions.items()),
                *((token, (_seconds(at), token_id)) for token_id, at in tokens.items()),
            ]
        )

    def prune(self, now: datetime, tokens_before: datetime) -> None:
        """Forget sessions that have expired, and tokens that ended before an instant."""
        end, before = _seconds(now), _seconds(tokens_before)
        self._rows.write(
            [
                ("DELETE FROM access_session WHERE expires_at < ?", (end,)),
                ("DELETE FROM access_token WHERE ended_at < ? OR expires_at < ?", (before, before)),
                _CHANGED,
            ]
        )


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _at(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _sure(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _user(row: tuple[Any, ...]) -> User:
    name, role, password, subject, created_at, by, is_disabled, signed_in_at = row
    return User(
        name, role, password, subject, _sure(created_at), by, bool(is_disabled), _at(signed_in_at)
    )


def _token(row: tuple[Any, ...]) -> Token:
    token_id, name, digest, scopes, created_at, by, expires_at, used_at, ended_at = row
    return Token(
        token_id, name, digest, tuple(scopes.split(",")), _sure(created_at), by, _at(expires_at),
        _at(used_at), _at(ended_at),
    )  # fmt: skip


def _session(row: tuple[Any, ...]) -> Session:
    digest, user, role, created_at, expires_at, seen_at, address, browser, way = row
    return Session(
        digest, user, role, _sure(created_at), _sure(expires_at), _sure(seen_at), address, browser,
        way,
    )  # fmt: skip
