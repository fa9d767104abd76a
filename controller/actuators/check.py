"""What every actuator must do: run it against one of your own.

    await check_actuator(make, world)

A world is the platform as a test holds it: what it was really told, and its faults. What a platform
cannot suffer (nobody refuses a number that we only publish) is None and not checked; the promises
that were checked come back by name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from controller.actuators.base import OUTCOMES, Actuator, Applied, Scale
from store.clock import WallClock
from store.errors import ControllerError

Switch = Callable[[bool], None]
_GRACE_SECONDS = 2.0
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class World:
    """A platform in the hands of a test.

    Attributes:
        pool: one that it has.
        told: replicas it was really told to have.
        numbers: two different numbers of replicas it can have, neither of them now's.
        settle: the platform finishes what it was told.
        by_others: somebody else changes the number.
        refuses: on and off: it refuses to change.
        hangs: on and off: it says nothing.
        lies: on and off: it says yes and does nothing.
        unreadable: on and off: it cannot be read.
    """

    pool: str
    told: Callable[[], int | None]
    numbers: tuple[int, int] = (3, 2)
    settle: Callable[[], None] | None = None
    by_others: Callable[[int], Awaitable[None] | None] | None = None
    refuses: Switch | None = None
    hangs: Switch | None = None
    lies: Switch | None = None
    unreadable: Switch | None = None


async def check_actuator(make: Callable[[], Actuator], world: World) -> tuple[str, ...]:
    """Raise AssertionError at the first promise of `controller.actuators.base` that is broken.

    Args:
        make: a fresh actuator of that world; called several times, as a controller restarts.
        world: the platform.

    Returns:
        The promises that were checked, by name.
    """
    checks = (
        (_applies, True),
        (_refuses_nonsense, True),
        (_sees_others, world.by_others),
        (_is_refused, world.refuses),
        (_ends_in_time, world.hangs),
        (_finds_out_lies, world.lies),
        (_cannot_read, world.unreadable),
        (_leaves_replicas, True),
    )
    done = []
    for check, possible in checks:
        if possible is None:
            continue
        actuator = make()
        try:
            assert isinstance(actuator, Actuator)
            assert actuator.name
            assert actuator.limit_seconds > 0
            await check(actuator, world)
        finally:
            await actuator.aclose()
        done.append(check.__name__.strip("_"))
    return tuple(done)


async def _apply(
    actuator: Actuator, world: World, replicas: int, decision_id: str, version: str = ""
) -> Applied:
    made = await actuator.apply(world.pool, replicas, decision_id, version)
    assert made.outcome in OUTCOMES, f"'{made.outcome}' is no outcome"
    assert made.text, "an outcome says why"
    return made


async def _low(actuator: Actuator, world: World, check: str) -> int:
    """Bring the pool to the lower number, drained; gives the higher one, which is up from there."""
    made = await _apply(actuator, world, min(world.numbers), f"{check}-low")
    assert made.holds, made.text
    if world.settle is not None:
        world.settle()
    clock = WallClock()
    until = clock.monotonic() + actuator.limit_seconds
    while (await actuator.read(world.pool)).draining and clock.monotonic() < until:
        await clock.sleep(_PAUSE_SECONDS)
    return max(world.numbers)


async def _applies(actuator: Actuator, world: World) -> None:
    first, second = world.numbers
    for number, step in ((first, "up"), (second, "down"), (first, "again")):
        seen = await actuator.read(world.pool)
        made = await _apply(actuator, world, number, f"applies-{step}", seen.version)
        assert made.outcome == "applied", made.text
        assert world.told() == number, f"it said applied, but the platform has {world.told()}"
        assert isinstance(made.scale, Scale)
        assert made.scale.wanted == number
        assert (await actuator.read(world.pool)).wanted == number
        if seen.version:
            assert made.scale.version != seen.version, "a change changes the version"
    same = await _apply(actuator, world, first, "applies-same")
    assert same.outcome == "unchanged", "it was so already"
    old = await _apply(actuator, world, second, "applies-down")
    assert old.outcome == "unchanged", "a decision is applied once"
    assert world.told() == first, "a decision that came again has changed something"


async def _refuses_nonsense(actuator: Actuator, world: World) -> None:
    before = world.told()
    for pool, number, decision_id in (
        (world.pool, -1, "nonsense-1"),
        (world.pool, 10**9, "nonsense-2"),
        (world.pool, world.numbers[0], ""),
        ("no such pool", world.numbers[0], "nonsense-3"),
    ):
        made = await actuator.apply(pool, number, decision_id)
        assert made.outcome == "refused", f"{number} of '{pool}' was {made.outcome}"
    assert world.told() == before
    await _must_not_read(actuator, "no such pool")


async def _sees_others(actuator: Actuator, world: World) -> None:
    assert world.by_others is not None
    seen = await actuator.read(world.pool)
    assert seen.version, "where others can change it, a version tells"
    theirs = max(number for number in world.numbers if number != seen.wanted)
    waited = world.by_others(theirs)
    if waited is not None:
        await waited
    ours = next(number for number in world.numbers if number != theirs)
    made = await _apply(actuator, world, ours, "others-1", seen.version)
    assert made.outcome == "conflict", f"a change by others was {made.outcome}"
    assert world.told() == theirs, "it fought somebody else"
    assert made.scale is None or made.scale.wanted == theirs


async def _is_refused(actuator: Actuator, world: World) -> None:
    assert world.refuses is not None
    number = await _low(actuator, world, "refused")
    before = world.told()
    world.refuses(True)
    try:
        made = await _apply(actuator, world, number, "refused-1")
    finally:
        world.refuses(False)
    assert made.outcome == "refused", f"a refusal was {made.outcome}: {made.text}"
    assert world.told() == before
    again = await _apply(actuator, world, number, "refused-1")
    assert again.outcome == "applied", "what was refused was not applied: it may come again"


async def _ends_in_time(actuator: Actuator, world: World) -> None:
    assert world.hangs is not None
    number, clock = await _low(actuator, world, "hangs"), WallClock()
    world.hangs(True)
    try:
        began = clock.monotonic()
        made = await _apply(actuator, world, number, "hangs-1")
        took = clock.monotonic() - began
    finally:
        world.hangs(False)
    assert made.outcome == "failed", f"no answer was {made.outcome}"
    assert took <= actuator.limit_seconds + _GRACE_SECONDS, f"it took {took:.1f} s"
    again = await _apply(actuator, world, number, "hangs-1")
    assert again.holds, f"after the silence: {again.text}"


async def _finds_out_lies(actuator: Actuator, world: World) -> None:
    assert world.lies is not None
    number = await _low(actuator, world, "lies")
    world.lies(True)
    try:
        made = await _apply(actuator, world, number, "lies-1")
    finally:
        world.lies(False)
    assert made.outcome == "failed", f"a lie was believed: {made.text}"
    again = await _apply(actuator, world, number, "lies-1")
    assert again.outcome == "applied", again.text


async def _cannot_read(actuator: Actuator, world: World) -> None:
    assert world.unreadable is not None
    number = await _low(actuator, world, "unreadable")
    before = world.told()
    world.unreadable(True)
    try:
        await _must_not_read(actuator, world.pool)
        made = await _apply(actuator, world, number, "unreadable-1")
    finally:
        world.unreadable(False)
    assert not made.holds, "nothing was read, so nothing can be said to hold"
    assert world.told() == before, "it changed what it could not read"


async def _leaves_replicas(actuator: Actuator, world: World) -> None:
    before = world.told()
    await actuator.aclose()
    await actuator.aclose()
    assert world.told() == before, "closing changed the replicas"


async def _must_not_read(actuator: Actuator, pool: str) -> None:
    try:
        await actuator.read(pool)
    except ControllerError as error:
        assert error.message
        return
    raise AssertionError("what cannot be read must raise ControllerError")
