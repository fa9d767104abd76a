"""What ways share: the least of several with ties going round, and dice that fall by number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from heapq import nsmallest
from typing import Any

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance

LOOKED_AT = 8
"""Replicas that are looked at closely; nobody is better off with more choices than a few."""
_MASK = (1 << 64) - 1
_UNIT = float(1 << 64)


def least(
    instances: Sequence[Instance], ask: Ask, load: Callable[[Instance], Any]
) -> Instance | None:
    """The one with the least load; where several have it, requests take turns among them."""
    count = len(instances)
    if count == 0:
        return None
    loads = [load(one) for one in instances]
    lowest = min(loads)
    ties = [one for one, value in zip(instances, loads, strict=True) if value == lowest]
    return ties[ask.number % len(ties)]


def shortlist(
    instances: Sequence[Instance], ask: Ask, load: Callable[[Instance], float]
) -> Sequence[Instance]:
    """The few with the least of a load that costs little to tell, for a closer look.

    What a replica's requests have left is summed over all of them: over a hundred replicas that
    takes a millisecond. Where several have the same, requests take turns among them.
    """
    if len(instances) <= LOOKED_AT:
        return instances
    # `least` takes turns inside of the few; every so many requests the next few have theirs.
    start = ask.number // LOOKED_AT * LOOKED_AT % len(instances)
    return nsmallest(LOOKED_AT, [*instances[start:], *instances[:start]], key=load)


def outstanding(one: Instance) -> tuple[int, float]:
    """Requests it has; among equals, the share of its seats that they take."""
    count = len(one.running)
    return count, count / max(one.seats, 1)


def mixed(first: int, second: int) -> int:
    """64 bits that look random, the same in every process. Source: splitmix64."""
    value = (first * 0x9E3779B97F4A7C15 + second * 0xD1B54A32D192ED03 + 1) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def share(first: int, second: int) -> float:
    """The same as a number in [0, 1)."""
    return mixed(first, second) / _UNIT


def name_bits(name: str) -> int:
    """64 bits of a name; Python's own hash differs from process to process."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest())


def mean_running(instances: Sequence[Instance], without: str = "") -> float:
    """Requests that one of them has on average; 0 where there is none."""
    counts = [len(one.running) for one in instances if one.name != without]
    return sum(counts) / len(counts) if counts else 0.0
