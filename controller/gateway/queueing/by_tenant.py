"""Requests of one lane by tenant: the tenant is chosen by a value, then one of its requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from controller.gateway.ask import Ask
from controller.gateway.queueing.fifo import arrival
from controller.gateway.queueing.ranking import Key, Ranking

Owner = Callable[[Ask], str]


def tenant_of(ask: Ask) -> str:
    """Who pays."""
    return ask.tenant


class Own(Protocol):
    """Requests of one tenant; iterates by arrival."""

    def put(self, ask: Ask) -> None:
        """Add one."""
        ...

    def drop(self, ask: Ask) -> bool:
        """Take one out; tells whether it was there."""
        ...

    def __iter__(self) -> Iterator[Ask]: ...

    def __len__(self) -> int: ...


Mine = TypeVar("Mine", bound=Own)


class ByTenant(Generic[Mine]):
    """A queue each, and a ranking by value; equal ones go by the arrival of their first request.

    Args:
        make: a queue of a tenant's own.
        value: of a tenant, as it is now.
        owner: whose request it is, where that is not the tenant.
    """

    def __init__(
        self, make: Callable[[], Mine], value: Callable[[str], float], owner: Owner = tenant_of
    ) -> None:
        self._make, self._owner = make, owner
        asks: dict[str, Mine] = {}
        self._asks = asks
        self._size = 0

        # Of no method of this one: lanes come and go with every request where few wait, and
        # whatever is in a circle stays until the interpreter looks for it.
        def key(name: str) -> Key:
            return (value(name), *arrival(next(iter(asks[name]))))

        self.ranking = Ranking(key)

    def __len__(self) -> int:
        return self._size

    def __contains__(self, name: str) -> bool:
        return name in self._asks

    def put(self, ask: Ask) -> None:
        """Add one."""
        name = self._owner(ask)
        asks = self._asks.get(name)
        if asks is None:
            asks = self._asks[name] = self._make()
        asks.put(ask)
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

    def of(self, name: str) -> Mine:
        """Requests of one that waits."""
        return self._asks[name]

    def head(self, name: str) -> Ask:
        """The earliest of one that waits."""
        return next(iter(self._asks[name]))
