"""How the agent stands: to the server every few seconds, and as samples of `agent://NAME`."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from collector.agent.delivery import Delivery, server_time
from collector.agent.post import Poster, Unreachable
from collector.agent.settings import AgentSettings
from collector.agent.spool import Spool
from collector.drops import Drops
from collector.model import Sample, Scrape, TargetFacts
from collector.scheduler import SchedulerCounts, TargetState
from store.clock import Clock

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this agent is.

    Args:
        name: what the server calls it.
        node: host name.
        version: of servescope.
        mark: drawn once for a spool; two agents under one name differ in it.
    """

    name: str
    node: str
    version: str
    mark: str


def mark_of(folder: Path) -> str:
    """The mark of a spool's folder, drawn the first time."""
    path = folder / "identity"
    try:
        told = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        told = ""
    if not told:
        told = secrets.token_hex(8)
        with suppress(OSError):  # a full disk must not keep an agent from starting
            path.write_text(told, "ascii")
    return told


class Vitals:
    """What there is to tell about the agent itself.

    Args:
        identity: who it is.
        spool: what waits.
        delivery: what was delivered.
        drops: what was lost.
        clock: the time.
        states: how targets stand.
        counts: what the scheduler has counted.
    """

    def __init__(
        self,
        identity: Identity,
        spool: Spool,
        delivery: Delivery,
        drops: Drops,
        clock: Clock,
        states: Callable[[], tuple[TargetState, ...]],
        counts: Callable[[], SchedulerCounts | None],
    ) -> None:
        self.identity = identity
        self._spool = spool
        self._delivery = delivery
        self._drops = drops
        self._clock = clock
        self._states = states
        self._counts = counts
        self._started_at = clock.now().timestamp()
        self._started_monotonic = clock.monotonic()
        self.offset_seconds: float | None = None
        self.error_seconds: float | None = None

    def document(self, heartbeat_seconds: float) -> dict[str, Any]:
        """The heartbeat."""
        spool, states = self._spool.stats(), self._states()
        bad = [state for state in states if state.outcome not in (None, "ok")]
        lost = self.lost()
        return {
            "identity": self.identity.mark,
            "node": self.identity.node,
            "version": self.identity.version,
            "started_at": self._started_at,
            "heartbeat_seconds": heartbeat_seconds,
            "clock": {"offset_seconds": self.offset_seconds, "error_seconds": self.error_seconds},
            "spool": {
                "records": spool.records,
                "rows": spool.rows,
                "bytes": spool.bytes,
                "oldest_at": spool.oldest_at.timestamp() if spool.oldest_at else None,
            },
            "dropped_rows": sum(lost.values()),
            "details": {
                "targets": len(states),
                "targets_failing": len(bad),
                "drops": lost,
                "parked": self._delivery.state.parked,
                "problem": self._delivery.state.problem,
                "problems": self._problems(spool.in_memory),
                "memory_bytes": memory_bytes(),
                "cpu_ratio": self._cpu_ratio(),
            },
        }

    def samples(self) -> tuple[Sample, ...]:
        """The same as samples."""
        spool, delivery, counts = self._spool.stats(), self._delivery.state, self._counts()
        oldest = spool.oldest_at
        waiting = (self._clock.now() - oldest).total_seconds() if oldest else 0.0
        told: dict[str, float | None] = {
            "agent_waiting_rows": spool.rows,
            "agent_waiting_seconds": max(waiting, 0.0),
            "agent_spool_bytes": spool.bytes,
            "agent_dropped_rows_total": sum(self.lost().values()),
            "agent_delivered_rows_total": delivery.delivered_rows,
            "agent_delivered_bytes_total": delivery.delivered_bytes,
            "agent_failed_attempts_total": delivery.attempts_failed,
            "agent_skipped_scrapes_total": counts.skipped if counts else None,
            "agent_clock_offset_seconds": self.offset_seconds,
            "process_memory_bytes": memory_bytes(),
            "process_cpu_seconds_total": time.process_time(),
        }
        return tuple(
            Sample(name, "{}", float(value)) for name, value in told.items() if value is not None
        )

    def lost(self) -> dict[str, int]:
        """Reason -> rows lost since the start."""
        told = {reason: count for (_, reason), count in self._drops.totals().items()}
        counts = self._counts()
        if counts and counts.dropped:
            told["scrapes that the spool did not take in time"] = counts.dropped
        return told

    def _cpu_ratio(self) -> float:
        """Share of one processor since the start."""
        return time.process_time() / max(self._clock.monotonic() - self._started_monotonic, 1.0)

    def _problems(self, in_memory: int) -> list[str]:
        if in_memory:
            return ["the disk of the spool takes nothing: the newest rows are kept in memory only"]
        return []


class Heart:
    """Tells the server, and learns its clock from the answers.

    Args:
        vitals: what to tell.
        poster: to the server; its own, so that a large batch delays no heartbeat.
        settings: how often.
        clock: the time.
    """

    def __init__(
        self, vitals: Vitals, poster: Poster, settings: AgentSettings, clock: Clock
    ) -> None:
        self._vitals = vitals
        self._poster = poster
        self._settings = settings
        self._clock = clock
        self._path = f"/api/v1/agents/{quote(vitals.identity.name, safe='')}/heartbeat"

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await self.beat()
            await self._clock.sleep(self._settings.heartbeat_seconds)

    async def beat(self) -> bool:
        """Once; whether the server has it. A server that is away is the delivery's to tell."""
        document = self._vitals.document(self._settings.heartbeat_seconds)
        asked_at, start = self._clock.now(), self._clock.monotonic()
        try:
            answer = await self._poster.post(self._path, _JSON, orjson.dumps(document))
        except Unreachable:
            return False
        trip_seconds = self._clock.monotonic() - start
        told = server_time(answer)
        if told is not None:
            # The server read its clock somewhere within the round trip.
            middle = asked_at.timestamp() + trip_seconds / 2
            self._vitals.offset_seconds = middle - told.timestamp()
            self._vitals.error_seconds = trip_seconds / 2
        return 200 <= answer.status < 300


_JSON: Mapping[str, str] = {"Content-Type": "application/json"}


class OwnSource:
    """The agent as a source of samples about itself.

    Args:
        target_id: which target the scrapes belong to.
        vitals: what to tell.
        clock: the time.
    """

    def __init__(self, target_id: int, vitals: Vitals, clock: Clock) -> None:
        self._target_id = target_id
        self._vitals = vitals
        self._clock = clock
        self._told = False

    @property
    def target_id(self) -> int:
        """Which target the scrapes belong to."""
        return self._target_id

    async def scrape(self, timeout_seconds: float) -> Scrape:
        """Look at oneself; never fails."""
        del timeout_seconds
        samples = self._vitals.samples()
        facts = None if self._told else TargetFacts("agent", self._vitals.identity.version)
        self._told = True
        at = self._clock.now()
        return Scrape(
            self._target_id,
            at,
            0.0,
            "ok",
            sample_count=len(samples),
            bad_line_count=0,
            samples=samples,
            facts=facts,
        )

    async def aclose(self) -> None:
        """Nothing to let go of."""


def memory_bytes() -> float | None:
    """Resident memory of this process; None where /proc does not tell."""
    try:
        with open("/proc/self/statm", "rb") as told:
            return float(int(told.read().split()[1]) * _PAGE_BYTES)
    except (OSError, ValueError, IndexError):
        return None
