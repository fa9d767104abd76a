"""A fleet of pools that time passes over: replicas start, serve, drain, fail and stop."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.profile import Profile
from controller.simulator import events
from controller.simulator.engine import has_work
from controller.simulator.state import (
    DECODE,
    DRAINING,
    FAILED,
    LEAST_OUTSTANDING,
    NOBODY,
    OPEN,
    POOL,
    PREFILL,
    READY,
    STARTING,
    STEP_TERMS,
    WHOLE,
    Table,
    World,
    course_of,
    replicas_of,
    requests_of,
)
from controller.simulator.workload import Workload
from controller.startup import StartupTimes
from store.errors import ControllerError

# Slots beyond the most replicas of all pools, for those that drain.
SPARE_SLOTS = 1.5
# Groups times slots: beyond it prefix caches are not followed.
MOST_CACHE_MARKS = 20_000_000
ROLES = {"whole": WHOLE, "prefill": PREFILL, "decode": DECODE}


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """One pool of replicas.

    Attributes:
        name: unique.
        profile: of its replicas.
        most: replicas at the same time, draining ones not counted.
        startup: of its replicas.
        role: "whole", "prefill" or "decode".
        sends_to: decoding pool of a prefill pool.
        router: rule, see `state`.
        patience_seconds: after which a request that waits is given up by its client.
        most_waiting: requests held while no replica is ready; more are refused.
        is_entry: whether it shares the arrivals with the other entry pools; without any, all come
            to the first pool.
        weight: what a replica counts for among those: requests go where the fewest are outstanding
            for each unit of it.
    """

    name: str
    profile: Profile
    most: int
    startup: StartupTimes
    role: str = "whole"
    sends_to: str = ""
    router: int = LEAST_OUTSTANDING
    patience_seconds: float = math.inf
    most_waiting: int = 1_000_000
    is_entry: bool = False
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Life:
    """One replica from being asked for to its end; NaN: not yet.

    Attributes:
        pool: number of its pool.
        asked_at: when it was asked for: it costs from then on.
        ready_at: when it served.
        stopped_at: when it was gone.
    """

    pool: int
    asked_at: float
    ready_at: float
    stopped_at: float


class FleetModel:
    """Belongs to one thread. Deterministic by its seed.

    Args:
        workload: what arrives: at the first pool, or wherever entry pools have room.
        pools: entry pool first.
        seed: of start-up times, dice and failures.
        entry: (n,) pool of each request; None: the first, or the first that is an entry pool.
    """

    def __init__(
        self,
        workload: Workload,
        pools: Sequence[PoolPlan],
        seed: int = 0,
        entry: np.ndarray | None = None,
    ) -> None:
        if not pools:
            raise ControllerError("a fleet needs a pool")
        self.plans = tuple(pools)
        self.workload = workload
        self._random = np.random.default_rng(seed)
        self._numbers = {plan.name: number for number, plan in enumerate(pools)}
        slots = int(sum(plan.most for plan in pools) * SPARE_SLOTS) + 2
        self.world = _world(workload, self.plans, self._numbers, slots, seed, entry)
        self._free = list(range(slots - 1, -1, -1))
        self._pending: list[tuple[float, int, int]] = []
        self._born = 0
        self._of_slot: dict[int, tuple[int, float, float]] = {}
        self._draining: dict[int, float] = {}
        self.lives: list[Life] = []
        self.scale_events = 0

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return float(self.world.course["now"][0])

    def run_until(self, at: float) -> None:
        """Let time pass; replicas become ready when their start is over."""
        while self._pending and self._pending[0][0] <= at:
            ready_at, birth, slot = heapq.heappop(self._pending)
            if self._of_slot.get(slot, (0, 0.0, 0.0))[0] != birth:
                continue
            events.run_until(self.world, ready_at)
            self._serve(slot, ready_at)
        events.run_until(self.world, at)
        self._sweep()

    def counts(self, pool: str) -> tuple[int, int, int]:
        """(ready, starting, draining) replicas."""
        replicas = self.world.replicas
        state = replicas["state"][replicas["pool"] == self._numbers[pool]]
        ready, starting, draining = (int((state == of).sum()) for of in (READY, STARTING, DRAINING))
        return ready, starting, draining

    def birth(self, slot: int) -> int:
        """Number of the replica in a slot, counted from 1 over the whole run."""
        return self._of_slot[slot][0]

    def age(self, slot: int) -> float:
        """Seconds since the replica in a slot was asked for."""
        return self.now - self._of_slot[slot][1]

    def scale(self, pool: str, replicas: int, *, at_once: bool = False) -> None:
        """Ask for so many replicas: starts or drains what differs.

        Args:
            pool: whose.
            replicas: ready and starting ones; cut to what the pool may have.
            at_once: they are ready now, as before a replay begins.
        """
        number = self._numbers[pool]
        wanted = min(max(replicas, 0), self.plans[number].most)
        ready, starting, _ = self.counts(pool)
        have = ready + starting
        if wanted == have:
            return
        self.scale_events += 1
        for _ in range(wanted - have):
            self._start(number, at_once=at_once)
        if wanted < have:
            self._shrink(number, have - wanted)

    def fail(self, pool: str) -> int:
        """A ready replica dies with everything on it; gives how many requests, -1 without one."""
        number = self._numbers[pool]
        count = int(self.world.pools["ready_count"][number])
        if not count:
            return -1
        slot = int(self.world.ready[number, self._random.integers(count)])
        lost = events.failed_all(self.world, slot, self.now, FAILED)
        self._leave_ready(number, slot)
        self._stop(slot, self.now)
        return int(lost)

    def finish(self, most_seconds: float = 3600.0) -> None:
        """Let what is under way end, at most so much later, and stop every replica."""
        end = self.now + most_seconds
        step = 1.0
        while self.now < end and (self.world.requests["status"] == OPEN).any():
            self.run_until(min(self.now + step, end))
            step *= 2
        for slot in list(self._of_slot):
            self._stop(slot, max(self.workload.seconds, self._idle_since(slot)))

    def gpu_seconds(self) -> float:
        """Of all replicas that are gone: from being asked for to the end, times their cards."""
        return sum(
            (life.stopped_at - life.asked_at) * self.plans[life.pool].profile.gpus
            for life in self.lives
        )

    def _start(self, number: int, *, at_once: bool) -> None:
        if not self._free:
            raise ControllerError(
                f"pool {self.plans[number].name}: more replicas drain than there is room for"
            )
        slot = self._free.pop()
        self._born += 1
        replicas = self.world.replicas
        replicas[slot] = replicas_of(1)[0]
        replicas["pool"][slot], replicas["state"][slot] = number, STARTING
        seconds = 0.0 if at_once else self.plans[number].startup.draw(self._random)
        self._of_slot[slot] = (self._born, self.now, math.nan)
        if at_once:
            self._serve(slot, self.now)
        else:
            heapq.heappush(self._pending, (self.now + seconds, self._born, slot))

    def _serve(self, slot: int, at: float) -> None:
        replicas, pools = self.world.replicas, self.world.pools
        number = int(replicas["pool"][slot])
        replicas["state"][slot], replicas["clock"][slot] = READY, at
        self.world.ready[number, pools["ready_count"][number]] = slot
        pools["ready_count"][number] += 1
        birth, asked_at, _ = self._of_slot[slot]
        self._of_slot[slot] = (birth, asked_at, at)
        events.release(self.world, number, at)

    def _shrink(self, number: int, count: int) -> None:
        """The youngest that start go first: they have no work; then those with the least."""
        replicas = self.world.replicas
        mine = np.flatnonzero((replicas["pool"] == number) & (replicas["state"] == STARTING))
        born = [self._of_slot[int(slot)][0] for slot in mine]
        for slot in mine[np.argsort(born)[::-1]][:count]:
            self._stop(int(slot), self.now)
            count -= 1
        ready = np.flatnonzero((replicas["pool"] == number) & (replicas["state"] == READY))
        work = replicas["running"][ready] + replicas["waiting"][ready]
        for slot in ready[np.argsort(work, kind="stable")][:count]:
            self._leave_ready(number, int(slot))
            replicas["state"][slot] = DRAINING
            self._draining[int(slot)] = self.now
        self._sweep()

    def _leave_ready(self, number: int, slot: int) -> None:
        count = int(self.world.pools["ready_count"][number])
        kept = [int(one) for one in self.world.ready[number, :count] if one != slot]
        self.world.ready[number, : len(kept)] = kept
        self.world.pools["ready_count"][number] = len(kept)

    def _sweep(self) -> None:
        """Those that drained are gone."""
        for slot in sorted(self._draining):
            if not has_work(self.world, slot):
                # One that had nothing to do was there all the same, until it was let go.
                self._stop(slot, max(self._idle_since(slot), self._draining[slot]))

    def _idle_since(self, slot: int) -> float:
        _, asked_at, _ = self._of_slot[slot]
        return min(max(float(self.world.replicas["clock"][slot]), asked_at), self.now)

    def _stop(self, slot: int, at: float) -> None:
        _, asked_at, ready_at = self._of_slot.pop(slot)
        number = int(self.world.replicas["pool"][slot])
        self.lives.append(Life(number, asked_at, ready_at, max(at, asked_at)))
        self._draining.pop(slot, None)
        self.world.replicas[slot] = replicas_of(1)[0]
        self.world.seen[slot] = NOBODY
        self._free.append(slot)


def _world(
    workload: Workload,
    plans: Sequence[PoolPlan],
    numbers: dict[str, int],
    slots: int,
    seed: int,
    entry: np.ndarray | None,
) -> World:
    n = len(workload)
    groups = int(workload.group.max(initial=NOBODY)) + 1
    followed = groups if groups * slots <= MOST_CACHE_MARKS else 0
    first = next((number for number, plan in enumerate(plans) if plan.is_entry), 0)
    pool = np.full(n, first, np.int32) if entry is None else entry.astype(np.int32)
    requests = requests_of(
        workload.arrived, workload.prompt, workload.output, pool, workload.group, workload.shared
    )
    sequences = max(plan.profile.sequences for plan in plans)
    carried = n if any(plan.role == "prefill" for plan in plans) else 0
    return World(
        requests,
        replicas_of(slots),
        _pools(plans, numbers),
        course_of(seed),
        finish=np.zeros((slots, sequences), np.int64),
        who=np.full((slots, sequences), NOBODY, np.int32),
        seen=np.full((slots, followed), NOBODY, np.int64),
        ready=np.full((len(plans), slots), NOBODY, np.int32),
        transfer_at=np.zeros(carried),
        transfer_who=np.zeros(carried, np.int32),
        done=np.full(n, NOBODY, np.int32),
    )


def _pools(plans: Sequence[PoolPlan], numbers: dict[str, int]) -> Table:
    made = np.zeros(len(plans), POOL)
    for place, plan in enumerate(plans):
        row, profile = made[place], plan.profile
        for name, value in zip(STEP_TERMS, profile.step.row(), strict=True):
            row[name] = value
        for name in ("request_seconds", "token_budget", "sequences", "cache_tokens", "is_chunked"):
            row[name] = getattr(profile, name)
        row["transfer_seconds"] = profile.transfer_seconds
        row["transfer_per_token"] = profile.transfer_token_seconds
        row["patience"], row["most_waiting"] = plan.patience_seconds, plan.most_waiting
        row["role"], row["router"] = ROLES[plan.role], plan.router
        row["next_pool"] = numbers.get(plan.sends_to, NOBODY)
        row["gate"], row["weight"] = NOBODY, plan.weight
        row["head"] = row["tail"] = NOBODY
    doors = [place for place, plan in enumerate(plans) if plan.is_entry]
    if len(doors) > 1:
        made["gate"][doors] = doors[0]
    return made
