"""Deficit counters: what each tenant may still have before it waits."""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST_KEPT = 20_000


class Credit:
    """By replica and tenant; "" is any replica.

    Nobody saves up: credit is given to those that wait alone, and no more than a quantum is left.
    """

    def __init__(self, quantum: float) -> None:
        self._quantum = quantum
        self._left: dict[tuple[str, str], float] = {}

    def left(self, replica: str, tenant: str) -> float:
        """What it may still have; 0 is nothing, less is a debt."""
        return self._left.get((replica, tenant), 0.0)

    def is_spent(self, replica: str, tenant: str) -> bool:
        """Whether it has to wait."""
        return self.left(replica, tenant) <= 0

    def charge(self, replica: str, tenant: str, service: float) -> None:
        """It had so much."""
        pair = replica, tenant
        self._left[pair] = self._left.get(pair, 0.0) - service
        if len(self._left) > MOST_KEPT:
            self._forget()

    def refill(self, whom: Sequence[tuple[str, str, float]]) -> None:
        """Give quanta, by weight, to all of these, until one has credit.

        Args:
            whom: replica, tenant and weight of those that wait; none of them has credit.
        """
        rounds = min(
            math.floor(-self.left(replica, tenant) / (self._quantum * weight)) + 1
            for replica, tenant, weight in whom
        )
        for replica, tenant, weight in whom:
            more = rounds * self._quantum * weight
            self._left[replica, tenant] = self.left(replica, tenant) + more

    def _forget(self) -> None:
        """The half that is nearest to 0, which is what a stranger has."""
        near = sorted(self._left, key=lambda pair: (abs(self._left[pair]), pair))
        for pair in near[: len(near) // 2]:
            del self._left[pair]
