"""Signing in and out: attempts are counted, sessions begin and end, and all of it is recorded."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from servescope.access import keys, passwords
from servescope.access.book import AccessBook
from servescope.access.caller import Caller
from servescope.access.desk import AccessDesk
from servescope.access.throttle import Throttle
from store.clock import Clock
from store.errors import ServescopeError
from store.identities import Session, User

log = logging.getLogger(__name__)

BURST = 10


class SignInRefused(ServescopeError):
    """Name and password do not fit, or there were too many attempts.

    Args:
        message: what is wrong; never whether the name exists.
        hint: what to do.
        wait_seconds: until another attempt; 0 at once.
    """

    code = "sign_in"

    def __init__(self, message: str, *, hint: str, wait_seconds: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.wait_seconds = wait_seconds
        self.status = 429 if wait_seconds else 401


@dataclass(frozen=True, slots=True)
class Browser:
    """From where somebody signs in.

    Attributes:
        address: IP address.
        name: what it says it is.
    """

    address: str
    name: str


class Entrance:
    """Where people come in and go out.

    Args:
        book: what is known of them.
        desk: keeps the record.
        clock: the time.
        per_minute: attempts from one address, and for one name.
    """

    def __init__(self, book: AccessBook, desk: AccessDesk, clock: Clock, per_minute: float) -> None:
        self._book, self._desk, self._clock = book, desk, clock
        self._by_address = Throttle(clock, burst=BURST, per_minute=per_minute)
        self._by_name = Throttle(clock, burst=BURST, per_minute=per_minute)

    def by_password(self, name: str, password: str, browser: Browser) -> str:
        """Sign somebody in; gives what the browser is to hold.

        Takes about 50 ms of a core, so not on the event loop.

        Raises:
            SignInRefused: it does not fit, or too many attempts came from there or for that name.
        """
        name = name.strip().lower()[:100]
        self.admit(name, browser)
        user = self._book.known.users.get(name)
        is_right = passwords.fits(password, user.password if user else None)
        if user is None or not is_right or user.is_disabled:
            log.warning("sign_in_refused", extra={"user": name, "address": browser.address})
            self._desk.noted(name, "access.sign-in-refused", name, None, {"from": browser.address})
            raise SignInRefused(
                "this name and this password do not fit", hint="ask an admin to set a new password"
            )
        self._by_address.give_back(browser.address)
        self._by_name.give_back(name)
        return self.let_in(user, browser, "password")

    def admit(self, name: str, browser: Browser) -> None:
        """Count an attempt.

        Raises:
            SignInRefused: there were too many.
        """
        wait = max(self._by_address.take(browser.address), self._by_name.take(name))
        if wait:
            raise SignInRefused(
                "too many attempts to sign in", hint=f"wait {wait:.0f} s", wait_seconds=wait
            )

    def let_in(self, user: User, browser: Browser, way: str, role: str | None = None) -> str:
        """Begin a session of somebody who has proved who they are.

        Args:
            user: who.
            browser: from where.
            way: how: "password" or "oidc".
            role: as a provider says; None goes by the user's.
        """
        secret, now = keys.new_secret(), self._clock.now()
        expires_at = now + self._book.sessions.most
        session = Session(
            keys.digest(secret), user.name, role, now, expires_at, now, browser.address,
            browser.name, way,
        )  # fmt: skip
        self._book.identities.add_session(session)
        self._book.refresh()
        about = {"from": browser.address, "way": way, "role": role or user.role}
        self._desk.noted(user.name, "access.sign-in", user.name, None, about)
        return secret

    def let_out(self, who: Caller) -> None:
        """End the session of whoever asks."""
        if who.session:
            self._book.identities.end_sessions([who.session])
            self._book.refresh()
            self._desk.noted(who.name, "access.sign-out", who.name)
