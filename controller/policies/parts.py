"""What the policies share: how they read an observation, round, and go from pool to pool.

None of this raises on what it is shown: a value that is missing, stale, not finite or below 0 is
unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from controller import observation as seen
from controller.observation import Grade, Observation, PoolView, ReplicaView
from controller.policy import MOST_REPLICAS, Memory, Proposal, Reason
from store.errors import ControllerError

# Prometheus, and what reads it, gives nothing for a series this old.
STALE_SECONDS = 300.0
# Nothing of a fleet is larger: what is, was misread.
MOST_VALUE = 1e12
# A request that is asked about and of whose kind nothing is known.
USUAL_INPUT_TOKENS, USUAL_OUTPUT_TOKENS = 1024.0, 256.0
ONGOING = "ongoing"
# What a policy may divide by each ready replica; the others are means already.
_MEANS = (seen.KV_CACHE_USAGE_RATIO, seen.BUSY_RATIO)

OnePool = Callable[[Observation, PoolView, Memory], tuple[int, Reason, Memory]]


def known(value: float | None) -> float | None:
    """The value where it is a number from 0 to `MOST_VALUE`."""
    return value if value is not None and 0 <= value <= MOST_VALUE else None


def told(pool: PoolView, signal: str, stale_seconds: float = STALE_SECONDS) -> float | None:
    """A signal that was read, at most so long ago; None is unknown."""
    reading = pool.reading(signal)
    age = reading.age_seconds
    if reading.grade is Grade.MISSING or age is None or not age <= stale_seconds:
        return None
    return known(reading.value)


def ongoing(pool: PoolView) -> float | None:
    """Requests in the pool: running, waiting, and held where anybody tells it."""
    running, waiting = told(pool, seen.REQUESTS_RUNNING), told(pool, seen.REQUESTS_WAITING)
    held = told(pool, seen.REQUESTS_HELD) or 0.0
    if running is None or waiting is None:
        # An empty pool has no engine to tell what runs on it.
        return held if pool.ready == 0 and held else None
    return running + waiting + held


def each(pool: PoolView, signal: str) -> float | None:
    """A signal, or `ONGOING`, of an average ready replica."""
    value = ongoing(pool) if signal == ONGOING else told(pool, signal)
    return value if value is None or signal in _MEANS else value / max(pool.ready, 1)


def of_replica(replica: ReplicaView, signal: str) -> float | None:
    """What one replica told of a signal, or `ONGOING`, at most `STALE_SECONDS` ago."""
    age = replica.scrape_age_seconds
    if age is None or not age <= STALE_SECONDS:
        return None
    if signal == ONGOING:
        running, waiting = known(replica.requests_running), known(replica.requests_waiting)
        return None if running is None or waiting is None else running + waiting
    return known(getattr(replica, signal, None))


def sizes(pool: PoolView) -> tuple[float, float]:
    """(prompt tokens that have to be computed, output tokens) of a request, as far as is known."""
    prompt = told(pool, seen.INPUT_TOKENS)
    output = told(pool, seen.OUTPUT_TOKENS)
    hit = min(told(pool, seen.PREFIX_HIT_RATIO) or 0.0, 1.0)
    return (USUAL_INPUT_TOKENS if prompt is None else prompt) * (1 - hit), (
        USUAL_OUTPUT_TOKENS if output is None else output
    )


def up(value: float) -> int:
    """The next whole number, at most `MOST_REPLICAS`; rounding errors of a sum are no replica."""
    if math.isnan(value):
        return 0
    return math.ceil(min(value, float(MOST_REPLICAS)) - 1e-9)


def bounded(pool: PoolView, wanted: float) -> int:
    """Within the limits of the pool."""
    return int(min(max(wanted, pool.limits.least, 0), pool.limits.most))


def each_pool(
    observation: Observation, memory: Memory, decide: OnePool
) -> tuple[Proposal, dict[str, Memory]]:
    """One decision a pool, each with a memory of its own."""
    targets: dict[str, int] = {}
    reasons: list[Reason] = []
    kept: dict[str, Memory] = {}
    for pool in observation.pools:
        target, reason, mine = decide(observation, pool, memory.get(pool.name, {}))
        targets[pool.name] = target
        reasons.append(reason)
        kept[pool.name] = mine
    return Proposal(targets, tuple(reasons)), kept


def in_range(policy: str, name: str, value: float | None, least: float, most: float) -> None:
    """Refuse a parameter.

    Raises:
        ControllerError: it is no number between `least` and `most`.
    """
    if value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        raise ControllerError(
            f"policy {policy}: {name} is {value!r}",
            hint=f"give a number from {least:g} to {most:g}",
        )


def one_of(policy: str, name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuse a word.

    Raises:
        ControllerError: it is none of those.
    """
    if value not in allowed:
        raise ControllerError(
            f"policy {policy}: {name} is {value!r}", hint=f"one of {', '.join(allowed)}"
        )
