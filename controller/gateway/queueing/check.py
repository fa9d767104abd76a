"""What every line must do: run it against one of your own.

check_line(lambda: MyLine())
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from controller.gateway.ask import Ask, SloClass
from controller.gateway.queueing.base import Line, Room

Make = Callable[[], Line]
FLOOD = 400
MOST_SERVICE_PASSED = 100_000.0
"""Service that a flood may have while a newcomer waits, where a line says it is bounded."""


def check_line(make: Make, *, steps: int = 1_500) -> None:
    """Raise AssertionError at the first promise of `queueing.base` that is broken.

    Args:
        make: gives a new one, the same each time.
        steps: of each course.
    """
    _spec_is_whole(make())
    for seed in range(3):
        order = _Course(make(), seed).run(steps)
        _expect(order == _Course(make(), seed).run(steps), make(), "answers otherwise again")
    _ties_go_by_arrival(make())
    _forgets_those_that_left(make())
    _priority_goes_first(make())
    _models_stand_apart(make())
    _bears_strangers(make())
    _a_flood_stops_nobody(make())


def ask(number: int, tenant: str = "a", arrived: float | None = None, **more: object) -> Ask:
    """A request of 100 tokens that expects 50, and will have them."""
    at = float(number) if arrived is None else arrived
    told = {"input_tokens": 100, "expected_output_tokens": 50.0, "likely_output_tokens": 80.0}
    return Ask(number, at, tenant, "m", **{**told, **more})  # type: ignore[arg-type]


def all_fit(fits: Callable[[Ask], bool] = lambda ask: True) -> Room:
    """One replica that has room for whom it has."""
    return Room(fits, where=lambda ask: "one")


class _Course:
    """Random arrivals, places, leavings, failures; nobody may be lost or go twice."""

    def __init__(self, line: Line, seed: int) -> None:
        self.line, self.dice, self.now = line, random.Random(seed), 0.0  # noqa: S311
        self.waiting: dict[int, Ask] = {}
        self.running: list[Ask] = []
        self.order: list[int] = []
        self.next = 0

    def run(self, steps: int) -> list[int]:
        for _ in range(steps):
            self.now += self.dice.expovariate(20.0)
            draw = self.dice.random()
            if draw < 0.35:
                self._arrive()
            elif draw < 0.7:
                self._take()
            elif draw < 0.75 and self.waiting:
                self._leave()
            elif self.running:
                self._goes_on()
        for _ in range(100 + 5 * len(self.waiting)):
            self._take()
            # Lines that let replicas idle want time to pass.
            self.now += 1.0 if self.line.spec.is_work_conserving else 15.0
        _expect(not self.waiting, self.line, f"never gave {len(self.waiting)} of those that wait")
        _expect(self.line.take(all_fit(), self.now) is None, self.line, "gave one too many")
        return self.order

    def _arrive(self) -> None:
        more = {
            "input_tokens": self.dice.randint(1, 900),
            "expected_output_tokens": self.dice.uniform(1, 400),
            "weight": (0.5, 1.0, 4.0)[self.dice.randrange(3)],
            "session": f"s{self.dice.randrange(4)}",
            "prefix": tuple(range(self.dice.randrange(5))),
            "slo": SloClass(priority=self.dice.randrange(2)),
        }
        tenant = f"t{self.dice.randrange(6)}"
        more["weight"] = (0.5, 1.0, 4.0)[int(tenant[1]) % 3]
        one = ask(self.next, tenant, self.now, **more)
        self.next += 1
        self.waiting[one.number] = one
        self.line.put(one, self.now)

    def _take(self) -> None:
        one = self.line.take(Room(lambda _: True, lambda a: 64 * len(a.prefix) // 2), self.now)
        if one is None:
            is_wrong = self.line.spec.is_work_conserving and self.waiting
            _expect(not is_wrong, self.line, "gave nobody though somebody waits and all fit")
            return
        _expect(one.number in self.waiting, self.line, f"gave {one.number}, which does not wait")
        self.order.append(one.number)
        self.running.append(self.waiting.pop(one.number))
        one.instance, one.started = "one", self.now

    def _leave(self) -> None:
        one = self.waiting.pop(self.dice.choice(list(self.waiting)))
        _expect(self.line.drop(one), self.line, "does not know one that waits")
        _expect(not self.line.drop(one), self.line, "dropped one twice")

    def _goes_on(self) -> None:
        one = self.running[self.dice.randrange(len(self.running))]
        if self.dice.random() < 0.7:
            tokens = self.dice.randint(1, 60)
            one.output_tokens += tokens
            self.line.served(one, tokens, is_over=False, now=self.now)
            return
        self.running.remove(one)
        self.line.served(one, 0, is_over=True, now=self.now)
        if self.dice.random() < 0.2:
            one.instance, one.output_tokens, one.attempt = "", 0, one.attempt + 1
            self.waiting[one.number] = one
            self.line.put(one, self.now)


def _spec_is_whole(line: Line) -> None:
    spec = line.spec
    _expect(bool(spec.name and spec.title and spec.source), line, "the spec says too little")
    _expect(spec.name == spec.name.lower(), line, "names are lower case")


def _ties_go_by_arrival(line: Line) -> None:
    asks = [ask(number) for number in range(20)]
    for one in sorted(asks, key=lambda one: one.number * 7 % 20):
        line.put(one, 20.0)
    _expect(_all(line, 21.0) == list(range(20)), line, "does not decide ties by arrival")


def _forgets_those_that_left(line: Line) -> None:
    asks = [ask(number, f"t{number % 3}") for number in range(30)]
    for one in asks:
        line.put(one, one.arrived)
    gone = asks[::2]
    for one in gone:
        _expect(line.drop(one), line, "does not know one that waits")
    _expect(sorted(_all(line, 40.0)) == list(range(1, 30, 2)), line, "gave one that left")
    for one in gone:
        line.put(one, 50.0)
    _expect(len(_all(line, 50.0)) == len(gone), line, "lost one that came back")


def _priority_goes_first(line: Line) -> None:
    high = SloClass("high", priority=1)
    for number in range(10):
        line.put(ask(number, f"t{number % 2}"), float(number))
    for number in range(10, 15):
        line.put(ask(number, "t0", slo=high), float(number))
    first = [one.number for one in _taken(line, 16.0, 5)]
    _expect(sorted(first) == list(range(10, 15)), line, "lets a lower priority go first")


def _models_stand_apart(line: Line) -> None:
    for number in range(6):
        line.put(replace(ask(number), model="mn"[number % 2]), float(number))
    one = line.take(all_fit(lambda ask: ask.model == "n"), 7.0)
    _expect(one is not None and one.model == "n", line, "one model makes another wait")
    nobody = line.take(all_fit(lambda ask: False), 7.0)
    _expect(nobody is None, line, "gives one that does not fit")
    _expect(len(_all(line, 8.0)) == 5, line, "lost one that did not fit")


def _bears_strangers(line: Line) -> None:
    """Those that run when lines are changed were taken by another."""
    stranger = ask(1, "stranger", output_tokens=30)
    line.served(stranger, 30, is_over=False, now=1.0)
    line.served(stranger, 0, is_over=True, now=2.0)
    _expect(not line.drop(stranger), line, "knows one that it was never given")
    for number in range(2, 8):
        line.put(ask(number, "stranger" if number % 2 else "a"), 3.0)
    _expect(len(_all(line, 4.0)) == 6, line, "stops after it heard of a stranger")


def _a_flood_stops_nobody(line: Line) -> None:
    """Whoever comes to a line that is bounded has not to wait for all of a flood."""
    if not line.spec.is_bounded:
        return
    for number in range(FLOOD):
        line.put(ask(number, "flood", 0.0, input_tokens=500), 0.0)
    for one in _taken(line, 1.0, 20):
        _serve(line, one, 1.0)
    line.put(ask(FLOOD, "other", 2.0), 2.0)
    passed = 0.0
    for one in _taken(line, 2.0, FLOOD):
        if one.tenant == "other":
            break
        _serve(line, one, 2.0)
        passed += 600.0
    _expect(passed <= MOST_SERVICE_PASSED, line, f"lets a flood have {passed:,.0f} before others")


def _serve(line: Line, one: Ask, now: float) -> None:
    one.output_tokens = 50
    line.served(one, 50, is_over=False, now=now)
    line.served(one, 0, is_over=True, now=now)


def _all(line: Line, now: float) -> list[int]:
    """Everybody, in turn; time passes where the line wants it to."""
    found: list[int] = []
    for turn in range(300):
        one = line.take(all_fit(), now + turn * (0.0 if line.spec.is_work_conserving else 10.0))
        if one is not None:
            found.append(one.number)
    return found


def _taken(line: Line, now: float, most: int) -> Iterable[Ask]:
    for _ in range(most):
        one = line.take(all_fit(), now)
        if one is None:
            return
        yield one


def _expect(is_kept: bool, line: Line, text: str) -> None:
    if not is_kept:
        raise AssertionError(f"{line.spec.name} {text}")
