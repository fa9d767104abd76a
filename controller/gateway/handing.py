"""Requests whose prompt is computed at one replica, and whose output at another.

A request that is sent to a prefill replica takes a seat of a decoding one with it, from the
beginning: so that nobody computes a prompt for which there is no place to go on. When its prompt is
done it moves there.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from controller.gateway.ask import Ask
from controller.gateway.fitting import ready
from controller.gateway.fleet import Instance
from controller.gateway.routing.base import Decoders, Way
from controller.gateway.twins import take_seat, twin_at, vacate

if TYPE_CHECKING:
    from controller.gateway.gate import Gate


@runtime_checkable
class _Around(Protocol):
    inner: Way


class Handing:
    """See the head of this module. The gate tells it of what begins and ends.

    Args:
        gate: its seats.

    Attributes:
        counted: requests that moved: "with_cache", or "without" where the prefill replica told
            nothing to find its cache by.
    """

    def __init__(self, gate: Gate) -> None:
        self.counted: Counter[str] = Counter()
        self._gate = gate
        self._twins: dict[int, Ask] = {}

    def began(self, ask: Ask, instance: Instance) -> None:
        """A request was sent to a replica."""
        if instance.role != "prefill":
            return
        way = _decoders(self._gate.policies.way)
        if way is None:
            return
        decoder = way.decoder(ask, ready(ask.model, self._gate.instances.values()))
        if decoder is not None:
            # Its prompt comes from elsewhere.
            twin = twin_at(ask, decoder, ask.attempt + 1, ask.input_tokens)
            self._twins[ask.number] = twin
            way.sent(twin, decoder, ask.started)

    def has(self, ask: Ask) -> bool:
        """Whether it is at a prefill replica, and is to move."""
        return ask.number in self._twins

    def over(self, ask: Ask, now: float) -> None:
        """It will not move: the seat is free."""
        twin = self._twins.pop(ask.number, None)
        if twin is None:
            return
        way, decoder = _decoders(self._gate.policies.way), self._gate.instances[twin.instance]
        if way is not None:
            way.ended(twin, decoder, now, is_failed=False)
        vacate(self._gate, twin, now)

    def move(self, ask: Ask, now: float, *, has_cache: bool) -> None:
        """Its prompt is done: it goes on where its output is computed, and frees the other seat."""
        self.counted["with_cache" if has_cache else "without"] += 1
        first = self._gate.instances.get(ask.instance)
        if first is not None:
            self._gate.policies.way.ended(ask, first, now, is_failed=False)
        vacate(self._gate, ask, now)
        take_seat(self._gate, ask, self._twins.pop(ask.number))


def _decoders(way: Way) -> Decoders | None:
    """The way that knows decoding replicas, whatever is around it."""
    while isinstance(way, _Around):
        way = way.inner
    return way if isinstance(way, Decoders) else None
