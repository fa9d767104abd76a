"""A platform in memory, for tests and rehearsals: it can lie, refuse, forget and take its time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from controller.actuators.base import Applied, Scale
from store.errors import ControllerError


@dataclass(slots=True)
class MemoryActuator:
    """Keeps a number.

    Args:
        wanted: replicas by pool.
        ready: told as ready; None tells what is wanted.
        fault: "" works; "hang" never answers, "lie" says applied and does nothing, "refuse",
            "fail", "raise", "unreadable" cannot be read, "half" applies and does not answer.
        scaled: called with pool and replicas when a target changes.
    """

    wanted: dict[str, int] = field(default_factory=dict)
    ready: Callable[[str], int] | None = None
    fault: str = ""
    scaled: Callable[[str, int], None] | None = None
    calls: list[tuple[str, int, str]] = field(default_factory=list)
    changes: list[tuple[str, int, str]] = field(default_factory=list)
    _versions: dict[str, int] = field(default_factory=dict)
    _decisions: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For records."""
        return "memory"

    async def read(self, pool: str) -> Scale:
        """How the pool stands."""
        if self.fault == "unreadable":
            raise ControllerError("the platform cannot be read")
        wanted = self.wanted.get(pool, 0)
        ready = wanted if self.ready is None else self.ready(pool)
        version = str(self._versions.get(pool, 0))
        return Scale(pool, wanted, ready, version, self._decisions.get(pool, ""))

    async def apply(self, pool: str, replicas: int, decision_id: str, version: str = "") -> Applied:
        """Keep the number, unless a fault is set."""
        self.calls.append((pool, replicas, decision_id))
        if self.fault == "raise":
            raise RuntimeError("the client broke")
        if self.fault == "hang":
            await asyncio.Event().wait()
        if self.fault in ("refuse", "fail"):
            return Applied({"refuse": "refused", "fail": "failed"}[self.fault], "as told to")
        if self.fault == "lie":
            return Applied("applied", "all is well")
        if version and version != str(self._versions.get(pool, 0)):
            return Applied("conflict", "somebody else changed it", await self.read(pool))
        if self._decisions.get(pool) == decision_id and self.wanted.get(pool) == replicas:
            return Applied("unchanged", "this decision was applied before", await self.read(pool))
        self._set(pool, replicas, decision_id)
        if self.fault == "half":
            await asyncio.Event().wait()
        return Applied("applied", f"{replicas} replicas", await self.read(pool))

    async def aclose(self) -> None:
        """Nothing is held."""

    def meddle(self, pool: str, replicas: int) -> None:
        """Somebody else changes it."""
        self._set(pool, replicas, "")

    def _set(self, pool: str, replicas: int, decision_id: str) -> None:
        self.wanted[pool] = replicas
        self._decisions[pool] = decision_id
        self._versions[pool] = self._versions.get(pool, 0) + 1
        self.changes.append((pool, replicas, decision_id))
        if self.scaled is not None:
            self.scaled(pool, replicas)
