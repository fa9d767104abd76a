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
    FREE,
    LEAST_OUTSTANDING,
    NOBODY,
    PREFILL,
    READY,
    STARTING,
    TERMS,
    WHOLE,
    Pools,
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
        workload: what arrives, all of it at the first pool of its model.
        pools: entry pool first.
        seed: of start-up times, dice and failures.
        entry: (n,) pool of each request; None: the first.
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
        self._draining: set[int] = set()
        self.lives: list[Life] = []
        self.scale_events = 0

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return float(self.world.course.now[0])

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
        mine = self.world.replicas.pool == self._numbers[pool]
        state = self.world.replicas.state[mine]
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
        count = int(self.world.pools.ready_count[number])
        if not count:
            return -1
        slot = int(self.world.pools.ready[number, self._random.integers(count)])
        lost = events.failed_all(self.world, slot, self.now, FAILED)
        self._leave_ready(number, slot)
        self._stop(slot, self.now)
        return int(lost)

    def finish(self, most_seconds: float = 3600.0) -> None:
        """Let what is under way end, at most so much later, and stop every replica."""
        end = self.now + most_seconds
        step = 1.0
        while self.now < end and (self.world.requests.status == 0).any():
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
        replicas.pool[slot] = number
        replicas.state[slot] = STARTING
        replicas.change[slot] = math.inf
        seconds = 0.0 if at_once else self.plans[number].startup.draw(self._random)
        self._of_slot[slot] = (self._born, self.now, math.nan)
        if at_once:
            self._serve(slot, self.now)
        else:
            heapq.heappush(self._pending, (self.now + seconds, self._born, slot))

    def _serve(self, slot: int, at: float) -> None:
        replicas, pools = self.world.replicas, self.world.pools
        number = int(replicas.pool[slot])
        replicas.state[slot] = READY
        replicas.clock[slot] = at
        pools.ready[number, pools.ready_count[number]] = slot
        pools.ready_count[number] += 1
        birth, asked_at, _ = self._of_slot[slot]
        self._of_slot[slot] = (birth, asked_at, at)
        events.release(self.world, number, at)

    def _shrink(self, number: int, count: int) -> None:
        """The youngest that start go first: they have no work; then those with the least."""
        replicas = self.world.replicas
        mine = np.flatnonzero((replicas.pool == number) & (replicas.state == STARTING))
        born = [self._of_slot[int(slot)][0] for slot in mine]
        for slot in mine[np.argsort(born)[::-1]][:count]:
            self._stop(int(slot), self.now)
            count -= 1
        ready = np.flatnonzero((replicas.pool == number) & (replicas.state == READY))
        work = replicas.running[ready] + replicas.waiting[ready]
        for slot in ready[np.argsort(work, kind="stable")][:count]:
            self._leave_ready(number, int(slot))
            replicas.state[slot] = DRAINING
            self._draining.add(int(slot))
        self._sweep()

    def _leave_ready(self, number: int, slot: int) -> None:
        pools = self.world.pools
        count = int(pools.ready_count[number])
        kept = [int(one) for one in pools.ready[number, :count] if one != slot]
        pools.ready[number, : len(kept)] = kept
        pools.ready_count[number] = len(kept)

    def _sweep(self) -> None:
        """Those that drained are gone."""
        for slot in sorted(self._draining):
            if not has_work(self.world, slot):
                self._stop(slot, self._idle_since(slot))

    def _idle_since(self, slot: int) -> float:
        _, asked_at, _ = self._of_slot[slot]
        return min(max(float(self.world.replicas.clock[slot]), asked_at), self.now)

    def _stop(self, slot: int, at: float) -> None:
        _, asked_at, ready_at = self._of_slot.pop(slot)
        replicas = self.world.replicas
        self.lives.append(Life(int(replicas.pool[slot]), asked_at, ready_at, max(at, asked_at)))
        self._draining.discard(slot)
        replicas.pool[slot], replicas.state[slot] = NOBODY, FREE
        replicas.seen[slot] = NOBODY
        for totals in (replicas.steps, replicas.prompt_total, replicas.output_total):
            totals[slot] = 0
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
    pool = np.zeros(n, np.int32) if entry is None else entry.astype(np.int32)
    requests = requests_of(
        workload.arrived, workload.prompt.copy(), workload.output, pool,
        workload.group, workload.shared,
    )  # fmt: skip
    return World(
        requests,
        replicas_of(slots, max(plan.profile.sequences for plan in plans), followed),
        _pools(plans, numbers, slots),
        course_of(n, seed, has_transfers=any(plan.role == "prefill" for plan in plans)),
    )


def _pools(plans: Sequence[PoolPlan], numbers: dict[str, int], slots: int) -> Pools:
    count = len(plans)
    profiles = [plan.profile for plan in plans]
    small = lambda values: np.array(values, np.int32)  # noqa: E731
    large = lambda values: np.array(values, np.int64)  # noqa: E731
    marks = lambda values: np.array(values, np.int8)  # noqa: E731
    step = np.stack([profile.step.row() for profile in profiles])
    assert step.shape == (count, TERMS)
    return Pools(
        step=step,
        request_seconds=np.array([profile.request_seconds for profile in profiles]),
        token_budget=large([profile.token_budget for profile in profiles]),
        sequences=small([profile.sequences for profile in profiles]),
        cache_tokens=large([profile.cache_tokens for profile in profiles]),
        is_chunked=marks([profile.is_chunked for profile in profiles]),
        role=marks([ROLES[plan.role] for plan in plans]),
        next_pool=small([numbers.get(plan.sends_to, NOBODY) for plan in plans]),
        transfer_seconds=np.array([profile.transfer_seconds for profile in profiles]),
        transfer_per_token=np.array([profile.transfer_token_seconds for profile in profiles]),
        router=marks([plan.router for plan in plans]),
        turn=large([0] * count),
        patience=np.array([plan.patience_seconds for plan in plans]),
        most_waiting=large([plan.most_waiting for plan in plans]),
        ready=np.full((count, slots), NOBODY, np.int32),
        ready_count=small([0] * count),
        head=small([NOBODY] * count),
        tail=small([NOBODY] * count),
        held=small([0] * count),
        arrived_total=large([0] * count),
        refused_total=large([0] * count),
    )
