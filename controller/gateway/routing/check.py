"""What every way must do: run it against one of your own.

check_way(lambda: MyWay())
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

from controller.gateway.ask import PREFIX_BLOCK_TOKENS, Ask
from controller.gateway.fleet import Instance, Pace
from controller.gateway.prefixes import Prefixes
from controller.gateway.routing.base import Choice, Way

Make = Callable[[], Way]
MOST_KEPT = 250_000
"""Things a way may remember, whoever comes and goes."""
_COURSE = 600


def check_way(make: Make, *, steps: int = _COURSE) -> None:
    """Raise AssertionError at the first promise of `routing.base` that is broken.

    Args:
        make: gives a new one, the same each time.
        steps: requests of each course.
    """
    _spec_is_whole(make())
    for count in (0, 1, 2, 100):
        _bears(make, count, steps if count < 100 else steps // 4)
    _is_the_same_again(make, steps)
    _starves_nobody(make, steps)
    _forgets_the_gone(make, steps)


class _Fleet:
    """Replicas that take requests for a while, without a clock or a queue."""

    def __init__(self, way: Way, count: int, seed: int = 7, seats: int = 4) -> None:
        self.way, self.dice, self.prefixes = way, random.Random(seed), Prefixes()  # noqa: S311
        self.instances: dict[str, Instance] = {}
        self.running: list[tuple[Ask, Instance]] = []
        self.now, self.number = 0.0, 0
        for number in range(count):
            self.join(f"replica-{number}", seats)

    def join(self, name: str, seats: int = 4) -> None:
        pace = Pace(1e-4, 0.02, 3e-4) if self.dice.random() < 0.5 else None
        self.instances[name] = Instance(
            name, f"http://{name}", seats=seats, pace=pace, ready_since=self.now,
            degradation_ratio=self.dice.choice((None, 0.0)),
        )  # fmt: skip

    def ask(self) -> Ask:
        """One of several conversations that share a beginning."""
        self.number += 1
        session, turn = self.dice.randrange(50), self.dice.randrange(1, 9)
        tenant = session % 5
        prefix = tuple(1000 * tenant + block for block in range(3)) + tuple(
            10**6 + 1000 * session + block for block in range(turn)
        )
        prefix = prefix if self.number % 7 else ()
        return Ask(
            self.number, self.now, f"t{tenant}", "m", len(prefix) * PREFIX_BLOCK_TOKENS + 20,
            self.dice.choice((1.0, 50.0, 900.0)), 1000.0,
            session=f"s{session}" if self.number % 3 else "", prefix=prefix,
        )  # fmt: skip

    def choice(self) -> Choice:
        fleet = list(self.instances.values())
        free = [one for one in fleet if one.free_seats]
        return Choice(free, fleet, self.now, self.prefixes.cached_tokens)

    def step(self) -> Instance | None:
        """One request comes; some end."""
        self.now += self.dice.expovariate(1.0)
        ask, choice = self.ask(), self.choice()
        one = self.way.choose(ask, choice)
        again = self.way.choose(ask, choice)
        name = self.way.spec.name
        _expect(one is again, f"{name}: asked twice, it answers otherwise")
        if one is not None:
            _expect(any(one is each for each in choice.free), f"{name}: chose one not offered")
            ask.cached_tokens = self.prefixes.cached_tokens(ask, one.name)
            ask.instance = one.name
            one.begins(ask)
            self.way.sent(ask, one, self.now)
            self.prefixes.sent(ask, one.name)
            self.running.append((ask, one))
        while self.running and self.dice.random() < 0.55:
            self.end(self.dice.randrange(len(self.running)))
        return one

    def end(self, place: int) -> None:
        ask, one = self.running.pop(place)
        if self.dice.random() < 0.8:
            one.produced(ask, 5, self.now)
        one.is_over(ask)
        self.way.ended(ask, one, self.now, is_failed=self.dice.random() < 0.1)

    def leave(self, name: str) -> None:
        """All it has fails; then it is gone."""
        for ask, one in [pair for pair in self.running if pair[1].name == name]:
            self.running.remove((ask, one))
            one.is_over(ask)
            self.way.ended(ask, one, self.now, is_failed=True)
        del self.instances[name]
        self.prefixes.gone(name)
        self.way.gone(name)


def _spec_is_whole(way: Way) -> None:
    spec = way.spec
    _expect(
        bool(spec.name and spec.title and spec.source), f"{spec.name}: the spec says too little"
    )
    _expect(spec.name == spec.name.lower(), f"{spec.name}: names are lower case")


def _bears(make: Make, count: int, steps: int) -> None:
    """None, one, many: chosen is one of those offered, and not nobody for ever."""
    fleet = _Fleet(make(), count)
    chosen = [fleet.step() for _ in range(steps)]
    name = fleet.way.spec.name
    if count == 0:
        _expect(all(one is None for one in chosen), f"{name}: chose where there was nobody")
    else:
        _expect(any(one is not None for one in chosen), f"{name}: never chose any of {count}")


def _is_the_same_again(make: Make, steps: int) -> None:
    """The same course, the same choices: no dice but seeded ones, no clock."""
    first, second = _Fleet(make(), 5), _Fleet(make(), 5)
    for step in range(steps):
        one, other = first.step(), second.step()
        same = (one and one.name) == (other and other.name)
        _expect(same, f"{first.way.spec.name}: request {step} went elsewhere in an equal course")


def _starves_nobody(make: Make, steps: int) -> None:
    """Equal replicas that have places all get something."""
    way = make()
    if way.spec.may_starve:
        return
    fleet = _Fleet(way, 4)
    got = Counter(one.name for one in (fleet.step() for _ in range(steps)) if one is not None)
    idle = [name for name in fleet.instances if not got[name]]
    _expect(not idle, f"{way.spec.name}: {', '.join(idle)} got none of {steps} requests")


def _forgets_the_gone(make: Make, steps: int) -> None:
    """Replicas come and go for ever: nothing of them stays, and little at all."""
    fleet = _Fleet(make(), 3)
    name = fleet.way.spec.name
    fleet.way.gone("never-heard-of")
    for step in range(steps):
        fleet.step()
        if step % 10 == 9:
            fleet.leave(next(iter(fleet.instances)))
            fleet.join(f"replica-{step}-new")
    gone = list(fleet.instances)
    for one in gone:
        fleet.leave(one)
    names = {text for text in _texts(fleet.way) if "replica-" in text}
    _expect(not names, f"{name}: remembers {', '.join(sorted(names)[:3])}, which left")
    _expect(_count(fleet.way) <= MOST_KEPT, f"{name}: remembers more than {MOST_KEPT:,} things")


def _parts(thing: Any) -> Iterator[Any]:
    if isinstance(thing, Mapping):
        yield from thing.keys()
        yield from thing.values()
    elif isinstance(thing, Sequence | Set) and not isinstance(thing, str | bytes):
        yield from thing
    elif not callable(thing):
        yield from getattr(thing, "__dict__", {}).values()
        for name in getattr(type(thing), "__slots__", ()):
            yield getattr(thing, name, None)


def _walk(thing: Any) -> Iterator[Any]:
    seen: set[int] = set()
    stack = [thing]
    while stack:
        one = stack.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if not isinstance(one, str | int | float):
            stack += list(_parts(one))


def _texts(thing: Any) -> Iterator[str]:
    return (one for one in _walk(thing) if isinstance(one, str))


def _count(thing: Any) -> int:
    return sum(1 for _ in _walk(thing))


def _expect(is_kept: bool, text: str) -> None:
    if not is_kept:
        raise AssertionError(text)
