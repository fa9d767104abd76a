"""Who may come in, as every request asks: kept in memory, looked at anew when it has changed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from servescope.access import keys
from servescope.access.caller import Caller
from servescope.access.scopes import DOORS, doors_of, role_in
from store.access import ROLES, Rights
from store.clock import Clock
from store.errors import StoreError
from store.identities import Identities, Known, Session, Token

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How long another process's change may stay unseen."""
LOOK_AGAIN_SECONDS = 0.05
NOTED_SECONDS = 60.0
TOKENS_KEPT = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Sessions:
    """How long a sign-in lasts.

    Attributes:
        most: at the most.
        idle: without a request.
    """

    most: timedelta = timedelta(hours=12)
    idle: timedelta = timedelta(hours=4)


class AccessBook:
    """What is known of people, sessions and tokens. Its methods may be called from any thread.

    Args:
        identities: the record.
        clock: the time.
        sessions: how long they last.
    """

    def __init__(self, identities: Identities, clock: Clock, sessions: Sessions) -> None:
        self.identities = identities
        self.sessions = sessions
        self._clock = clock
        self._looked_at = -LOOK_SECONDS
        self._noted_at = clock.monotonic()
        self._known = Known()
        self._seen_sessions: dict[str, datetime] = {}
        self._seen_tokens: dict[str, datetime] = {}
        self._trouble: str | None = None

    @property
    def known(self) -> Known:
        """Everything, as it was last looked at."""
        return self._known

    @property
    def trouble(self) -> str | None:
        """Why the record could not be read last; what was known before holds meanwhile."""
        return self._trouble

    async def look(self) -> None:
        """See what has changed; asks the record once a second at most."""
        await self._look(LOOK_SECONDS)

    async def look_again(self) -> None:
        """The same for somebody unknown, who may have signed in at another server just now."""
        await self._look(LOOK_AGAIN_SECONDS)

    async def _look(self, seconds: float) -> None:
        if self._clock.monotonic() - self._looked_at >= seconds:
            self._looked_at = self._clock.monotonic()
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """See what has changed, now."""
        try:
            if self._clock.monotonic() - self._noted_at >= NOTED_SECONDS:
                self.note()
            if self.identities.revision() != self._known.revision:
                self._known = self.identities.known()
            self._trouble = None
        except StoreError as error:
            if self._trouble is None:
                log.exception("access_record_unreadable")
            self._trouble = str(error)

    def note(self) -> None:
        """Write down who was seen, and forget what has expired.

        Raises:
            StoreError: the record cannot be written.
        """
        self._noted_at = self._clock.monotonic()
        sessions, self._seen_sessions = self._seen_sessions, {}
        tokens, self._seen_tokens = self._seen_tokens, {}
        if sessions or tokens:
            self.identities.seen(sessions, tokens)
        now = self._clock.now()
        if any(session.expires_at <= now for session in self._known.sessions.values()):
            self.identities.prune(now, now - TOKENS_KEPT)

    def by_token(self, text: str) -> Caller | None:
        """Who comes with a token; None when it is none, wrong, expired or revoked."""
        found = keys.parts(text)
        token = self._known.tokens.get(found[0]) if found else None
        if found is None or token is None or not keys.same(keys.digest(found[1]), token.digest):
            return None
        now = self._clock.now()
        if why_ended(token, now) is not None:
            return None
        self._seen_tokens[token.token_id] = now
        role = role_in(token.scopes)
        doors = frozenset(token.scopes) & frozenset(DOORS)
        rights = Rights(role, f"the token {token.name}")
        return Caller("token", f"token {token.name}", rights, doors | doors_of(role))

    def by_session(self, secret: str) -> Caller | None:
        """Who has signed in; None when that is over, or never was."""
        session = self._known.sessions.get(keys.digest(secret))
        user = self._known.users.get(session.user) if session else None
        if session is None or user is None or user.is_disabled:
            return None
        now = self._clock.now()
        if self.ends_at(session) <= now:
            return None
        self._seen_sessions[session.digest] = now
        role = ROLES[session.role or user.role]
        source = "your groups" if session.role else "your user"
        rights = Rights(role, source)
        return Caller("person", user.name, rights, doors_of(role), session.digest, session.way)

    def used_at(self, token: Token) -> datetime | None:
        """When a token was used last; None never."""
        return self._seen_tokens.get(token.token_id, token.used_at)

    def ends_at(self, session: Session) -> datetime:
        """When a session ends, if its browser stays silent."""
        seen = self._seen_sessions.get(session.digest, session.seen_at)
        return min(session.expires_at, seen + self.sessions.idle)


def why_ended(token: Token, now: datetime) -> str | None:
    """Why a token opens nothing any more: "revoked" or "expired"; None when it does."""
    if token.ended_at is not None:
        return "revoked"
    if token.expires_at is not None and token.expires_at <= now:
        return "expired"
    return None
