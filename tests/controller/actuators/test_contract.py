"""Every actuator keeps the promises of `controller.actuators.base`."""

from dataclasses import replace

import pytest

from controller.actuators.careful import Careful, Patience
from controller.actuators.check import World, check_actuator
from controller.actuators.doubles.memory import MemoryPlatform, MemoryPool, MemorySettings
from store.clock import WallClock

QUICK = Patience(limit_seconds=1.0, told_back_seconds=0.05, pause_seconds=0.01)
ALL = {
    "applies", "refuses_nonsense", "sees_others", "is_refused", "ends_in_time",
    "finds_out_lies", "cannot_read", "leaves_replicas",
}  # fmt: skip


def switch(thing, name):
    """A switch of a world that sets an attribute."""
    return lambda on: setattr(thing, name, on)


async def test_numbers_in_memory():
    """The double that loops are rehearsed with."""
    platform = MemoryPlatform(MemorySettings({"chat": MemoryPool(1, 10)}), WallClock())
    world = World(
        "chat",
        lambda: platform.wanted("chat"),
        by_others=lambda number: platform.change("chat", number),
        **{name: switch(platform, name) for name in ("refuses", "hangs", "lies", "unreadable")},
    )
    done = await check_actuator(lambda: Careful(platform, WallClock(), QUICK), world)
    assert set(done) == ALL


async def test_a_decision_of_another_store_may_have_the_same_id():
    """Numbers of decisions begin anew with a new store; the platform may remember the old ones."""
    platform = MemoryPlatform(MemorySettings({"chat": MemoryPool(3, 10)}), WallClock())
    read = platform.read

    async def remembering(pool):
        return replace(await read(pool), decision_id="7", decision_replicas=3)

    platform.read = remembering
    actuator = Careful(platform, WallClock(), QUICK)
    assert (await actuator.apply("chat", 3, "7")).outcome == "unchanged"
    assert (await Careful(platform, WallClock(), QUICK).apply("chat", 5, "7")).outcome == "applied"
    wrong = await actuator.apply("chat", 4, "7")
    assert wrong.outcome == "applied", "it was never applied by this one"
    assert (await actuator.apply("chat", 6, "7")).outcome == "refused"


class Believes:
    """An actuator that believes whatever it is told: it must not pass."""

    limit_seconds = 1.0
    name = "believes"

    def __init__(self, platform):
        self.platform = platform

    async def read(self, pool):
        return await self.platform.read(pool)

    async def apply(self, pool, replicas, decision_id, version=""):
        from controller.actuators.base import Applied

        await self.platform.write(pool, replicas, await self.read(pool), decision_id)
        return Applied("applied", "yes", await self.read(pool))

    async def aclose(self):
        """Nothing."""


async def test_the_check_finds_out_the_careless():
    """An actuator without idempotence does not pass its own contract."""
    platform = MemoryPlatform(MemorySettings({"chat": MemoryPool(1, 10)}), WallClock())
    with pytest.raises(AssertionError, match="so already"):
        await check_actuator(
            lambda: Believes(platform), World("chat", lambda: platform.wanted("chat"))
        )
