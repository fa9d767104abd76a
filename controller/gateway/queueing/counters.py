"""Service that each tenant had, as VTC counts it: what lines compare and the bound is about."""

from __future__ import annotations

import math
from collections import Counter

MOST_IDLE = 10_000
"""Tenants without a request of which the counter is kept."""


class Counters:
    """Weighted service by tenant, kept small.

    A tenant that comes back is lifted to what the others have (`lift`), so it cannot save up. Of
    those that are idle, the ones that would be lifted anyway are forgotten first.
    """

    def __init__(self) -> None:
        self._value: dict[str, float] = {}
        self._busy: Counter[str] = Counter()
        self._floor = 0.0

    def __call__(self, tenant: str) -> float:
        """What it had."""
        return self._value.get(tenant, 0.0)

    def __len__(self) -> int:
        return len(self._value)

    def add(self, tenant: str, service: float, weight: float) -> None:
        """It had more; or less, where more was charged than came."""
        self._value[tenant] = self._value.get(tenant, 0.0) + service / weight

    def lift(self, tenant: str, floor: float) -> None:
        """At least so much from now on."""
        self._floor = max(floor, self._floor)
        if floor > self._value.get(tenant, 0.0):
            self._value[tenant] = floor

    def has_begun(self, tenant: str) -> None:
        """One more of its requests waits or runs."""
        self._busy[tenant] += 1

    def is_over(self, tenant: str) -> None:
        """One less."""
        self._busy[tenant] -= 1
        if self._busy[tenant] <= 0:
            del self._busy[tenant]
        if len(self._value) - len(self._busy) > MOST_IDLE:
            self._forget()

    def _forget(self) -> None:
        """Half of the idle ones, those that had least: it is them that would be lifted."""
        idle = sorted((v, name) for name, v in self._value.items() if name not in self._busy)
        for value, name in idle:
            if len(self._value) - len(self._busy) <= MOST_IDLE // 2 and value > self._floor:
                break
            del self._value[name]


def largest(values: Counters) -> float:
    """For tests: no counter is above it."""
    return max(values._value.values(), default=math.nan)
