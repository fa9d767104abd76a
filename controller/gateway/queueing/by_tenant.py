"""Requests of one lane by tenant: the tenant is chosen by a value, its requests go by arrival."""

from __future__ import annotations

from collections.abc import Callable

from controller.gateway.ask import Ask
from controller.gateway.queueing.fifo import Fifo, arrival
from controller.gateway.queueing.ranking import Key, Ranking

Owner = Callable[[Ask], str]


def tenant_of(ask: Ask) -> str:
    """Who pays."""
    return ask.tenant


class ByTenant:
    """A `Fifo` each, and a ranking by value; equal ones go by the arrival of their first request.

    Args:
        value: of a tenant, as it is now.
        owner: whose request it is, where that is not the tenant.
    """

    def __init__(self, value: Callable[[str], float], owner: Owner = tenant_of) -> None:
        self._value, self._owner = value, owner
        self._asks: dict[str, Fifo] = {}
        self._size = 0
        self.ranking = Ranking(self._key)

    def __len__(self) -> int:
        return self._size

    def __contains__(self, name: str) -> bool:
        return name in self._asks

    def put(self, ask: Ask) -> None:
        """Add one."""
        name = self._owner(ask)
        self._asks.setdefault(name, Fifo()).put(ask)
        self._size += 1
        self.ranking.add(name)

    def drop(self, ask: Ask) -> bool:
        """Take one out; tells whether it was there."""
        name = self._owner(ask)
        asks = self._asks.get(name)
        if asks is None or not asks.drop(ask):
            return False
        self._size -= 1
        if len(asks):
            self.ranking.touch(name)
        else:
            del self._asks[name]
            self.ranking.discard(name)
        return True

    def of(self, name: str) -> Fifo:
        """Requests of one that waits."""
        return self._asks[name]

    def head(self, name: str) -> Ask:
        """The earliest of one that waits."""
        return next(iter(self._asks[name]))

    def _key(self, name: str) -> Key:
        return (self._value(name), *arrival(self.head(name)))
