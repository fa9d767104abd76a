"""How many requests will leave the queue by when, replicas on their way included.

Each seat takes one from the queue when it falls free, and then one after another:

    left by t = sum over seats free at e <= t of (1 + m(t - e))
    m(x)      = x / d + (cv^2 - 1) / 2 (1 - exp(-x / d))      never below 0

d is how long a request keeps its seat on a full replica, cv the coefficient of variation of that.
A seat that is taken falls free when its request is expected to end, one of a starting replica when
that will serve. m is the renewal function by its two-moment limit (Cox, Renewal Theory, 1962, 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller.gateway.admission.pace import mix, seconds_left, service_seconds
from controller.gateway.admission.usage import remaining_tokens
from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance, Sight, Starting

STEP_SECONDS = 0.5
STEPS = 128
"""64 s: what is later is of no use to clients that honour at most 60 s."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Requests that leave the queue, as expected at one time.

    Attributes:
        at: seconds of the gateway's clock.
        left: (STEPS + 1,) by `at` + n STEP_SECONDS, rising.
    """

    at: float
    left: tuple[float, ...]

    def by(self, at: float) -> float:
        """Requests that leave from `self.at` to then; straight on after the last step."""
        place = max(at - self.at, 0.0) / STEP_SECONDS
        index = min(int(place), STEPS - 1)
        low, high = self.left[index], self.left[index + 1]
        return low + (place - index) * (high - low)

    def between(self, start: float, end: float) -> float:
        """Requests that leave in that time."""
        return self.by(end) - self.by(start)


def drain(sight: Sight, factor: float = 1.0, usual_seconds: float | None = None) -> Drain | None:
    """What will leave the queue of a fleet; None where nobody can tell.

    Args:
        sight: replicas, running requests, and replicas that start.
        factor: how much faster than expected it went lately.
        usual_seconds: that a request keeps its seat, for replicas whose pace is unknown.
    """
    ready = [one for one in sight.instances if one.state == "ready" and one.seats > 0]
    keeps, spread = _seat_seconds(ready, usual_seconds)
    if keeps is None:
        return None
    frees = [0.0] * (STEPS + 1)
    for seconds, seats in _frees(ready, sight, keeps):
        index = max(math.ceil(seconds / factor / STEP_SECONDS), 0)
        if index <= STEPS:
            frees[index] += seats
    return Drain(sight.now, _summed(frees, keeps / factor, spread))


def _summed(frees: Sequence[float], keeps: float, spread: float) -> tuple[float, ...]:
    """The sum of the head of this module, on the grid."""
    renewals = [_renewals(n * STEP_SECONDS, keeps, spread) for n in range(STEPS + 1)]
    left = [0.0] * (STEPS + 1)
    for start, seats in enumerate(frees):
        if seats:
            for n in range(start, STEPS + 1):
                left[n] += seats * (1 + renewals[n - start])
    return tuple(left)


def _renewals(seconds: float, keeps: float, spread: float) -> float:
    passed = seconds / keeps
    return max(passed + (spread * spread - 1) / 2 * -math.expm1(-passed), 0.0)


def _frees(ready: Sequence[Instance], sight: Sight, keeps: float) -> Iterable[tuple[float, float]]:
    """(seconds from now, seats that fall free then)."""
    sizes = mix(ready) or (0.0, 1.0)
    for one in ready:
        if one.free_seats:
            yield 0.0, one.free_seats
        for ask in one.running.values():
            left = seconds_left(ask, one, sizes)
            yield (_share_left(ask) * keeps if left is None else left), 1.0
    for coming in sight.starting:
        yield from _coming(coming, sight.now)


def _coming(one: Starting, now: float) -> Iterable[tuple[float, float]]:
    """Its seats over the times at which it may serve: evenly about the median.

    Nine in ten are there by `late_at`, so all by a quarter of that distance more. What is over is
    left out: one that is later than that promises nothing.
    """
    half = 1.25 * max(one.late_at - one.ready_at, 0.0)
    start, end = max(one.ready_at - half, now), one.ready_at + half
    if end <= now:
        return
    parts = max(min(int((end - start) / STEP_SECONDS), STEPS), 1)
    for part in range(parts):
        yield start + (part + 0.5) * (end - start) / parts - now, one.seats / parts


def _share_left(ask: Ask) -> float:
    left = remaining_tokens(ask)
    return left / (left + ask.output_tokens)


def _seat_seconds(
    ready: Sequence[Instance], usual_seconds: float | None
) -> tuple[float | None, float]:
    """(mean seconds that a request keeps its seat, their coefficient of variation)."""
    sizes = mix(ready)
    kept = [
        service_seconds(one.pace, one.seats, *sizes)
        for one in ready
        if one.pace is not None and sizes is not None
    ]
    if not kept:
        return usual_seconds, 1.0
    seats = sum(one.seats for one in ready if one.pace is not None)
    rates = sum(
        one.seats / seconds
        for one, seconds in zip((one for one in ready if one.pace is not None), kept, strict=True)
    )
    return max(seats / rates, 1e-3), _spread(ready)


def _spread(ready: Sequence[Instance]) -> float:
    """Coefficient of variation of expected outputs, each weighted by one over its length."""
    running = [ask for one in ready for ask in one.running.values()]
    outputs = [max(ask.expected_output_tokens, 1.0) for ask in running]
    typical = len(outputs) / sum(1 / one for one in outputs)
    mean = sum(outputs) / len(outputs)
    # With weights 1 / x the mean is the harmonic one, and the mean square x harmonic.
    return math.sqrt(max(mean / typical - 1, 0.0))
