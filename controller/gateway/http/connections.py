"""All connections of clients: how many there may be, and which of them took too long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from controller.gateway.http.limits import HttpLimits


class Kept(Protocol):
    """A connection, as far as its times go."""

    due: float

    def too_late(self) -> None:
        """What it had to do until `due` did not happen."""
        ...

    def drain(self) -> None:
        """Close it after the answer that is being sent."""
        ...


@dataclass(slots=True)
class HttpCounted:
    """What happened since the start, for metrics."""

    connections: int = 0
    requests: int = 0
    turned_away: Counter[str] = field(default_factory=Counter)


class Connections:
    """Counts them by address, and watches the times.

    Args:
        limits: bounds.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self.counted = HttpCounted()
        self.is_draining = False
        self.bodies_bytes = 0
        self._open: set[Kept] = set()
        self._of: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def all(self) -> Iterable[Kept]:
        """Those that are open."""
        return tuple(self._open)

    def enter(self, one: Kept, address: str) -> str:
        """A connection came; "" lets it in, else the reason why not."""
        self.counted.connections += 1
        reason = ""
        if len(self._open) >= self.limits.connections:
            reason = "connections_full"
        elif self._of[address] >= self.limits.connections_of_client:
            reason = "connections_of_client_full"
        if reason:
            self.counted.turned_away[reason] += 1
            return reason
        self._open.add(one)
        self._of[address] += 1
        return ""

    def leave(self, one: Kept, address: str) -> None:
        """It is gone."""
        if one not in self._open:
            return
        self._open.remove(one)
        self._of[address] -= 1
        if not self._of[address]:
            del self._of[address]

    def keeps(self, count: int) -> bool:
        """Keep so many bytes of a body more; tells whether there is room."""
        if self.bodies_bytes + count > self.limits.bodies_bytes:
            return False
        self.bodies_bytes += count
        return True

    def sweep(self, now: float) -> None:
        """Close what is late."""
        for one in tuple(self._open):
            if one.due <= now:
                one.too_late()

    def drain(self) -> None:
        """Close what has no request, and the others after theirs."""
        self.is_draining = True
        for one in tuple(self._open):
            one.drain()
