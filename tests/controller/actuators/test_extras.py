"""What some platforms tell besides their scale."""

from datetime import UTC, datetime

from controller.actuators import extras, registry
from controller.actuators.local.state import Replica
from controller.actuators.local.told import Starts
from store.clock import WallClock


async def test_each_platform_is_asked_once():
    """Pools that share one actuator do not double what it tells."""
    gauge = registry.create("desired", {"pools": {"a": {}, "b": {}}}, WallClock())
    other = registry.create("memory", {"pools": {"c": {}}}, WallClock())
    await gauge.apply("a", 3, "d1")
    actuators = {"a": gauge, "b": gauge, "c": other}
    (point,) = extras.published(actuators.values())
    assert (point.labels["pool"], point.replicas) == ("a", 3)
    assert extras.endpoints(actuators.values()) == ()
    assert extras.take_starts(actuators.values()) == ()


def test_starts_nobody_takes_do_not_pile_up():
    """The oldest go; a failure has its reason in the evidence."""
    starts, at = Starts(), datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(5_000):
        starts.failed(Replica(f"r{number}", "a", 8700), "m", at, f"why {number}")
    told = starts.take()
    assert len(told) < 5_000
    assert told[-1].evidence == "agent: local fleet: why 4999"
