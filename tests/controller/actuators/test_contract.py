"""Every actuator keeps the promises of `controller.actuators.base`."""

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
