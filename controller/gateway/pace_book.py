"""Learns how fast each replica is from what runs through the gate, and how requests compare.

Of an answer that is no stream nobody sees the first token: its seconds are learnt from as one
stretch, and its prompt counts as computed when that was expected, or at once while no pace is
known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from statistics import fmean, median

from controller.gateway.ask import Ask
from controller.gateway.estimates import expectation
from controller.gateway.fleet import Instance, Pace
from controller.gateway.pace_fit import PaceFit, PaceLimits
from controller.gateway.pace_ledger import Ledger
from controller.gateway.pace_terms import Work, seconds_of
from controller.gateway.paces import Measured

FRESH_SECONDS = 1.0
"""What a kind of replicas takes is found anew so often."""


@dataclass(slots=True)
class _Replica:
    """One replica, what runs there, what it is like; a told pace is not learnt anew."""

    instance: Instance
    fit: PaceFit
    ledger: Ledger
    is_told: bool


class PaceBook:
    """See the head of this module. Not thread-safe: one loop owns it.

    Args:
        limits: of learning.
    """

    def __init__(self, limits: PaceLimits | None = None) -> None:
        self._limits = limits or PaceLimits()
        self._replicas: dict[str, _Replica] = {}
        self._usuals: dict[frozenset[str], tuple[float, Pace | None]] = {}
        self._unseen: list[tuple[float, int, int, Ask]] = []

    # -- what the gate tells

    def joined(self, instance: Instance) -> None:
        """A replica serves from now on; what was learnt of it with other models is forgotten."""
        if instance.is_pace_learnt:
            instance.pace, instance.is_pace_learnt = None, False
        self._replicas[instance.name] = _Replica(
            instance, PaceFit(self._limits), Ledger(instance.ready_since), instance.pace is not None
        )

    def gone(self, name: str) -> None:
        """It left."""
        self._replicas.pop(name, None)
        kinds = {one.instance.models for one in self._replicas.values()}
        self._usuals = {models: told for models, told in self._usuals.items() if models in kinds}

    def began(self, ask: Ask, instance: Instance, now: float) -> None:
        """It was sent a request, which is booked there already."""
        replica = self._replicas[instance.name]
        own = ask.input_tokens - ask.cached_tokens
        replica.ledger.began(ask, instance.prompt_tokens_ahead - own, now)
        if ask.is_stream:
            return
        if instance.pace is None:
            replica.ledger.computed(ask, now)
        else:
            seconds, _ = expectation(instance, instance.pace)
            heappush(self._unseen, (now + seconds, ask.number, ask.attempt, ask))

    def first(self, ask: Ask, now: float) -> None:
        """The first token of a request came."""
        replica = self._replicas.get(ask.instance)
        if ask.is_stream and replica is not None:
            replica.ledger.computed(ask, now)

    def settle(self, now: float) -> None:
        """Prompts of answers that are no streams count as computed from when that was expected."""
        while self._unseen and self._unseen[0][0] <= now:
            _, number, attempt, ask = heappop(self._unseen)
            replica = self._replicas.get(ask.instance)
            if replica is None or number not in replica.instance.running:
                continue
            if ask.attempt == attempt:
                replica.ledger.computed(ask, now)
                replica.instance.computed(ask)

    def ended(self, ask: Ask, now: float, *, is_failed: bool) -> None:
        """A request is over there; a failed one teaches nothing."""
        replica = self._replicas.get(ask.instance)
        if replica is None:
            return
        works = [] if is_failed or replica.is_told else replica.ledger.works(ask, now)
        replica.ledger.over(ask, now)
        known = [work for work in works if work is not None]
        if not known:
            return
        replica.fit.saw(known, now, None if replica.fit.pace else self._like(replica))
        if replica.fit.pace is not None:
            replica.instance.pace = replica.fit.pace
            replica.instance.is_pace_learnt = True

    # -- what others ask

    def measured(self, ask: Ask, now: float) -> Measured:
        """How a request went that ends now; ask before it is said to have ended."""
        replica = self._replicas.get(ask.instance)
        first, after, _ = replica.ledger.works(ask, now) if replica else (None, None, None)
        usual = self._usual(replica, now) if replica else None
        if usual is None:
            gap = after.seconds / after.steps if after else None
            return Measured(first.seconds if first else None, gap, is_multiple=False)
        return Measured(_times(first, usual), _times(after, usual), is_multiple=True)

    def rows(self, name: str) -> tuple[int, int]:
        """Stretches of time at a replica: learnt from, and left out as they made no sense."""
        replica = self._replicas.get(name)
        return (replica.fit.rows, replica.fit.ignored) if replica else (0, 0)

    @property
    def is_even(self) -> bool:
        """Whether nothing is kept of requests: as it is where none runs."""
        return not self._unseen and all(one.ledger.is_even for one in self._replicas.values())

    # -- inside

    def _like(self, replica: _Replica) -> Pace | None:
        """The mean of the known paces of its kind."""
        paces = [
            one.instance.pace
            for one in self._group(replica)
            if one is not replica and one.instance.pace is not None
        ]
        return _middle(paces, fmean) if paces else None

    def _usual(self, replica: _Replica, now: float) -> Pace | None:
        """What its kind takes; None until all of it that are ready are known.

        From then on it is told for newcomers, too: what they take is compared with what others do.
        """
        models = replica.instance.models
        at, usual = self._usuals.get(models, (-math.inf, None))
        if now - at < FRESH_SECONDS:
            return usual
        group = self._group(replica)
        known = [one.instance.pace for one in group if one.instance.pace is not None]
        is_whole = all(one.instance.pace for one in group if one.instance.state == "ready")
        pace = _middle(known, median) if known and (usual is not None or is_whole) else None
        self._usuals[models] = (now, pace)
        return pace

    def _group(self, replica: _Replica) -> list[_Replica]:
        models = replica.instance.models
        return [one for one in self._replicas.values() if one.instance.models == models]


def _middle(paces: Sequence[Pace], of: Callable[[list[float]], float]) -> Pace:
    """Each number by itself."""
    return Pace(*(of(list(terms)) for terms in zip(*(pace.terms for pace in paces), strict=True)))


def _times(work: Work | None, pace: Pace) -> float | None:
    """Seconds as a multiple of what was expected."""
    if work is None:
        return None
    expected = seconds_of(pace, work)
    return work.seconds / expected if expected > 0 else None
