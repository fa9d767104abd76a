"""A request that has a seat at two replicas at a time: its twin is booked at the second.

The twin has the number of its request, so that each replica knows it once. Lines and rules never
hear of it.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance

if TYPE_CHECKING:
    from controller.gateway.gate import Gate


def twin_at(ask: Ask, instance: Instance, attempt: int, cached_tokens: int) -> Ask:
    """A seat at another replica from now on.

    Args:
        ask: has one already.
        instance: another, with a free seat.
        attempt: which it is.
        cached_tokens: of the prompt that need not be computed there.
    """
    twin = copy.copy(ask)
    twin.instance, twin.attempt, twin.cached_tokens = instance.name, attempt, cached_tokens
    twin.is_computed = False
    instance.begins(twin)
    return twin


def vacate(gate: Gate, ask: Ask, now: float) -> None:
    """A request, or a twin, is over there; nothing is learnt of the replica's pace."""
    one = gate.instances.get(ask.instance)
    if one is None or not one.is_over(ask):
        return
    gate.paces.ended(ask, now, is_failed=True)
    if one.state == "down" and not one.running:
        gate.leave(one.name)


def take_seat(gate: Gate, ask: Ask, twin: Ask) -> Instance:
    """The request is where its twin was, in its seat, as the attempt that the twin was."""
    ask.instance, ask.attempt, ask.started = twin.instance, twin.attempt, twin.started
    ask.cached_tokens, ask.is_computed = twin.cached_tokens, twin.is_computed
    one = gate.instances[twin.instance]
    one.running[ask.number] = ask
    # Whoever still expects something of the twin is not to find it.
    twin.attempt = 0
    return one
