"""Which best-effort requests make way for one with a promise that waits and fits nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from controller.gateway.ask import Ask
from controller.gateway.fleet import Instance

MOST_ATTEMPTS = 3
"""A request that was started so often is left alone: it has to end some day."""


def untouched(ask: Ask) -> bool:
    """No token came of it, so none can have reached its client."""
    return not ask.has_first


def to_put_back(
    waiting: Iterable[Ask],
    instances: Sequence[Instance],
    *,
    may_go: Callable[[Ask], bool] = untouched,
    most_attempts: int = MOST_ATTEMPTS,
) -> list[Ask]:
    """Requests to hand to `Gate.put_back`, so that those that wait get their seats.

    One for each that waits and finds no free seat. Those that began last go first: they lose the
    least. Where a replica's cache is known to be full, as many more as make room for the prompt.

    Args:
        waiting: those that wait, by who goes next.
        instances: the fleet.
        may_go: whether a running request can be stopped without its client noticing. Of an answer
            that is not streamed nothing was sent before its end, so the proxy may know of more than
            `untouched` does.
        most_attempts: a request that was started so often stays.

    Returns:
        Best-effort requests that run, each once; empty where nobody with a promise waits.
    """
    taken: dict[str, int] = {}
    chosen: dict[int, Ask] = {}
    for ask in waiting:
        if ask.slo.is_best_effort:
            continue
        able = [one for one in instances if one.state == "ready" and one.answers(ask.model)]
        seated = next((one for one in able if one.free_seats > taken.get(one.name, 0)), None)
        if seated is not None:
            taken[seated.name] = taken.get(seated.name, 0) + 1
            continue
        found = _cheapest(ask, able, chosen, may_go, most_attempts)
        chosen.update((one.number, one) for one in found)
    return list(chosen.values())


def _cheapest(
    ask: Ask,
    instances: Sequence[Instance],
    chosen: dict[int, Ask],
    may_go: Callable[[Ask], bool],
    most_attempts: int,
) -> list[Ask]:
    """The fewest, and of those the youngest, on one replica."""
    offers = []
    for one in instances:
        able = [
            each
            for each in one.running.values()
            if each.slo.is_best_effort
            and each.number not in chosen
            and each.attempt < most_attempts
            and may_go(each)
        ]
        able.sort(key=lambda each: (-each.started, -each.number))
        needed = _making_room(ask, one, able)
        if needed:
            offers.append((len(needed), -needed[0].started, one.name, needed))
    return min(offers, key=lambda offer: offer[:3])[3] if offers else []


def _making_room(ask: Ask, instance: Instance, able: list[Ask]) -> list[Ask]:
    """The first of them that make room; empty where all of them would not."""
    if not able:
        return []
    free = None if instance.cache_tokens is None else instance.cache_tokens - instance.held_tokens
    for count in range(1, len(able) + 1):
        freed = sum(one.held_tokens for one in able[:count])
        if free is None or free + freed >= ask.input_tokens:
            return able[:count]
    return []
