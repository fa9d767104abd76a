"""How callers are told apart, and what nobody gets to see."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from servescope.access.caller import NOBODY
from store.access import Rights

SIGN_IN = "/sign-in"


@dataclass(frozen=True, slots=True)
class Paths:
    """Which is which.

    Attributes:
        public: open to all, as they are.
        public_roots: the same for all below them.
        pages: the root of what people open in a browser.
    """

    public: Collection[str] = ("/", "/healthz", "/readyz", "/api/v1")
    public_roots: tuple[str, ...] = (SIGN_IN, "/sign-out")
    pages: str = "/ui"

    def is_public(self, path: str) -> bool:
        """Whether anybody may ask for it."""
        return path in self.public or any(
            path == root or path.startswith(f"{root}/") for root in self.public_roots
        )

    def is_page(self, path: str) -> bool:
        """Whether people open it, or something for it, in a browser."""
        return path == self.pages or path.startswith(f"{self.pages}/")


@dataclass(frozen=True, slots=True)
class Rules:
    """How callers are told apart where people sign in.

    Attributes:
        anonymous: the rights of who has not.
        requests_per_minute: of one caller; 0 is no limit.
        unlimited_paths: begin the paths of senders, which have limits of their own.
        paths: what nobody gets to see.
    """

    anonymous: Rights = NOBODY.rights
    requests_per_minute: float = 3_000.0
    unlimited_paths: tuple[str, ...] = ()
    paths: Paths = field(default_factory=Paths)
