"""Requests that are sent to a second replica too, as the first has not begun to answer.

Source: Dean and Barroso, The Tail at Scale, CACM 56(2), 2013, "hedged requests": send the second
after the usual time has passed, take whichever answers first, cancel the other, and bound how many.

Both take a seat. Lines and limits know of the request once: the tenant pays for the answer it gets.
"""

from __future__ import annotations

import math
from collections import Counter, deque

from controller.gateway.ask import Ask
from controller.gateway.fitting import fitting, ready
from controller.gateway.gate import Gate
from controller.gateway.openai.reading import KNOWN
from controller.gateway.routing.base import Choice
from controller.gateway.twins import take_seat, twin_at, vacate

WINDOW_SECONDS = 60
OUTCOMES = ("sent", "won")


class Share:
    """At most such a share of the requests of the last minute, at any time.

    Counts by whole seconds, to the safe side: of requests those of the last 59 s and what there was
    of this one, of second ones those of up to 61 s.

    Args:
        ratio: 0 to 1.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._requests: deque[list[int]] = deque()
        self._second: deque[list[int]] = deque()

    def saw(self, now: float) -> None:
        """One more request."""
        _count(self._requests, math.floor(now))

    def takes(self, now: float) -> bool:
        """Whether one more may be sent twice; it counts from now on."""
        second = math.floor(now)
        requests = _since(self._requests, second - WINDOW_SECONDS + 1)
        sent = _since(self._second, second - WINDOW_SECONDS)
        if sent + 1 > self._ratio * requests:
            return False
        _count(self._second, second)
        return True


class Hedges:
    """See the head of this module. One event loop owns it.

    Args:
        gate: knows who has a seat.
        seconds: a replica may let a request wait so long for its first byte; None sends none twice.
        share: of requests in the last minute, at most.

    Attributes:
        counted: "sent", and of those "won" by the second replica.
    """

    def __init__(self, gate: Gate, seconds: float | None, share: float) -> None:
        self.seconds = seconds
        self.counted: Counter[str] = Counter()
        self._gate = gate
        self._share = Share(share)

    def saw(self, now: float) -> None:
        """A request was sent to a replica for the first time."""
        if self.seconds is not None:
            self._share.saw(now)

    def may_be(self, path: str, ask: Ask) -> bool:
        """Whether a request may be sent twice: one without effects that somebody waits for."""
        return self.seconds is not None and path in KNOWN and not ask.slo.is_best_effort

    def twin(self, ask: Ask, attempt: int, now: float) -> Ask | None:
        """The same request at another replica, which has a seat for it from now on.

        None where no other has one that nobody waits for, where too many were sent twice lately,
        once anything came, and while its prompt is computed apart.
        """
        gate, policies = self._gate, self._gate.policies
        if ask.has_first or gate.handing.has(ask) or gate.sight(ask.model, now).waiting:
            return None
        instances = gate.instances.values()
        tried = {ask.instance, *ask.tried}
        free = [
            one
            for one in fitting(ask, instances, policies.places, now)
            if one.role == "whole" and one.name not in tried
        ]  # fmt: skip
        if not free:
            return None
        choice = Choice(free, ready(ask.model, instances), now, gate.prefixes.cached_tokens)
        chosen = policies.way.choose(ask, choice)
        if chosen is None or not self._share.takes(now):
            return None
        cached_tokens = gate.prefixes.cached_tokens(ask, chosen.name)
        twin = twin_at(ask, chosen, attempt, cached_tokens)
        twin.started = now
        gate.paces.began(twin, chosen, now)
        gate.prefixes.sent(ask, chosen.name)
        self.counted["sent"] += 1
        return twin

    def lost(self, twin: Ask, now: float) -> None:
        """The first answered; the seat of the second is free."""
        vacate(self._gate, twin, now)

    def won(self, ask: Ask, twin: Ask, now: float, *, is_failed: bool) -> None:
        """The second goes on alone: the request is where its twin was, in its seat."""
        self.counted["won"] += 1
        way, first = self._gate.policies.way, self._gate.instances.get(ask.instance)
        if first is not None:
            way.ended(ask, first, now, is_failed=is_failed)
        vacate(self._gate, ask, now)
        ask.tried += (ask.instance,) if is_failed else ()
        way.sent(ask, take_seat(self._gate, ask, twin), now)


def _count(bins: deque[list[int]], second: int) -> None:
    if bins and bins[-1][0] == second:
        bins[-1][1] += 1
    else:
        bins.append([second, 1])
    while bins[0][0] < second - WINDOW_SECONDS:
        bins.popleft()


def _since(bins: deque[list[int]], second: int) -> int:
    return sum(count for at, count in bins if at >= second)
