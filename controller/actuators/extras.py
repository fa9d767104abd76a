"""What some platforms tell besides their scale: starts, endpoints, published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collector.starts.observation import StartObservation
from controller.actuators.base import Actuator
from controller.actuators.careful import Careful
from controller.actuators.desired_gauge import DesiredGauge, Published
from controller.actuators.local.told import Endpoint
from controller.actuators.local_fleet import LocalFleet
from controller.actuators.platform import Platform


def take_starts(actuators: Iterable[Actuator]) -> tuple[StartObservation, ...]:
    """How starts went since the last time, for rows of `instance_start`."""
    fleets = (one for one in _platforms(actuators) if isinstance(one, LocalFleet))
    return tuple(start for fleet in fleets for start in fleet.take_starts())


def endpoints(actuators: Iterable[Actuator]) -> tuple[Endpoint, ...]:
    """Replicas of local fleets that take requests now."""
    fleets = (one for one in _platforms(actuators) if isinstance(one, LocalFleet))
    return tuple(endpoint for fleet in fleets for endpoint in fleet.endpoints())


def published(actuators: Iterable[Actuator]) -> tuple[Published, ...]:
    """Points of the gauge `desired_gauge.METRIC`.

    Raises:
        NoAnswer: a file with numbers cannot be read.
    """
    gauges = (one for one in _platforms(actuators) if isinstance(one, DesiredGauge))
    return tuple(point for gauge in gauges for point in gauge.published())


def _platforms(actuators: Iterable[Actuator]) -> Iterator[Platform]:
    """Each platform once; several pools share one."""
    seen: set[int] = set()
    for actuator in actuators:
        if isinstance(actuator, Careful) and id(actuator.platform) not in seen:
            seen.add(id(actuator.platform))
            yield actuator.platform
