"""Who asks: by API key, else by a header, else by OpenAI's `user`, else nobody.

1. A key (`Authorization: Bearer`, `x-api-key`, `api-key`) decides. One that nobody has is 401, as
   is none where keys are required. Where the file has no keys, they are not looked at.
2. A header names the tenant: of a request without a key, or with the key of a tenant that may
   speak for others (`names_tenants`).
3. The body's `user`, likewise.
4. "anonymous".

Names come from outside, so only so many are told apart; the rest shares one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from controller.gateway.admission.base import Refusal
from controller.gateway.ask import SloClass
from controller.gateway.hooks import ANONYMOUS, Caller, Headers, Said
from controller.gateway.tenant_book import HASH_PREFIX, Tenant, TenantBook
from controller.gateway.tenant_file import read_file
from store.clock import Clock
from store.errors import ServescopeError

log = logging.getLogger(__name__)

OTHERS = "others"
"""Tenants beyond the bound share this name."""
FORGET_SECONDS = 600.0
"""A name that nobody used for so long makes room for another."""
MOST_CHARACTERS = 128
MOST_SESSION = 256
_KEY_HEADERS = ("x-api-key", "api-key")
_BEARER = "bearer "
UNKNOWN_KEY = Refusal(
    "invalid_api_key", "the API key is not known here; ask whoever runs this gateway for one",
    "tenant", status=401, is_final=True,
)  # fmt: skip
NO_KEY = Refusal(
    "invalid_api_key", "an API key is needed: send Authorization: Bearer KEY",
    "tenant", status=401, is_final=True,
)  # fmt: skip


def key_of(headers: Headers) -> str:
    """The key that a client sent; "" is none. Never to be shown or kept."""
    told = headers.get("authorization", "")
    if told[: len(_BEARER)].lower() == _BEARER:
        return told[len(_BEARER) :].strip()
    return next((headers[name].strip() for name in _KEY_HEADERS if headers.get(name)), "")


class Tenants:
    """Tells who asks, by a book that may be replaced at any time.

    Args:
        clock: the time.
        book: of tenants and classes.
    """

    def __init__(self, clock: Clock, book: TenantBook | None = None) -> None:
        self.book = book or TenantBook()
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()
        self.unauthorized = 0
        self.shared = 0
        """Requests whose tenant was one too many to be told apart."""

    def caller(self, headers: Headers, said: Said) -> Caller | Refusal:
        """The tenant of a request and what it is promised; or a refusal with status 401."""
        found = self._resolve(headers, said.user)
        if isinstance(found, Refusal):
            self.unauthorized += 1
            return found
        self.shared += found.name == OTHERS
        book = self.book
        session = said.session or headers.get(book.session_header, "")[:MOST_SESSION].strip()
        return Caller(found.name, found.weight, self._class(found, headers), session)

    def name(self, headers: Headers, user: str) -> str:
        """Of the tenant; "" where the key is nobody's. Counts nothing."""
        found = self._resolve(headers, user)
        return "" if isinstance(found, Refusal) else found.name

    def _resolve(self, headers: Headers, user: str) -> Tenant | Refusal:
        """The tenant; see the head of this module."""
        book, key = self.book, key_of(headers)
        if book.keys and (key or book.keys_required):
            tenant = _by_key(book, key)
            if tenant is None:
                return UNKNOWN_KEY if key else NO_KEY
            if not tenant.names_tenants:
                return tenant
            return self._named(headers, user) or tenant
        return self._named(headers, user) or self._tenant(ANONYMOUS)

    def _named(self, headers: Headers, user: str) -> Tenant | None:
        book = self.book
        told = headers.get(book.tenant_header, "") if book.tenant_header else ""
        name = _clean(told) or (_clean(user) if book.user_is_tenant else "")
        return self._tenant(name) if name else None

    def _tenant(self, name: str) -> Tenant:
        known = self.book.tenants.get(name)
        if known is not None:
            return known
        if name != ANONYMOUS and not self._has_room(name):
            name = OTHERS
        return replace(self.book.usual, name=name)

    def _has_room(self, name: str) -> bool:
        """Whether a name without a table is told apart."""
        seen, now = self._seen, self._clock.monotonic()
        if name not in seen and len(seen) >= self.book.most_tenants:
            oldest, at = next(iter(seen.items()))
            if now - at < FORGET_SECONDS:
                return False
            del seen[oldest]
        seen[name] = now
        seen.move_to_end(name)
        return True

    def _class(self, tenant: Tenant, headers: Headers) -> SloClass:
        """The class that the request names, where the tenant may; else the tenant's."""
        asked = headers.get(self.book.class_header, "") if self.book.class_header else ""
        return self.book.classes[asked] if asked in tenant.classes else tenant.slo


class WatchedTenants:
    """Reads a file of tenants again whenever it changes; one with mistakes changes nothing.

    Args:
        path: the file.
        tenants: gets the new book.
        changed: called with a new book.
    """

    def __init__(
        self, path: Path, tenants: Tenants, changed: Callable[[TenantBook], Any] = lambda book: None
    ) -> None:
        self.path = path
        self.problem: str | None = None
        self._tenants = tenants
        self._changed = changed
        self._stamp: tuple[int, int, int] | None = None

    def load(self) -> None:
        """Read it now.

        Raises:
            ServescopeError: it cannot be read, or has mistakes.
        """
        stamp = self._stamped()
        self._use(read_file(self.path))
        self._stamp = stamp

    async def look(self) -> bool:
        """Read it again if it has changed; whether it has. `problem` says what is wrong with it."""
        stamp = self._stamped()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            # A large file takes a while to read: streams go on meanwhile.
            self._use(await asyncio.to_thread(read_file, self.path))
        except ServescopeError as error:
            self.problem = str(error)
            log.warning("tenants_unread", extra={"problem": self.problem})
            return False
        log.info("tenants_changed", extra={"tenants": len(self._tenants.book.tenants)})
        return True

    def _use(self, book: TenantBook) -> None:
        self._changed(book)
        self._tenants.book, self.problem = book, None

    def _stamped(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _by_key(book: TenantBook, key: str) -> Tenant | None:
    """The tenant of a key, compared in a time that tells nothing of it."""
    told = HASH_PREFIX + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    found = book.keys.get(told)
    # What is looked up is a hash: how long that takes tells nothing of any key. This compares it
    # once more in constant time, so that no table of strings decides alone.
    known = next(iter(book.keys)) if found is None else told
    return found if hmac.compare_digest(known, told) else None


def _clean(name: str) -> str:
    """A name as it may be stored."""
    if not name.isprintable():
        name = "".join(sign for sign in name if sign.isprintable())
    return name[:MOST_CHARACTERS].strip()
