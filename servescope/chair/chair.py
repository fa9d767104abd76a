"""The chair: of the servers that share a store one decides, scrapes, tells people and keeps house.

All of them take rows in and answer questions. The chair is a lease: a server that is gone, or cut
off, loses it, and another takes it and goes on where the store says that things stand.
"""

from __future__ import annotations

import os
import secrets
import socket

from controller.leases import Leases
from store.clock import Clock

CHAIR = "chair"
LOOK_SECONDS = 0.25
_SEPARATOR = " "


class Chair:
    """One server's view of the chair.

    Args:
        leases: where it is kept, and whose it is.
        ourselves: as we are called there, see `owner_text`.
        clock: between two looks.
    """

    def __init__(self, leases: Leases, ourselves: str, clock: Clock) -> None:
        self._leases, self._ourselves, self._clock = leases, ourselves, clock

    @property
    def is_ours(self) -> bool:
        """Whether this server has it now, on the safe side."""
        return self._leases.holds(CHAIR)

    @property
    def holder_url(self) -> str | None:
        """Where the server answers that has it; None while nobody has, or we do."""
        owner = self._leases.owner(CHAIR)
        # While the place of leases is away the last that is known may be ourselves.
        is_other = owner.startswith(("http://", "https://")) and owner != self._ourselves
        return owner.partition(_SEPARATOR)[0] if is_other and not self.is_ours else None

    @property
    def holder(self) -> str:
        """Who has it, or had it last, for people."""
        return self._leases.owner(CHAIR)

    async def won(self) -> None:
        """Wait until it is ours."""
        while not self.is_ours:
            await self._clock.sleep(LOOK_SECONDS)

    async def lost(self) -> None:
        """Wait until another has it.

        While nobody can be asked whose it is, it is not ours, but not another's either: then what
        needs it waits, and goes on afterwards.
        """
        while self.is_ours or self.holder_url is None:
            await self._clock.sleep(LOOK_SECONDS)


def owner_text(peer_url: str) -> str:
    """Who this server is: where it answers, and what no other process is called.

    Args:
        peer_url: where the other servers reach it.
    """
    process = f"({socket.gethostname()}, process {os.getpid()}, {secrets.token_hex(3)})"
    return f"{peer_url.rstrip('/')}{_SEPARATOR}{process}"
