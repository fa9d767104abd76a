"""Around any way: replicas that are new, or slower than their peers, get less than the others.

A replica with share s of what its peers have is offered to the inner way while

    running + 1 <= s x (mean running of the others + 1)

and, where it has nothing to do, to a share s of the requests, so that it always gets some. Where
nobody else has a place it is offered, too: a free seat is better than a queue.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance
from controller.gateway.routing.base import Choice, Way, WaySpec
from controller.gateway.routing.turns import mean_running, name_bits, share
from store.errors import ControllerError

SLOW_START = WaySpec(
    "slow-start",
    "New replicas start slowly",
    "Envoy slow_start_config and nginx slow_start; here a limit on what runs there",
    {"seconds": 60.0, "first_ratio": 0.1},
)
DEGRADATION_AWARE = WaySpec(
    "degradation-aware",
    "Slower replicas get less",
    "weight 1 / (1 + degradation), as weighted least-request in Envoy",
    {"least_ratio": 0.1},
)
ShareOf = Callable[[Instance, float], float]
"""What a replica shall have of what its peers have, 0 to 1; from it and the time."""


def slow_start(inner: Way, seconds: float = 60.0, first_ratio: float = 0.1) -> HeldBack:
    """A new replica's share grows in a straight line.

    Args:
        inner: chooses among those that are offered.
        seconds: until it is treated as all others.
        first_ratio: share at the start, above 0, at most 1.

    Raises:
        ControllerError: a value is out of range.
    """
    if not (seconds > 0 and 0 < first_ratio <= 1):
        raise ControllerError(
            "slow-start: a parameter is out of range", hint="seconds > 0, first_ratio above 0 to 1"
        )

    def share_of(one: Instance, now: float) -> float:
        age = max(now - one.ready_since, 0.0)
        return min(first_ratio + (1 - first_ratio) * age / seconds, 1.0)

    return HeldBack(inner, SLOW_START, share_of, seconds=seconds, first_ratio=first_ratio)


def degradation_aware(inner: Way, least_ratio: float = 0.1) -> HeldBack:
    """A replica that is twice as slow as its peers gets half of what they get.

    Args:
        inner: chooses among those that are offered.
        least_ratio: share of the slowest, above 0, at most 1: without any request it could never
            show that it has recovered.

    Raises:
        ControllerError: a value is out of range.
    """
    if not 0 < least_ratio <= 1:
        raise ControllerError(
            "degradation-aware: least_ratio is out of range", hint="above 0, at most 1"
        )

    def share_of(one: Instance, now: float) -> float:
        return max(1 / (1 + max(one.degradation_ratio or 0.0, 0.0)), least_ratio)

    return HeldBack(inner, DEGRADATION_AWARE, share_of, least_ratio=least_ratio)


class HeldBack:
    """Offers some replicas less often; see the head of this module.

    Args:
        inner: chooses among those that are offered.
        spec: of the wrapper.
        share_of: what each replica shall have of what its peers have.
        parameters: for the spec.
    """

    def __init__(self, inner: Way, spec: WaySpec, share_of: ShareOf, **parameters: float) -> None:
        self.spec = WaySpec(
            f"{spec.name}({inner.spec.name})",
            f"{inner.spec.title}; {spec.title[0].lower()}{spec.title[1:]}",
            f"{spec.source}; {inner.spec.source}",
            {**inner.spec.parameters, spec.name: dict(parameters)},
            inner.spec.may_starve,
        )
        self.inner = inner
        self._share_of = share_of

    def choose(self, ask: Ask, choice: Choice) -> Instance | None:
        """What the inner way chooses among those that are not held back now."""
        # What all share is no reason to hold anybody back: at a gateway's start all are new.
        highest = max((self._share_of(one, choice.now) for one in choice.fleet), default=1.0)
        offered = [one for one in choice.free if self._is_offered(one, ask, choice, highest)]
        if len(offered) == len(choice.free) or not offered:
            return self.inner.choose(ask, choice)
        return self.inner.choose(ask, Choice(offered, choice.fleet, choice.now, choice.kept))

    def _is_offered(self, one: Instance, ask: Ask, choice: Choice, highest: float) -> bool:
        ratio = self._share_of(one, choice.now) / highest
        if ratio >= 1:
            return True
        if not one.running:
            return share(ask.number * 64 + ask.attempt, name_bits(one.name)) < ratio
        others = mean_running(choice.fleet, without=one.name)
        return len(one.running) + 1 <= ratio * (others + 1)

    def sent(self, ask: Ask, instance: Instance, now: float) -> None:
        """The inner way counts."""
        self.inner.sent(ask, instance, now)

    def ended(self, ask: Ask, instance: Instance, now: float, *, is_failed: bool) -> None:
        """The inner way learns."""
        self.inner.ended(ask, instance, now, is_failed=is_failed)

    def gone(self, name: str) -> None:
        """The inner way forgets."""
        self.inner.gone(name)
