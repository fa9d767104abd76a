"""So many requests a minute of each tenant; who has had them waits, it is not refused.

The rule of most gateways, as a line, for comparison: it keeps tenants apart by leaving replicas
idle. As a rule that refuses, see admission.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator

from controller.gateway.ask import Ask
from controller.gateway.queueing.base import LineSpec, Room
from controller.gateway.queueing.by_tenant import ByTenant
from controller.gateway.queueing.fifo import Fifo, arrival
from controller.gateway.queueing.lanes import Lanes
from controller.gateway.queueing.ranking import Key
from store.errors import ControllerError

SOURCE = "Ying1123/VTC-artifact, RPM; AIBrix, gateway plugin"
WINDOW_SECONDS = 60.0
MOST_TENANTS = 10_000


class Starts:
    """When each tenant's requests of the last minute started."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._at: dict[str, deque[float]] = {}

    def free_at(self, ask: Ask, now: float) -> float:
        """When one more may start; not after `now` if it may at once."""
        at = self._at.get(ask.tenant)
        while at and at[0] <= now - WINDOW_SECONDS:
            at.popleft()
        allowed = max(int(self._most * ask.weight), 1)
        return at[-allowed] + WINDOW_SECONDS if at and len(at) >= allowed else now

    def add(self, tenant: str, now: float) -> None:
        """One started."""
        self._at.setdefault(tenant, deque()).append(now)
        if len(self._at) > MOST_TENANTS:
            old = [name for name, at in self._at.items() if at[-1] <= now - WINDOW_SECONDS]
            for name in old:
                del self._at[name]


class _Lane:
    """By arrival; tenants that had enough are out of the ranking until they may again."""

    def __init__(self, starts: Starts) -> None:
        self._starts = starts
        self._tenants = ByTenant(Fifo, lambda tenant: 0.0)
        self._later: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._tenants)

    def put(self, ask: Ask, now: float) -> None:
        self._tenants.put(ask)

    def drop(self, ask: Ask) -> bool:
        return self._tenants.drop(ask)

    def candidates(self, room: Room, now: float) -> Iterator[Ask]:
        ranking = self._tenants.ranking
        while self._later and self._later[0][0] <= now:
            _, name = heapq.heappop(self._later)
            if name in self._tenants:
                ranking.add(name)
        while (first := ranking.first()) is not None:
            ask = self._tenants.head(first)
            free_at = self._starts.free_at(ask, now)
            if free_at <= now:
                yield ask
                return
            ranking.discard(first)
            heapq.heappush(self._later, (free_at, first))

    def key(self, ask: Ask) -> Key:
        return arrival(ask)


class Rpm:
    """First come, first served, but nobody more than its share of a minute."""

    def __init__(self, requests_per_minute: float = 60.0) -> None:
        """Set the limit.

        Args:
            requests_per_minute: of a tenant of weight 1; at least one is let through.

        Raises:
            ControllerError: it is not above 0.
        """
        if not 0 < requests_per_minute < float("inf"):
            raise ControllerError(f"requests_per_minute must be above 0, not {requests_per_minute}")
        self.spec = LineSpec(
            "rpm", "Requests per minute", SOURCE, {"requests_per_minute": requests_per_minute},
            is_work_conserving=False,
        )  # fmt: skip
        self._starts = Starts(requests_per_minute)
        self._lanes = Lanes(lambda: _Lane(self._starts))

    def put(self, ask: Ask, now: float) -> None:
        """Behind those of its tenant."""
        self._lanes.put(ask, now)

    def take(self, room: Room, now: float) -> Ask | None:
        """The earliest whose tenant may."""
        ask = self._lanes.take(room, now)
        if ask is not None:
            self._starts.add(ask.tenant, now)
        return ask

    def drop(self, ask: Ask) -> bool:
        """Forget it."""
        return self._lanes.drop(ask)

    def served(self, ask: Ask, output_tokens: int, *, is_over: bool, now: float) -> None:
        """Tokens are not looked at: that is what is unfair about it."""
