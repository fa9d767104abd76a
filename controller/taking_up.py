"""Candidates that were proposed are taken up, or refused with a reason; after a restart as well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controller import codec, shadowing
from controller.book import Book
from controller.calling import Caller
from controller.ledger import Making
from controller.modes import said
from controller.policy import Policy
from controller.pools import Fleet
from controller.settings import ControllerSettings
from controller.shadowing import Own
from store.candidates import PROPOSED, REFUSED, SHADOW, CandidateRow
from store.queries import candidates as queries


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


def of_fleet(watched: Mapping[int, Shadow], fleet: str) -> list[Shadow]:
    """The candidates of a fleet."""
    return [one for one in watched.values() if one.fleet == fleet]


class TakingUp:
    """Belongs to one event loop.

    Args:
        book: writes down.
        making: makes policies.
        settings: limits.
    """

    def __init__(self, book: Book, making: Making, settings: ControllerSettings) -> None:
        self._book, self._making, self._settings = book, making, settings

    async def up(self, watched: dict[int, Shadow], fleets: Sequence[Fleet]) -> None:
        """Make `watched` those that are wanted.

        Raises:
            StoreError: they cannot be read.
        """
        rows = await asyncio.to_thread(queries.open_candidates, self._book.database.reader)
        for number in set(watched) - {row["candidate_id"] for row in rows}:
            watched.pop(number, None)
        for row in rows:
            if row["candidate_id"] not in watched:
                await self._take(row, watched, fleets)

    async def _take(
        self, row: Mapping[str, Any], watched: dict[int, Shadow], fleets: Sequence[Fleet]
    ) -> None:
        fleet = next((f for f in fleets if row["pool"] in {p.name for p in f.pools}), None)
        if fleet is None:
            names = ", ".join(pool.name for one in fleets for pool in one.pools)
            if row["state"] == PROPOSED:
                await self._stand(row, REFUSED, f"there is no pool '{row['pool']}': {names}")
            return
        try:
            policy = await asyncio.to_thread(
                self._making, row["policy"], json.loads(row["parameters"])
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it is said
            await self._stand(row, REFUSED, f"it cannot be made: {one_line(error)}")
            return
        parameters = codec.canonical(json.loads(row["parameters"])).decode()
        refusal = self._refusal(of_fleet(watched, fleet.name), fleet, policy, parameters)
        if refusal:
            await self._stand(row, REFUSED, refusal)
            return
        caller = Caller(f"candidate {row['candidate_id']} ({policy.spec.name})")
        shadow = Shadow(row["candidate_id"], fleet.name, policy, parameters, caller)
        if row["state"] == PROPOSED:
            await self._stand(row, SHADOW, f"beside {fleet.policy.spec.name}, on {fleet.name}")
        else:
            await asyncio.to_thread(self._resume, shadow)
        watched[shadow.candidate_id] = shadow

    def _refusal(
        self, mine: Sequence[Shadow], fleet: Fleet, policy: Policy, parameters: str
    ) -> str:
        """Why a candidate is not watched; "" when it is."""
        name = policy.spec.name
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


def one_line(error: Exception) -> str:
    """What went wrong, with what to do."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
