"""Requests that wait because there were too few replicas: what it takes to catch up.

A forecast says what will come; it knows nothing of what came and is not served yet. A fleet that is
just large enough for the rate never gets through a queue, and everybody in it misses.
"""

from __future__ import annotations

from controller import observation as seen
from controller.capacity import most_per_second, staffed
from controller.observation import PoolView
from controller.policies.parts import told, up
from controller.policies.rules import Past

# A queue is worked off within a start-up time, and not faster than this.
LEAST_SECONDS = 60.0
# Without a bound on the first token requests may wait so long.
PATIENCE_SECONDS = 60.0


def waiting(pool: PoolView) -> float:
    """Requests in queues and before the pool, as far as anybody tells."""
    return (told(pool, seen.REQUESTS_WAITING) or 0.0) + (told(pool, seen.REQUESTS_HELD) or 0.0)


def is_behind(pool: PoolView, past: Past) -> bool:
    """Whether so much waits that what comes now will miss its first token."""
    bound = min(past.replica.ttft_seconds, PATIENCE_SECONDS)
    return waiting(pool) > max(pool.ready * most_per_second(past.replica) * bound, 1.0)


def within(past: Past) -> float:
    """Seconds in which what waits is to be worked off."""
    return max(past.startup_seconds, LEAST_SECONDS)


def to_catch_up(pool: PoolView, past: Past, rate: float) -> int:
    """Replicas that serve the rate and work off what waits; none are given up meanwhile.

    Args:
        pool: that is behind.
        past: of it.
        rate: requests a second that come.
    """
    need = up(staffed(rate + waiting(pool) / within(past), past.capacity, past.replica.spread))
    return max(need, pool.target)
