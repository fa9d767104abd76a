"""All that decides who comes in, put together for one process."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import cached_property

from servescope.access import keys
from servescope.access.book import AccessBook, Sessions
from servescope.access.caller import NOBODY
from servescope.access.desk import AccessDesk
from servescope.access.entrance import Entrance
from servescope.access.oidc import Oidc
from servescope.access.rules import Paths, Rules
from servescope.access.settings import AccessSettings, OidcSettings
from store.access import Role
from store.clock import Clock
from store.database import Database
from store.errors import ConfigError, StoreError
from store.identities import Identities
from store.identity_rows import identity_rows

BACK = "/sign-in/oidc/back"


class People:
    """Who may come in, and how.

    Args:
        database: the store. People are kept beside it, in what the servers of a lake share, or (for
            a store in memory) nowhere for good.
        clock: the time.
        access: settings.
        oidc: settings.
        public_url: where browsers reach this server; "" where they reach it as it listens.
    """

    def __init__(
        self, database: Database, clock: Clock, access: AccessSettings, oidc: OidcSettings,
        public_url: str,
    ) -> None:  # fmt: skip
        self.settings, self.oidc_settings = access, oidc
        self.public_url = public_url.rstrip("/")
        # Shown by commands of the server's own user: who may read the file beside the store may
        # open the store as well. Made anew at each start.
        self.local_key = keys.new_secret()
        self.peer_key = ""
        """Shown by another server of the same lake that passes on what its own user asked."""
        self._database, self._clock = database, clock

    @property
    def asks(self) -> bool:
        """Whether people sign in."""
        return self.settings.sign_in == "on"

    @cached_property
    def book(self) -> AccessBook:
        """What is known of them; file or tables are made when first asked for.

        Raises:
            StoreError: it cannot be used.
        """
        hours, idle = self.settings.session_hours, self.settings.session_idle_hours
        lasts = Sessions(timedelta(hours=hours), timedelta(hours=idle))
        book = AccessBook(Identities(identity_rows(self._database)), self._clock, lasts)
        book.refresh()
        return book

    @cached_property
    def desk(self) -> AccessDesk:
        """Where it is changed."""
        return AccessDesk(self.book, self._database.writer, self._clock)

    @cached_property
    def entrance(self) -> Entrance:
        """Where they come in."""
        per_minute = self.settings.sign_ins_per_minute
        return Entrance(self.book, self.desk, self._clock, per_minute)

    @cached_property
    def oidc(self) -> Oidc | None:
        """The way to the provider; None where there is none.

        Raises:
            ConfigError: it is set in a way that cannot work.
        """
        if not self.oidc_settings.issuer:
            return None
        if not self.public_url:
            raise ConfigError(
                "the provider must know where to send people back to",
                where="server.public_url", hint="set it to https://NAME, as browsers reach it",
            )  # fmt: skip
        return Oidc(self.oidc_settings, self.public_url + BACK)

    def rules(self, senders: tuple[str, ...]) -> Rules:
        """How the server tells callers apart where people sign in.

        Args:
            senders: begin the paths that programs send to.
        """
        looks = self.settings.anonymous == "viewer"
        anonymous = replace(NOBODY.rights, role=Role.VIEWER if looks else Role.NOBODY)
        public = set(Paths().public)
        if self.settings.metrics == "anybody":
            public.add("/metrics")
        per_minute = self.settings.requests_per_minute
        return Rules(anonymous, per_minute, senders, Paths(frozenset(public)))

    def check(self) -> None:
        """Find out at the start what would fail at the first sign-in.

        Raises:
            ConfigError: the provider is set in a way that cannot work.
            StoreError: the file of users cannot be used.
        """
        if self.asks:
            self.book  # noqa: B018 - opens the file
            self.oidc  # noqa: B018

    def close(self) -> None:
        """Write down who was seen, and leave the record. Safe where nobody signs in."""
        if "book" in self.__dict__:
            with suppress(StoreError):
                self.book.note()
            self.book.identities.close()

    def why_empty(self) -> str | None:
        """Why nobody could sign in now, and what to do; None when somebody can."""
        known = self.book.known
        can = any(u.password and not u.is_disabled for u in known.users.values())
        if not self.asks or can or self.oidc is not None:
            return None
        return "nobody can sign in yet: `servescope access add NAME --role admin` adds somebody"
