"""Candidates that run beside the policy that decides: asked, limited, written down, never applied.

Everything here happens after a step of the policy that decides, in tasks and threads of its own. A
candidate that raises, hangs or wants what is no fleet is recorded as just that, and holds up
nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from controller import codec, shadowing
from controller.actuators.base import Scale
from controller.book import Book
from controller.calling import Busy, Hung
from controller.codec import Given
from controller.ledger import Making
from controller.modes import ACTING
from controller.observe import Seen
from controller.pools import Fleet
from controller.settings import ControllerSettings
from controller.shadow_rows import Followed, decision_rows, step_row
from controller.shadowing import Own
from controller.step import Proposed, Step, concluded
from controller.taking_up import Shadow, TakingUp, of_fleet, one_line
from store.decisions import Row
from store.queries import candidates as queries

LOOK = timedelta(seconds=5)
# Steps whose candidates have not come to an end; more are not begun.
MOST_TASKS = 20
log = logging.getLogger("servescope.controller")


class Eyes(Protocol):
    """Knows what was before; see `controller.loop.Eyes`."""

    def observe(self, fleet: Fleet, scales: Mapping[str, Scale], *, is_first: bool = False) -> Seen:
        """How the pools stand."""
        ...


class Shadows:
    """Belongs to one event loop.

    Args:
        book: writes down.
        making: makes policies.
        settings: limits.
        eyes: of its own, for what was before a candidate's first step; None does not tell it.
    """

    def __init__(
        self, book: Book, making: Making, settings: ControllerSettings, eyes: Eyes | None = None
    ) -> None:
        self.making = making
        self.watched: dict[int, Shadow] = {}
        self.failures: dict[str, int] = {}
        self._book, self._settings, self._eyes = book, settings, eyes
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = asyncio.Lock()
        self._look_at: datetime | None = None
        self._taking = TakingUp(book, making, settings)
        self._step_id: int | None = None

    def follow(self, fleets: Sequence[Fleet], followed: Followed) -> None:
        """Ask the candidates of a fleet the same, later; returns at once."""
        if len(self._tasks) >= MOST_TASKS:
            self._failed("too many steps wait for candidates", followed.fleet.name)
            return
        task = asyncio.create_task(self._follow(tuple(fleets), followed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Wait until everything that was begun is over; for tests."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Stop asking. Safe twice."""
        for task in list(self._tasks):
            task.cancel()
        await self.settled()

    def of(self, fleet: str) -> list[Shadow]:
        """The candidates of a fleet."""
        return of_fleet(self.watched, fleet)

    def drop(self, candidate_id: int) -> Shadow | None:
        """Do not ask a candidate any more; gives it with what it remembers."""
        return self.watched.pop(candidate_id, None)

    async def _follow(self, fleets: tuple[Fleet, ...], followed: Followed) -> None:
        await self.look_safely(fleets)
        ready = [one for one in self.of(followed.fleet.name) if not one.is_stepping]
        await asyncio.gather(*(self._safely(one, followed) for one in ready))

    def _failed(self, text: str, subject: str) -> None:
        self.failures[subject] = self.failures.get(subject, 0) + 1
        log.warning("shadow_failed", extra={"subject": subject, "error": text})

    async def _safely(self, shadow: Shadow, followed: Followed) -> None:
        shadow.is_stepping = True
        try:
            await self._step(shadow, followed)
        except Exception as error:  # noqa: BLE001 - the policy that decides goes on
            self._failed(f"{type(error).__name__}: {error}", f"candidate {shadow.candidate_id}")
        finally:
            shadow.is_stepping = False

    async def look_safely(self, fleets: Sequence[Fleet]) -> None:
        """As `look`; what goes wrong is counted and logged."""
        try:
            await self.look(fleets)
        except Exception as error:  # noqa: BLE001 - the policy that decides goes on
            self._failed(one_line(error), "candidates")

    async def look(self, fleets: Sequence[Fleet], *, is_forced: bool = False) -> None:
        """Take up what was proposed, and let go of what is not wanted any more."""
        async with self._looking:
            now = self._book.now()
            if not is_forced and self._look_at is not None and now < self._look_at:
                return
            if self._step_id is None:
                reader = self._book.database.reader
                self._step_id = await asyncio.to_thread(queries.last_step_id, reader)
            await self._taking.up(self.watched, fleets)
            self._look_at = now + LOOK

    def _lives(self, shadow: Shadow, followed: Followed) -> Mapping[str, int]:
        """Where the policy that decides would stand: what it decided, or would have come to."""
        given, step = followed.given, followed.step
        before = shadow.live.beside(given)
        proposed = Proposed(step.proposal, step.memory, step.error)
        would = concluded(shadowing.applied(given, before, given.failure), proposed)
        targets = {
            pool: step.passed.targets[pool] if self._book.states[pool].mode in ACTING else final
            for pool, final in would.passed.targets.items()
        }
        shadow.live = before.after(replace(would, passed=replace(would.passed, targets=targets)),
                                   given.observation.at)  # fmt: skip
        return targets

    async def _step(self, shadow: Shadow, followed: Followed) -> None:
        at, pace = followed.given.observation.at, followed.fleet.policy.spec.period_seconds
        lives = self._lives(shadow, followed)
        own = shadow.own.beside(followed.given)
        if not shadow.is_due(at, pace):
            rows = decision_rows(shadow.candidate_id, None, followed, own, None, lives)
            await self._keep(shadow, rows)
            return
        if shadow.asked_at is None and shadow.memory == "{}":
            own = replace(own, history=await self._history(shadow, followed.fleet))
        clock = self._book.clock
        began = clock.monotonic()
        step, failure = await self._asked(shadow, followed.given, own)
        number = self._next_step()
        is_kept = shadow.previous_id is None or (
            shadow.since_snapshot >= self._settings.snapshot_steps
        )
        row = step_row(
            number, shadow.candidate_id, followed, shadow.previous_id,
            shadow.memory if is_kept else None, shadowing.given_text(own, failure), step,
            clock.monotonic() - began,
        )  # fmt: skip
        rows = decision_rows(shadow.candidate_id, number, followed, own, step, lives)
        shadow.asked_at = at
        await self._keep(shadow, [row, *rows])
        shadow.memory, shadow.own = step.memory, own.after(step, at)
        shadow.previous_id = number
        shadow.since_snapshot = 1 if is_kept else shadow.since_snapshot + 1

    async def _asked(self, shadow: Shadow, given: Given, own: Own) -> tuple[Step, str]:
        memory = shadow.memory
        try:
            step = await shadow.caller.call(
                lambda: shadowing.asked(shadow.policy, given, own, memory),
                self._settings.policy_limit_seconds,
            )
        except (Hung, Busy) as error:
            return shadowing.unheard(given, own, memory, error.message), error.message
        return step, ""

    async def _history(self, shadow: Shadow, fleet: Fleet) -> Mapping[str, tuple[float, ...]]:
        """What was before, for one that remembers nothing; nothing where that cannot be read."""
        eyes = self._eyes
        if eyes is None:
            return {}
        try:
            seen = await shadow.caller.call(
                lambda: eyes.observe(fleet, {}, is_first=True), self._settings.policy_limit_seconds
            )
        except Exception as error:  # noqa: BLE001 - it begins without
            self._failed(one_line(error), f"candidate {shadow.candidate_id}")
            return {}
        clean = codec.sanitised(seen.observation)
        return {view.name: view.history for view in clean.pools if view.history}

    async def _keep(self, shadow: Shadow, rows: Sequence[Row]) -> None:
        """Of one that was dropped meanwhile nothing is kept."""
        if shadow.candidate_id in self.watched:
            await self._book.keep(rows)

    def _next_step(self) -> int:
        assert self._step_id is not None  # noqa: S101 - looked up before anything is taken up
        self._step_id += 1
        return self._step_id
