"""What every rule and every place must do: run it against one of your own.

check_rule(MyRule)
check_place(MyPlace)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from controller.gateway.admission.always import Always
from controller.gateway.admission.base import Lasting, Limited, Place, Refusal, Rule, RuleSpec
from controller.gateway.ask import Ask, SloClass
from controller.gateway.fleet import Instance, Pace, Sight, Starting

_ONLINE = SloClass("online", 2.0, 0.1)
_BATCH = SloClass("batch", None, None, -1, is_best_effort=True)
_STATUSES = (429, 503)
_LONG = 3_000
_MANY = 100


def check_rule(make: Callable[[], Rule]) -> None:
    """Raise AssertionError at the first promise of `Rule` that is broken.

    Args:
        make: gives a new one, its limits as they are tried in earnest.
    """
    rule = make()
    _spec_is_whole(rule.spec)
    for sight in awkward_sights():
        for ask in asks():
            _judges(rule, ask, sight)
    _forgets(make())
    _goes_on(make)
    _bears_strangers(make())


def check_place(make: Callable[[], Place]) -> None:
    """Raise AssertionError at the first promise of `Place` that is broken.

    Args:
        make: gives a new one.
    """
    place = make()
    name = place.spec.name
    _spec_is_whole(place.spec)
    for sight in awkward_sights():
        for one in sight.instances:
            for ask in asks():
                before = (ask.output_tokens, ask.instance, len(one.running), one.held_tokens)
                said = place.has_room(ask, one, sight.now)
                _expect(isinstance(said, bool), f"{name} says {said!r}, not whether there is room")
                _expect(place.has_room(ask, one, sight.now) is said, f"{name} says otherwise twice")
                after = (ask.output_tokens, ask.instance, len(one.running), one.held_tokens)
                _expect(before == after, f"{name} changes what it is shown")
    empty = Instance("empty", "", seats=8, cache_tokens=100, pace=Pace(1e-3, 1.0, 1.0))
    large = Ask(900_000, 0.0, "a", "m", 100_000, 10_000.0, 20_000.0, slo=_ONLINE)
    _expect(make().has_room(large, empty, 1e6), f"{name}: nobody may start where nothing runs")
    for number in range(_LONG):
        ask = Ask(number, 0.0, "a", "m", 10, 5.0, 9.0)
        place.entered(ask, 1e4 + number)
        place.ended(ask, 1e4 + number)


def asks() -> list[Ask]:
    """Requests of several kinds."""
    return [
        Ask(1, 0.0, "a", "m", 100, 50.0, 90.0, slo=_ONLINE),
        Ask(2, 0.0, "b", "m", 1, 1.0, 1.0, most_output_tokens=1),
        Ask(3, 0.0, "a", "m", 200_000, 5_000.0, 9_000.0, slo=SloClass("hurry", 1e-6, 1e-6, 9)),
        Ask(4, 0.0, "c", "m", 500, 100.0, 300.0, slo=_BATCH, weight=0.1),
    ]


def awkward_sights() -> Iterator[Sight]:
    """Fleets that a rule must bear, in the order of time."""
    pace = Pace(1e-4, 0.02, 1e-3)
    yield Sight(0.0, ())
    yield Sight(1.0, (), (Starting(20.0, 30.0, 8),), 5, {"a": 5}, 700.0)
    yield Sight(2.0, (_busy("x", 4, 4, None, None),))
    yield Sight(3.0, (_busy("x", 4, 0, 0, Pace(0.0, 0.0, 0.0)),))
    yield Sight(4.0, (_busy("x", 0, 0, 1000, pace),), (), 3, {"b": 3}, 10.0, 0.0, 0.0)
    some = (_busy("x", 8, 8, 4_000, pace), _busy("y", 8, 3, 100_000, pace))
    yield Sight(5.0, some, (Starting(1.0, 2.0, 8),), 0, {}, 0.0, 2.0, 900.0)
    yield Sight(6.0, some, (), 50, {"a": 50}, 7_500.0, 2.0, 900.0, 7.5)
    yield Sight(6.0, some, (), 100_000, {"a": 100_000}, 1e9, 1e-9, 1e-9, 1e5)
    down = _busy("z", 8, 2, 4_000, pace)
    down.state = "draining"
    yield Sight(7.0, (down,), (), 1, {"a": 1}, 100.0)
    # The clock of another process.
    yield Sight(-1e6, some)


def _busy(name: str, seats: int, running: int, cache: int | None, pace: Pace | None) -> Instance:
    one = Instance(name, "", seats=seats, cache_tokens=cache, pace=pace)
    for number in range(running):
        ask = Ask(1_000 + number, 0.0, "ab"[number % 2], "m", 300, 60.0, 100.0)
        ask.started, ask.instance = 0.5, name
        one.begins(ask)
        if number % 3:
            one.produced(ask, 40 * number, 1.0)
    return one


def _judges(rule: Rule, ask: Ask, sight: Sight) -> None:
    name = rule.spec.name
    said = rule.judge(ask, sight)
    _expect(rule.judge(ask, sight) == said, f"{name} says otherwise twice: judging books nothing")
    if said is not None:
        _is_told_well(name, said)


def _is_told_well(name: str, said: Refusal) -> None:
    _expect(bool(said.code) and said.code == said.code.lower(), f"{name}: no word for machines")
    _expect(" " in said.text, f"{name}: no sentence for people")
    _expect(said.status in _STATUSES, f"{name}: status {said.status}")
    _expect(said.unit in ("requests", "tokens"), f"{name}: unit {said.unit}")
    for field in ("wait_seconds", "limit", "remaining", "ahead"):
        value = getattr(said, field)
        is_good = value is None or (math.isfinite(value) and value >= 0)
        _expect(is_good, f"{name}: {field} is {value}")
    is_waiting = said.wait_seconds is not None or said.ahead is not None
    _expect(not (said.is_final and is_waiting), f"{name}: final, and yet worth waiting for")


def _forgets(rule: Rule) -> None:
    """Who left without being served costs nothing: after any number of them it is as before."""
    ask = Ask(0, 0.0, "a", "m", 10, 5.0, 9.0)
    one = _busy("x", 64, 0, None, None)
    at = 1e5
    before = rule.judge(ask, Sight(at, (one,)))
    for number in range(1, _LONG):
        gone = Ask(number, at, "a", "m", 10, 5.0, 9.0)
        rule.entered(gone, at)
        rule.ended(gone, at)
    after = rule.judge(ask, Sight(at + 90_000.0, (one,)))
    _expect(before == after, f"{rule.spec.name} holds those that left against the next")
    if isinstance(rule, Limited):
        for told in rule.allowances("a", at):
            _expect(0 <= told.remaining <= told.limit, f"{rule.spec.name}: {told} cannot be")
            _expect(told.reset_seconds >= 0, f"{rule.spec.name}: {told} cannot be")


def _goes_on(make: Callable[[], Rule]) -> None:
    """Books outlive a change of what decides, with those that run; a rule without any needs not."""
    rule, at = make(), 1e5
    asked, sight = Ask(0, at, "a", "m", 10, 5.0, 9.0), Sight(at, (_busy("x", 64, 0, None, None),))
    inside = [Ask(number, at, "a", "m", 10, 5.0, 9.0) for number in range(1, _MANY)]
    for one in inside:
        rule.entered(one, at)
    name, said = rule.spec.name, rule.judge(asked, sight)
    if not isinstance(rule, Lasting):
        _expect(said == make().judge(asked, sight), f"{name} has books and no take_over")
        return
    after = make()
    for before in (rule, Always()):
        if isinstance(after, Lasting):
            after.take_over(before, at)
    _expect(after.judge(asked, sight) == said, f"{name} forgets its books when policies change")
    for one in inside[1:]:
        one.started, one.output_tokens = at, 7
        rule.ended(one, at)
        after.ended(one, at)
    said = rule.judge(asked, sight)
    _expect(after.judge(asked, sight) == said, f"{name} forgets what runs when policies change")
    if isinstance(rule, Limited) and isinstance(after, Limited):
        told = rule.allowances("a", at)
        _expect(after.allowances("a", at) == told, f"{name} tells of another rest after a change")


def _bears_strangers(rule: Rule) -> None:
    """Policies change while requests run: some end of which a rule never heard."""
    stranger = Ask(77, 0.0, "a", "m", 10, 5.0, 9.0)
    rule.ended(stranger, 1.0)
    rule.entered(stranger, 2.0)
    rule.ended(stranger, 3.0)
    rule.ended(stranger, 3.0)


def _spec_is_whole(spec: RuleSpec) -> None:
    _expect(
        bool(spec.name and spec.title and spec.source), f"{spec.name}: the spec says too little"
    )
    _expect(spec.name == spec.name.lower(), f"{spec.name}: names are lower case")


def _expect(is_kept: bool, text: str) -> None:
    if not is_kept:
        raise AssertionError(text)
