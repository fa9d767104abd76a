"""A platform that is numbers in memory, with faults on demand. A double."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.actuators.base import Scale
from controller.actuators.platform import NoAnswer, Refused
from store.clock import Clock


@dataclass(frozen=True, slots=True)
class MemoryPool:
    """One pool in memory.

    Attributes:
        replicas: replicas at the beginning.
        most: more are refused, like a quota.
    """

    replicas: int = 1
    most: int = 1_000


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """Numbers in memory.

    Attributes:
        pools: by name.
        start_seconds: time until a new replica serves.
    """

    pools: Mapping[str, MemoryPool] = field(default_factory=dict)
    start_seconds: float = 0.0


class MemoryPlatform:
    """Replicas that exist as numbers only; new ones serve after `start_seconds`.

    Tests switch its faults: `refuses`, `hangs`, `lies` (says yes, does nothing), `unreadable`.
    """

    def __init__(self, settings: MemorySettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._wanted = {name: pool.replicas for name, pool in settings.pools.items()}
        self._since: dict[str, list[float]] = {
            name: [float("-inf")] * pool.replicas for name, pool in settings.pools.items()
        }
        self._versions = dict.fromkeys(settings.pools, 1)
        self.refuses = self.hangs = self.lies = self.unreadable = False
        self.closed = False

    @property
    def name(self) -> str:
        """For people."""
        return "memory"

    @property
    def pools(self) -> tuple[str, ...]:
        """Of the settings."""
        return tuple(self._wanted)

    async def read(self, pool: str) -> Scale:
        """The numbers."""
        if self.unreadable:
            raise NoAnswer("it does not answer")
        now = self._clock.monotonic()
        ready = sum(now - since >= self._settings.start_seconds for since in self._since[pool])
        wanted = self._wanted[pool]
        return Scale(
            pool, wanted, ready, str(self._versions[pool]), starting=wanted - ready, draining=0
        )

    async def write(self, pool: str, replicas: int, seen: Scale, decision_id: str) -> str:
        """Change the numbers, or do what the fault says."""
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.refuses or replicas > self._settings.pools[pool].most:
            raise Refused("the quota does not allow it")
        if not self.lies:
            self.change(pool, replicas)
        return ""

    async def aclose(self) -> None:
        """Nothing to close."""
        self.closed = True

    def wanted(self, pool: str) -> int:
        """What it really was told."""
        return self._wanted[pool]

    def change(self, pool: str, replicas: int) -> None:
        """What somebody at the platform does."""
        self._wanted[pool] = replicas
        self._versions[pool] += 1
        since = self._since[pool][:replicas]
        self._since[pool] = since + [self._clock.monotonic()] * (replicas - len(since))
