"""Who was told when to come back, and has not yet."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable
from dataclasses import dataclass

from controller.gateway.ask import Ask

_NOTHING = (0, 0.0)


@dataclass(slots=True, eq=False)
class Promise:
    """A refused request will be let in from `due_at` on.

    Attributes:
        order: of the promises.
        key: by which the request is known when it comes again.
        group: whose limits it waits for: a model's queue, or all of a tenant's own.
        priority: of its class.
        told_at: when it was refused first.
        due_at: when there is room for it.
        come_at: when it was told to come; earlier than `due_at` where the wait was cut.
        void_at: when nobody waits for it any more.
        tokens: that it is expected to take of a limit in tokens.
    """

    order: int
    key: Hashable
    group: Hashable
    priority: int
    told_at: float
    due_at: float
    come_at: float
    void_at: float
    tokens: float = 0.0


class Promises:
    """The book of them. Sorted by time, so that counting is quick with thousands."""

    def __init__(self) -> None:
        self._open: dict[int, Promise] = {}
        self._by_key: dict[Hashable, list[Promise]] = {}
        self._dues: dict[tuple[Hashable, int], list[float]] = {}
        self._costs: dict[Hashable, tuple[int, float]] = {}
        self._voids: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._open)

    def add(self, one: Promise) -> None:
        """Promise it."""
        self._open[one.order] = one
        self._by_key.setdefault(one.key, []).append(one)
        insort(self._dues.setdefault((one.group, one.priority), []), one.due_at)
        requests, tokens = self._costs.get(one.group, _NOTHING)
        self._costs[one.group] = (requests + 1, tokens + one.tokens)
        heapq.heappush(self._voids, (one.void_at, one.order))

    def close(self, one: Promise) -> None:
        """It was kept, broken, or is void."""
        del self._open[one.order]
        kept = self._by_key[one.key]
        kept.remove(one)
        if not kept:
            del self._by_key[one.key]
        dues = self._dues[one.group, one.priority]
        del dues[bisect_left(dues, one.due_at)]
        if not dues:
            del self._dues[one.group, one.priority]
        requests, tokens = self._costs.pop(one.group)
        if requests > 1:
            self._costs[one.group] = (requests - 1, tokens - one.tokens)

    def of(self, key: Hashable) -> Promise | None:
        """The oldest one to such a request."""
        kept = self._by_key.get(key)
        return kept[0] if kept else None

    def due_by(self, group: Hashable, priority: int, at: float) -> int:
        """Of so high a priority or higher, that are due by then."""
        return sum(
            bisect_right(dues, at)
            for (of, rank), dues in self._dues.items()
            if of == group and rank >= priority
        )

    def cost(self, group: Hashable, unit: str) -> float:
        """Of a limit in "requests" or "tokens", that all of them take."""
        requests, tokens = self._costs.get(group, _NOTHING)
        return tokens if unit == "tokens" else requests

    def void(self, now: float) -> list[Promise]:
        """Those whose time is over; they are closed."""
        gone = []
        while self._voids and self._voids[0][0] <= now:
            _, order = heapq.heappop(self._voids)
            one = self._open.get(order)
            if one is None:
                continue
            if one.void_at > now:
                heapq.heappush(self._voids, (one.void_at, order))
                continue
            self.close(one)
            gone.append(one)
        return gone


def key_of(ask: Ask) -> Hashable:
    """What a request has in common with itself when it comes again, without its prompt."""
    words = ask.fingerprint or (ask.prefix[-1] if ask.prefix else 0)
    return ask.tenant, ask.model, ask.session, ask.input_tokens, ask.most_output_tokens, words
