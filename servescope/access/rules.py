"""How callers are told apart."""

from __future__ import annotations

from dataclasses import dataclass, field

from servescope.access.caller import NOBODY
from servescope.access.gate import Paths
from store.access import Rights


@dataclass(frozen=True, slots=True)
class Rules:
    """How callers are told apart.

    Attributes:
        everybody: the rights of all, where nobody signs in; None where people do.
        anonymous: of who has not signed in, where others do.
        requests_per_minute: of one caller; 0 is no limit.
        unlimited_paths: begin the paths of senders, which have limits of their own.
        paths: what nobody gets to see.
    """

    everybody: Rights | None
    anonymous: Rights = NOBODY.rights
    requests_per_minute: float = 3_000.0
    unlimited_paths: tuple[str, ...] = ()
    paths: Paths = field(default_factory=Paths)
