"""Requests in the order of arrival, any of which may leave."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from controller.gateway.ask import Ask


class Fifo:
    """The earliest arrival first, whenever it was put."""

    def __init__(self) -> None:
        self._asks: OrderedDict[int, Ask] = OrderedDict()

    def __len__(self) -> int:
        return len(self._asks)

    def __iter__(self) -> Iterator[Ask]:
        return iter(self._asks.values())

    def __contains__(self, ask: Ask) -> bool:
        return ask.number in self._asks

    def put(self, ask: Ask) -> None:
        """Behind whoever arrived before; those that were put back arrived long ago."""
        is_late = bool(self._asks) and arrival(ask) < arrival(next(reversed(self._asks.values())))
        self._asks[ask.number] = ask
        if is_late:
            self._asks = OrderedDict(sorted(self._asks.items(), key=lambda item: arrival(item[1])))

    def first(self) -> Ask | None:
        """The earliest."""
        return next(iter(self._asks.values()), None)

    def drop(self, ask: Ask) -> bool:
        """Take it out; tells whether it was there."""
        return self._asks.pop(ask.number, None) is not None


def arrival(ask: Ask) -> tuple[float, int]:
    """What ties are decided by."""
    return ask.arrived, ask.number
