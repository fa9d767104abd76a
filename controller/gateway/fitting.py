"""Which replicas could take a request now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controller.gateway.admission.base import Place
from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance


def fitting(
    ask: Ask, instances: Iterable[Instance], places: Sequence[Place], now: float
) -> list[Instance]:
    """Those that answer to its model, have a free seat, and on which all places let it in."""
    return [
        one
        for one in instances
        if one.free_seats
        and one.role != "decode"
        and one.answers(ask.model)
        and all(place.has_room(ask, one, now) for place in places)
    ]


def ready(model: str, instances: Iterable[Instance]) -> list[Instance]:
    """Those that serve a model, busy ones too."""
    return [one for one in instances if one.state == "ready" and one.answers(model)]
