"""What a fleet tells the others: where requests may go, what is to be scraped, how starts went."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from collector.starts.observation import StartObservation
from controller.actuators.local.processes import HOST
from controller.actuators.local.settings import LocalPool
from controller.actuators.local.state import DRAINING, OPEN, READY, Replica, write_json

TARGETS = "targets.json"
ENDPOINTS = "endpoints.json"
MOST_STARTS = 4096


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One replica that takes requests.

    Attributes:
        pool: whose.
        replica: its name.
        address: host and port.
        ready_at: aware UTC; since when.
    """

    pool: str
    replica: str
    address: str
    ready_at: datetime

    @property
    def url(self) -> str:
        """For clients."""
        return f"http://{self.address}"


def address(replica: Replica) -> str:
    """Host and port."""
    return f"{HOST}:{replica.port}"


def endpoints(replicas: Iterable[Replica]) -> tuple[Endpoint, ...]:
    """Those that take requests, by pool and name."""
    found = [
        Endpoint(replica.pool, replica.name, address(replica), replica.ready_at)
        for replica in replicas
        if replica.phase == READY and replica.ready_at is not None
    ]
    return tuple(sorted(found, key=lambda one: (one.pool, one.replica)))


class Published:
    """Two files, written anew when they change.

    `endpoints.json`: pool -> replicas that take requests, for routers. `targets.json`: target
    groups (Prometheus' file_sd) of all that can be scraped, those that drain included.

    Args:
        folder: where they lie.
        pools: their settings.
    """

    def __init__(self, folder: Path, pools: Mapping[str, LocalPool]) -> None:
        self._folder = folder
        self._pools = pools
        self._written: dict[str, Any] = {}

    def update(self, replicas: Iterable[Replica]) -> None:
        """Write what has changed.

        Raises:
            OSError: a file cannot be written.
        """
        known = sorted(replicas, key=lambda one: (one.pool, one.name))
        ready: dict[str, list[dict[str, str]]] = {pool: [] for pool in self._pools}
        for one in endpoints(known):
            entry = {
                "address": one.address,
                "replica": one.replica,
                "ready_at": one.ready_at.isoformat(),
            }
            ready.setdefault(one.pool, []).append(entry)
        self._write(ENDPOINTS, {"pools": ready})
        seen = [one for one in known if one.phase in (OPEN, READY, DRAINING)]
        self._write(TARGETS, [self._group(one) for one in seen])

    def _group(self, replica: Replica) -> dict[str, Any]:
        pool = self._pools.get(replica.pool)
        labels = {"pool": replica.pool, "replica": replica.name}
        if pool is not None:
            labels |= {"model": pool.model} if pool.model else {}
            labels |= pool.labels
        return {"targets": [address(replica)], "labels": labels}

    def _write(self, name: str, told: Any) -> None:
        if self._written.get(name) != told:
            write_json(self._folder / name, told)
            self._written[name] = told


class Starts:
    """How starts went, until somebody takes it; the oldest go when nobody does."""

    def __init__(self) -> None:
        self._told: deque[StartObservation] = deque(maxlen=MOST_STARTS)

    def ready(self, replica: Replica, model: str) -> None:
        """A replica takes requests: asked for, spawned, port open, ready."""
        steps = (
            ("schedule", replica.asked_at, replica.spawned_at),
            ("process", replica.spawned_at, replica.open_at),
            ("engine", replica.open_at, replica.ready_at),
            ("ready", replica.ready_at, replica.ready_at),
        )
        for phase, begun, ended in steps:
            if begun is not None and ended is not None:
                self._add(replica, model, phase, begun, ended, "agent: local fleet")

    def failed(self, replica: Replica, model: str, at: datetime, why: str) -> None:
        """A replica will not take requests."""
        self._add(replica, model, "failed", at, at, f"agent: local fleet: {why}")

    def take(self) -> tuple[StartObservation, ...]:
        """What is new since the last time."""
        # One by one: whoever takes them may be another thread.
        taken = []
        with suppress(IndexError):
            while True:
                taken.append(self._told.popleft())
        return tuple(taken)

    def _add(
        self,
        replica: Replica,
        model: str,
        phase: str,
        begun: datetime,
        ended: datetime,
        evidence: str,
    ) -> None:
        self._told.append(
            StartObservation(
                address(replica), phase, begun, max(begun, ended), evidence, model or None
            )
        )
