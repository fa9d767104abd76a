"""The books of a fleet: what is wanted, what there is, and what is to come or go.

Nothing here waits or asks an engine: that is `fleet`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from controller.actuators.local import processes
from controller.actuators.local.settings import LocalPool, LocalSettings
from controller.actuators.local.state import (
    ASKED,
    COUNTED,
    DRAINING,
    READY,
    SPAWNED,
    STARTING,
    STOPPING,
    Folder,
    Replica,
    State,
    Wanted,
)
from controller.actuators.local.told import Published, Starts
from store.clock import Clock

GONE = "gone"
_ABANDONED = LocalPool(("{port}",), stop_seconds=10.0, drain_seconds=0.0)
_BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0)


@dataclass(slots=True)
class Watch:
    """What is known of a replica besides its record; begins anew with each phase.

    Attributes:
        since: seconds of the monotonic clock; when its phase began.
        heard: monotonic seconds; when it last said that it takes requests.
        quiet: looks in a row without requests, while it drains.
        sent: signals sent, 1 SIGTERM, 2 SIGKILL as well.
    """

    since: float
    heard: float
    quiet: int = 0
    sent: int = 0


@dataclass(slots=True)
class _Trouble:
    """Failed starts of a pool in a row, when the next may be, and what was wrong."""

    failures: int = 0
    not_before: float = float("-inf")
    why: str = ""


class Books:
    """The replicas of one folder.

    Args:
        settings: of the fleet.
        folder: held.
        state: what is kept.
        clock: the time.
    """

    def __init__(self, settings: LocalSettings, folder: Folder, state: State, clock: Clock) -> None:
        self.settings = settings
        self.folder = folder
        self.state = state
        self.clock = clock
        self.starts = Starts()
        self._watches: dict[str, Watch] = {}
        self._troubles: dict[str, _Trouble] = {}
        self._ports: OrderedDict[int, None] = OrderedDict()
        self._published: Published | None = None

    def pool(self, name: str) -> LocalPool:
        """Settings of a pool; of one that is no longer configured, how to end it."""
        return self.settings.pools.get(name, _ABANDONED)

    def of(self, pool: str, *phases: str) -> list[Replica]:
        """Replicas of a pool in these phases, oldest first."""
        found = [r for r in self.state.replicas.values() if r.pool == pool and r.phase in phases]
        return sorted(found, key=lambda r: r.name)

    def trouble(self, pool: str) -> str:
        """Why starts of a pool fail; "" when they do not."""
        return self._troubles[pool].why if pool in self._troubles else ""

    def watch(self, replica: Replica) -> Watch:
        """What is known of it besides its record."""
        now = self.clock.monotonic()
        return self._watches.setdefault(replica.name, Watch(now, now))

    def settled(self, pool: str) -> None:
        """A start of a pool went well."""
        self._troubles.pop(pool, None)

    def strike(self) -> None:
        """Take those that are gone out of the books, and end what they have left behind."""
        gone = [r.name for r in self.state.replicas.values() if r.phase == GONE]
        for name in gone:
            del self.state.replicas[name]
            self._watches.pop(name, None)
        if gone:
            processes.end_strays(self.folder.fleet)

    def adopt(self) -> None:
        """Find what earlier controllers left: take it on when it is in the books, else end it."""
        processes.end_strays(self.folder.fleet)
        names = dict(self.state.replicas)
        found = {one.replica: one for one in processes.marked(self.folder.fleet)}
        for name, one in found.items():
            replica = names.get(name)
            if replica is None:
                # Not in the books: they were lost. It comes in, and leaves if it is too many.
                replica = Replica(name, one.pool, one.port, SPAWNED, asked_at=self.clock.now())
                replica.spawned_at = replica.asked_at
                self.state.replicas[name] = replica
                self.state.made = max(self.state.made, _number(name))
            replica.process = one.identity
            if replica.phase == ASKED:
                replica.phase, replica.spawned_at = SPAWNED, self.clock.now()
        for name, replica in names.items():
            if name not in found and (
                replica.process is None or not processes.alive(replica.process)
            ):
                del self.state.replicas[name]
        self._want(found.keys())

    def _want(self, found: Iterable[str]) -> None:
        """Pools without a number get what runs, else their initial one; strangers get none."""
        counts: dict[str, int] = {}
        for name in found:
            whose = self.state.replicas[name].pool
            counts[whose] = counts.get(whose, 0) + 1
        for name, pool in self.settings.pools.items():
            if name not in self.state.pools:
                self.state.pools[name] = Wanted(min(counts.get(name, pool.initial), pool.most))

    def write(self, *, changed: bool = True) -> None:
        """Keep the state and publish the endpoints.

        Raises:
            OSError: the folder cannot be written.
        """
        if self._published is None:
            self._published = Published(self.folder.path, self.settings.pools)
            changed = True
        if changed:
            self.folder.save(self.state)
        self._published.update(self.state.replicas.values())

    def keep(self) -> None:
        """As many replicas in the books as are wanted: call back, ask for, or send away."""
        for pool in {*self.settings.pools, *(r.pool for r in self.state.replicas.values())}:
            wanted = self.state.pools[pool].replicas if pool in self.settings.pools else 0
            here = self.of(pool, *COUNTED)
            for replica in self.of(pool, DRAINING)[: max(0, wanted - len(here))]:
                self.enter(replica, READY)
                here.append(replica)
            for _ in range(wanted - len(here)):
                if not self._ask(pool):
                    break
            for replica in _to_leave(here, len(here) - wanted):
                self.enter(replica, DRAINING if replica.phase == READY else STOPPING)

    def _ask(self, pool: str) -> bool:
        trouble = self._troubles.get(pool)
        if trouble is not None and self.clock.monotonic() < trouble.not_before:
            return False
        port = self._free_port()
        if port is None:
            self.fail(pool, "no port of the range is free")
            return False
        self.state.made += 1
        name = f"r{self.state.made:06d}"
        self.state.replicas[name] = Replica(name, pool, port, asked_at=self.clock.now())
        return True

    def _free_port(self) -> int | None:
        """The one not used for longest, so that addresses are not mistaken for each other."""
        span = range(self.settings.first_port, self.settings.last_port + 1)
        taken = {replica.port for replica in self.state.replicas.values()}
        fresh = [port for port in span if port not in self._ports]
        for port in (*fresh, *list(self._ports)):
            if port in span and port not in taken and processes.port_is_free(port):
                self._ports[port] = None
                self._ports.move_to_end(port)
                return port
        return None

    def gone(self, replica: Replica, why: str) -> None:
        """It ended without being told to."""
        if replica.phase in STARTING:
            self.starts.failed(replica, self.pool(replica.pool).model, self.clock.now(), why)
        self.fail(replica.pool, f"{replica.name} {why}")
        replica.phase = GONE

    def fail(self, pool: str, why: str) -> None:
        """A start of a pool has failed: the next one waits a while."""
        trouble = self._troubles.setdefault(pool, _Trouble())
        pause = _BACK_OFF_SECONDS[min(trouble.failures, len(_BACK_OFF_SECONDS) - 1)]
        trouble.failures += 1
        trouble.not_before = self.clock.monotonic() + pause
        trouble.why = why

    def enter(self, replica: Replica, phase: str, since: float | None = None) -> None:
        """Begin a phase, now or (monotonic seconds) earlier."""
        replica.phase = phase
        now = self.clock.monotonic()
        self._watches[replica.name] = Watch(now if since is None else since, now)


def _to_leave(here: list[Replica], count: int) -> list[Replica]:
    """The last steps in first: those that do not serve yet, then the youngest."""
    order = sorted(here, key=lambda r: (r.phase == READY, [-ord(letter) for letter in r.name]))
    return order[: max(0, count)]


def _number(name: str) -> int:
    digits = name.removeprefix("r")
    return int(digits) if digits.isdigit() else 0
