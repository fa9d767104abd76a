"""Candidates that run beside the policy that decides: asked, limited, written down, never applied.

Everything here happens after a step of the policy that decides, in tasks and threads of its own. A
candidate that raises, hangs or wants what is no fleet is recorded as just that, and holds up
nobody.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from controller import codec, shadowing
from controller.actuators.base import Scale
from controller.book import Book
from controller.calling import Busy, Caller, Hung
from controller.codec import Given
from controller.ledger import Making
from controller.modes import ACTING, said
from controller.observe import Seen
from controller.policy import Policy
from controller.pools import Fleet
from controller.settings import ControllerSettings
from controller.shadow_rows import Followed, decision_rows, step_row
from controller.shadowing import Own
from controller.step import Proposed, Step, concluded
from store.candidates import PROPOSED, REFUSED, SHADOW, CandidateRow
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


@dataclass(slots=True)
class Shadow:
    """A candidate that is asked.

    Attributes:
        candidate_id: which.
        fleet: name of the pools that it is asked about.
        policy: of it.
        parameters: canonical JSON of what it was made with.
        caller: asks it.
        memory: canonical JSON of what it remembers.
        own: where it would stand.
        live: where the policy that decides would stand, had all it wants been applied.
        previous_id: its last step of this process.
        since_snapshot: steps since its memory was kept whole.
        asked_at: unix seconds; None before the first question.
        is_stepping: whether a question is under way.
    """

    candidate_id: int
    fleet: str
    policy: Policy
    parameters: str
    caller: Caller
    memory: str = "{}"
    own: Own = field(default_factory=Own)
    live: Own = field(default_factory=Own)
    previous_id: int | None = None
    since_snapshot: int = 0
    asked_at: float | None = None
    is_stepping: bool = False

    def is_due(self, at: float, pace_seconds: float) -> bool:
        """Whether its own period is over, as near as steps of another pace allow."""
        period = self.policy.spec.period_seconds
        if self.asked_at is None or at < self.asked_at:
            return True
        return at - self.asked_at >= period - min(pace_seconds, period) / 2


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
        return [one for one in self.watched.values() if one.fleet == fleet]

    def drop(self, candidate_id: int) -> Shadow | None:
        """Do not ask a candidate any more; gives it with what it remembers."""
        return self.watched.pop(candidate_id, None)

    async def _follow(self, fleets: tuple[Fleet, ...], followed: Followed) -> None:
        try:
            await self.look(fleets)
        except Exception as error:  # noqa: BLE001 - the policy that decides goes on
            self._failed(f"candidates could not be read: {error}", followed.fleet.name)
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

    async def look(self, fleets: Sequence[Fleet], *, is_forced: bool = False) -> None:
        """Take up what was proposed, and let go of what is not wanted any more."""
        async with self._looking:
            now = self._book.now()
            if not is_forced and self._look_at is not None and now < self._look_at:
                return
            reader = self._book.database.reader
            if self._step_id is None:
                self._step_id = await asyncio.to_thread(queries.last_step_id, reader)
            rows = await asyncio.to_thread(queries.open_candidates, reader)
            for number in set(self.watched) - {row["candidate_id"] for row in rows}:
                self.drop(number)
            for row in rows:
                if row["candidate_id"] not in self.watched:
                    await self._take(row, fleets)
            self._look_at = now + LOOK

    async def _take(self, row: Mapping[str, Any], fleets: Sequence[Fleet]) -> None:
        fleet = next((f for f in fleets if row["pool"] in {p.name for p in f.pools}), None)
        if fleet is None:
            names = ", ".join(pool.name for one in fleets for pool in one.pools)
            if row["state"] == PROPOSED:
                await self._stand(row, REFUSED, f"there is no pool '{row['pool']}': {names}")
            return
        try:
            policy = await asyncio.to_thread(
                self.making, row["policy"], json.loads(row["parameters"])
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it is said
            await self._stand(row, REFUSED, f"it cannot be made: {_line(error)}")
            return
        parameters = codec.canonical(json.loads(row["parameters"])).decode()
        refusal = self._refusal(fleet, policy, parameters)
        if refusal:
            await self._stand(row, REFUSED, refusal)
            return
        caller = Caller(f"candidate {row['candidate_id']} ({policy.spec.name})")
        shadow = Shadow(row["candidate_id"], fleet.name, policy, parameters, caller)
        if row["state"] == PROPOSED:
            await self._stand(row, SHADOW, f"beside {fleet.policy.spec.name}, on {fleet.name}")
        else:
            await asyncio.to_thread(self._resume, shadow)
        self.watched[shadow.candidate_id] = shadow

    def _refusal(self, fleet: Fleet, policy: Policy, parameters: str) -> str:
        """Why a candidate is not watched; "" when it is."""
        name, mine = policy.spec.name, self.of(fleet.name)
        if policy.spec.needs_future:
            return f"{name} looks at the future: it runs in replay alone"
        if (name, parameters) == (fleet.policy.spec.name, fleet.parameters):
            return f"{said(name, parameters)} decides {fleet.name} already"
        for one in mine:
            if (name, parameters) == (one.policy.spec.name, one.parameters):
                return f"candidate {one.candidate_id} is the same and is watched already"
        most = self._settings.most_shadows
        if len(mine) >= most:
            return (
                f"{len(mine)} candidates are watched on {fleet.name} already, at most {most}:"
                " withdraw one (servescope controller withdraw N), then propose it again"
            )
        return ""

    async def _stand(self, row: Mapping[str, Any], state: str, text: str) -> None:
        number, now = row["candidate_id"], self._book.now()
        await self._book.keep([CandidateRow(number, now, state, text[:500], "controller")])
        told = f"candidate {number} ({row['policy']}): {state}; {text}"
        self._book.tell(f"candidate:{number}:{state}", "candidate", row["pool"], told[:500])

    def _resume(self, shadow: Shadow) -> None:
        """Go on with what it remembered, and where both would have stood."""
        reader = self._book.database.reader
        steps = queries.newest_steps(reader, 1, shadow.candidate_id)
        if not steps:
            return
        chain = queries.chain(reader, steps[0][0])
        shadow.memory, shadow.own = shadowing.resumed(chain, shadow.policy)
        rows = queries.last_replicas(reader, shadow.candidate_id)
        shadow.live = Own({row["pool"]: row["live_replicas"] for row in rows})

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
            self._failed(_line(error), f"candidate {shadow.candidate_id}")
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


def _line(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{text} ({hint})" if (hint := getattr(error, "hint", None)) else text
