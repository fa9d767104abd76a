"""Whose requests leave the queue: a tenant's own part of it gets shorter by its own alone.

    share = the least of: what it was lately
                          what a fair line will give it, where tenants share by weight

A fair line lets tenants that wait divide what those leave that do not wait: each has service by its
weight, so requests by weight / service of one. That is known as soon as others begin to wait, while
what was lately needs its time to fall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from controller.gateway.ask import Ask
from controller.gateway.fleet import Sight
from controller.gateway.queueing.base import INPUT_WEIGHT, OUTPUT_WEIGHT
from controller.gateway.rates import FadingRate

SHARE_SECONDS = 15.0
"""Over which it is counted whose requests left."""
REFRESH_SECONDS = 0.25
MOST_TENANTS = 2_000
_NEW = 0.1
_LEAST_LEFT_RATIO = 0.05


@dataclass(slots=True)
class _Tenant:
    """Requests that left, the share it has a right to, and the service of a request."""

    weight: float
    service: float
    left: FadingRate = field(default_factory=lambda: FadingRate(SHARE_SECONDS))


@dataclass(frozen=True, slots=True)
class _Turns:
    """Service a second of a weight of 1 among those that wait, and requests a second of all."""

    at: float
    service: float
    requests: float


class Shares:
    """See the head of this module. Not thread-safe: one loop owns it."""

    def __init__(self) -> None:
        self._all = FadingRate(SHARE_SECONDS)
        self._tenants: dict[str, _Tenant] = {}
        self._turns: _Turns | None = None

    def started(self, asks: Sequence[Ask], now: float) -> None:
        """These left the queue."""
        if len(self._tenants) > MOST_TENANTS:
            self._tenants.clear()
        for ask in asks:
            service = INPUT_WEIGHT * ask.input_tokens + OUTPUT_WEIGHT * ask.expected_output_tokens
            known = self._tenants.setdefault(ask.tenant, _Tenant(ask.weight, service))
            known.weight = ask.weight
            known.service += _NEW * (service - known.service)
            known.left.add(1, now)
            self._all.add(1, now)

    def of(self, tenant: str, sight: Sight) -> float:
        """A tenant's, of the requests that leave the queue from now on; above 0, at most 1."""
        known, total = self._tenants.get(tenant), self._all.per_second(sight.now)
        own = known.left.per_second(sight.now) if known else None
        if known is None or not own or not total:
            # Of a tenant that had no turn yet, as if all that wait took turns.
            return 1.0 / max(len(sight.waiting_of), 1)
        lately = min(own / total, 1.0)
        if not sight.is_shared:
            return lately
        turns = self._fair(sight)
        return min(turns.service * known.weight / known.service / turns.requests, lately)

    def _fair(self, sight: Sight) -> _Turns:
        """As tenants divide the queue now."""
        if self._turns is not None and 0 <= sight.now - self._turns.at < REFRESH_SECONDS:
            return self._turns
        total = taken = weights = requests = turns = 0.0
        for name, one in self._tenants.items():
            rate = one.left.per_second(sight.now) or 0.0
            total += rate * one.service
            if name in sight.waiting_of:
                weights += one.weight
                turns += one.weight / one.service
            else:
                taken += rate * one.service
                requests += rate
        service = max(total - taken, _LEAST_LEFT_RATIO * total) / max(weights, 1e-9)
        self._turns = _Turns(sight.now, service, max(requests + service * turns, 1e-9))
        return self._turns
