"""The control loop: look, decide, write down, act. The same code in simulation and live.

    read platforms -> look -> policy (own thread, time limit) -> guards -> decision, durable -> act
                                                                     candidates, beside it <-+

Whatever fails on the way holds the pools as they are, is recorded, and is tried again at the next
step.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from controller import codec
from controller.actuators.base import Scale
from controller.book import EMPTY_MEMORY, Book, Thread
from controller.calling import Busy, Caller, Hung
from controller.codec import Given
from controller.guards import doubt_of
from controller.hands import Hands, Read
from controller.leases import Leases
from controller.modes import ACTIVE, OFF
from controller.observe import Seen, blind
from controller.outcomes import Outcomes
from controller.policy import Policy
from controller.pools import Fleet
from controller.scribe import Scribe
from controller.settings import ControllerSettings
from controller.shadow_rows import Followed
from controller.shadows import LOOK, Shadows
from controller.standings import Standings
from controller.step import HOLD, Proposed, Step, concluded, kind_of, propose
from store.clock import Clock
from store.decisions import DecisionRow

# Of the period, between the end of a step and the next.
LEAST_PAUSE = 0.1
log = logging.getLogger("servescope.controller")


class Eyes(Protocol):
    """What looks at a fleet: rows of the store, or a simulator."""

    def observe(self, fleet: Fleet, scales: Mapping[str, Scale], *, is_first: bool = False) -> Seen:
        """How the pools stand now; called in another thread.

        Args:
            fleet: its pools.
            scales: what the platforms tell.
            is_first: whether the policy remembers nothing, and is told what was before.
        """
        ...


@dataclass(slots=True)
class Counts:
    """Totals since the start.

    Attributes:
        ticks: steps, by fleet.
        holds: pools that were kept as they are, by what bound them.
        actions: by outcome.
        failures: steps that could not be made, by what failed.
        seconds: of the newest step, by fleet.
    """

    ticks: dict[str, int] = field(default_factory=dict)
    holds: dict[str, int] = field(default_factory=dict)
    actions: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def counted(into: dict[str, int], name: str) -> None:
    """One more of it."""
    into[name] = into.get(name, 0) + 1


class Loop:
    """Belongs to one event loop.

    Args:
        fleets: what is decided together.
        eyes: looks.
        hands: reads platforms and acts.
        book: remembers and writes down.
        leases: which pools are ours.
        settings: limits.
        clock: the time.
        outcomes: judges decisions afterwards; None leaves that out.
        shadows: asks candidates beside the policies that decide; None leaves that out.
    """

    def __init__(
        self,
        fleets: Sequence[Fleet],
        eyes: Eyes,
        hands: Hands,
        book: Book,
        leases: Leases,
        settings: ControllerSettings,
        clock: Clock,
        outcomes: Outcomes | None = None,
        shadows: Shadows | None = None,
    ) -> None:
        self.fleets = tuple(fleets)
        self.configured = {fleet.name: fleet for fleet in fleets}
        self.book, self.hands, self.leases = book, hands, leases
        self.counts = Counts()
        self._standings = Standings(book, leases)
        self.views, self.targets = self._standings.views, self._standings.targets
        self.notes: dict[str, tuple[str, ...]] = {}
        self.errors: dict[str, str] = {}
        """Why the policy of a fleet gave no answer at its last step."""
        self._eyes, self._settings, self._clock = eyes, settings, clock
        self._outcomes, self.shadows = outcomes, shadows
        self.scribe = Scribe(book, settings, clock)
        self._lookers = {fleet.name: Caller(f"look at {fleet.name}") for fleet in fleets}
        self._policies = {
            fleet.name: Caller(f"policy {fleet.policy.spec.name}") for fleet in fleets
        }
        self._turns = {fleet.name: asyncio.Lock() for fleet in fleets}
        self._tasks: list[asyncio.Task[None]] = []

    def load(self) -> None:
        """Read how things stood; before the first step, in any thread."""
        self.book.load()
        for fleet in self.fleets:
            self.book.resume_memory(fleet.name, fleet.policy, fleet.parameters)

    def start(self) -> None:
        """Decide again and again, each fleet at its policy's period."""
        if not self._tasks:
            names = [fleet.name for fleet in self.fleets]
            self._tasks = [asyncio.create_task(self._repeat(name)) for name in names]
            if self.shadows is not None:
                self._tasks.append(asyncio.create_task(self._look_out(self.shadows)))

    async def aclose(self) -> None:
        """Stop, and let the leases go. Safe twice and without start."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.shadows is not None:
            await self.shadows.aclose()
        self.leases.release_all(self.book.pools)
        await self.hands.aclose()

    async def _look_out(self, shadows: Shadows) -> None:
        """Candidates are taken up, or refused, before a slow policy makes its next step."""
        while True:
            await shadows.look_safely(self.fleets)
            await self._clock.sleep(LOOK.total_seconds())

    def fleet(self, name: str) -> Fleet:
        """A fleet, with the policy that decides it now."""
        return next(fleet for fleet in self.fleets if fleet.name == name)

    def fleet_of(self, pool: str) -> Fleet:
        """The fleet that a pool belongs to."""
        return next(one for one in self.fleets if pool in {mine.name for mine in one.pools})

    async def decide_by(self, name: str, policy: Policy, parameters: str, memory: str) -> None:
        """From the next step on a fleet is decided by another policy; a step under way ends first.

        Args:
            name: of the fleet.
            policy: decides.
            parameters: canonical JSON of what it was made with.
            memory: canonical JSON of what it remembers.
        """
        async with self._turns[name]:
            self.fleets = tuple(
                replace(fleet, policy=policy, parameters=parameters)
                if fleet.name == name
                else fleet
                for fleet in self.fleets
            )
            # One that hangs must not be waited for by its successor.
            self._policies[name] = Caller(f"policy {policy.spec.name}")
            self.book.threads[name] = Thread(memory)

    async def _repeat(self, name: str) -> None:
        while True:
            fleet = self.fleet(name)
            began, period = self._clock.monotonic(), fleet.policy.spec.period_seconds
            await self.tick_safely(fleet)
            spent = self._clock.monotonic() - began
            # A step that took too long is not made up for; others get their turn in between.
            await self._clock.sleep(max(period - spent, period * LEAST_PAUSE))

    async def tick_safely(self, fleet: Fleet) -> None:
        """A step; whatever it raises is counted and logged, and nothing is done."""
        try:
            await self.tick(fleet)
        except Exception as error:  # noqa: BLE001 - one of the loops that record and go on
            counted(self.counts.failures, type(error).__name__)
            log.warning("control_step_failed", extra={"fleet": fleet.name, "error": str(error)})

    async def tick(self, fleet: Fleet) -> None:
        """One step of one fleet.

        Raises:
            StoreError: it could not be written down; nothing was done.
        """
        async with self._turns[fleet.name]:
            fleet = self._watched(self.fleet(fleet.name))
            if fleet.pools:
                await self._tick(fleet)

    async def _tick(self, fleet: Fleet) -> None:
        began = self._clock.monotonic()
        read = await self.hands.read([pool.name for pool in fleet.pools])
        leased = self._standings.leased(fleet)
        for pool, scale in read.scales.items():
            if pool in leased:
                await self.hands.settle(pool, scale)
        seen = await self._look(fleet, read)
        given, step = await self._decide(fleet, seen, read, leased)
        rows = self.scribe.rows(fleet, given.observation, step, read)
        await self.scribe.write(fleet, given, step, seen, rows, began)
        self._remember(fleet, given, step, seen)
        await self._act(rows, read)
        self._follow(fleet, given, step, rows[0])
        if self._outcomes is not None:
            await self._outcomes.settle(fleet)
        counted(self.counts.ticks, fleet.name)
        self.counts.seconds[fleet.name] = self._clock.monotonic() - began

    def _follow(self, fleet: Fleet, given: Given, step: Step, row: DecisionRow) -> None:
        """Candidates are asked the same, in tasks of their own."""
        if self.shadows is not None and row.observation_id is not None:
            followed = Followed(fleet, given, step, row.observation_id, row.decided_at)
            self.shadows.follow(self.fleets, followed)

    def _watched(self, fleet: Fleet) -> Fleet:
        states = self.book.states
        pools = tuple(pool for pool in fleet.pools if states[pool.name].mode != OFF)
        return fleet if len(pools) == len(fleet.pools) else replace(fleet, pools=pools)

    async def _look(self, fleet: Fleet, read: Read) -> Seen:
        """What is seen; nothing but the platforms' word when that fails."""
        limit = self._settings.policy_limit_seconds
        is_first = self.book.threads.setdefault(fleet.name, Thread()).memory == EMPTY_MEMORY
        try:
            seen = await self._lookers[fleet.name].call(
                lambda: self._eyes.observe(fleet, read.scales, is_first=is_first), limit
            )
            return replace(seen, observation=codec.sanitised(seen.observation))
        except Exception as error:  # noqa: BLE001 - seeing nothing holds the fleet as it is
            counted(self.counts.failures, "look")
            text = f"nothing could be seen: {type(error).__name__}: {error}"
            at = self._clock.now().timestamp()
            unseen = blind(fleet, read.scales, at, self._settings.window_seconds)
            return Seen(codec.sanitised(unseen), (text[:500],))

    async def _decide(
        self, fleet: Fleet, seen: Seen, read: Read, leased: frozenset[str]
    ) -> tuple[Given, Step]:
        failure, observation = "", seen.observation
        memory = self.book.threads.setdefault(fleet.name, Thread()).memory
        limit = self._settings.policy_limit_seconds
        try:
            proposed = await self._policies[fleet.name].call(
                lambda: propose(fleet.policy, observation, memory), limit
            )
        except (Hung, Busy) as error:
            failure = error.message
            proposed = Proposed(None, memory, failure)
        # From here to the targets nothing waits: two fleets cannot spend the same budget.
        given = self._standings.given(self.fleets, fleet, seen, read.problems, leased)
        given = replace(given, failure=failure)
        step = concluded(given, proposed)
        self.targets.update(step.passed.targets)
        return given, step

    def _remember(self, fleet: Fleet, given: Given, step: Step, seen: Seen) -> None:
        for view in given.observation.pools:
            self.views[view.name] = view
            if kind_of(view, step.passed.targets[view.name]) == HOLD:
                counted(self.counts.holds, step.passed.binding(view.name) or "steady")
        self.notes[fleet.name], self.errors[fleet.name] = seen.notes, step.error

    async def _act(self, rows: Sequence[DecisionRow], read: Read) -> None:
        for row in rows:
            scale = read.scales.get(row.pool)
            if row.kind == HOLD or row.mode != ACTIVE or scale is None:
                continue
            state = self.book.states[row.pool]
            if state.mode != ACTIVE or state.frozen(self.book.now()):
                continue  # meanwhile somebody said stop
            tried = self.book.open.get(row.pool)
            if row.repeats is not None and tried is not None and tried.next_at > self.book.now():
                continue
            if row.final_replicas is not None:
                await self.do(row.pool, row.repeats or row.decision_id, row.final_replicas, scale)

    async def do(self, pool: str, decision_id: int, replicas: int, scale: Scale) -> str:
        """Act on a decision that is written down; gives the outcome."""
        applied = await self.hands.act(pool, decision_id, replicas, scale)
        counted(self.counts.actions, applied.outcome)
        is_done = applied.outcome in ("applied", "unchanged")
        told = {"pool": pool, "replicas": replicas, "outcome": applied.outcome}
        log.log(
            logging.INFO if is_done else logging.WARNING,
            "scaled" if is_done else "not_scaled",
            extra=told if is_done else {**told, "error": applied.text},
        )
        return applied.outcome

    def doubt(self, pool: str) -> str:
        """Why what is seen of a pool cannot be trusted now; "" when it can."""
        view = self.views.get(pool)
        if view is None:
            return "nothing was seen of it yet"
        return doubt_of(view, self.fleet_of(pool).rules.of(pool))


async def ran(loop: Loop) -> None:
    """One step of every fleet; for tests, simulations and `--once`."""
    for fleet in loop.fleets:
        await loop.tick_safely(fleet)
