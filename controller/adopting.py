"""What people tell about candidates: withdraw, adopt, return to the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from controller import codec
from controller.adoptions import ended, give_back, shadows_of
from controller.comparison.naming import parsed
from controller.loop import Loop
from controller.modes import ACTIVE, Adopted, PoolState, said
from controller.orders import Orders
from controller.policies.registry import check_mode
from controller.pools import Fleet
from controller.refusals import Conflict, Missing, NotAllowed, Who
from controller.settings import ControllerSettings
from controller.taking_up import Shadow
from store import replays
from store.audit import Change
from store.candidates import ADOPTED, OPEN_STATES, SHADOW, WITHDRAWN, CandidateRow
from store.errors import ControllerError
from store.queries import candidates as queries
from store.replays import Candidate


class CandidateOrders:
    """What people tell about candidates. Belongs to one event loop.

    Args:
        loop: what is told.
        orders: knows versions.
        settings: how long an active pool's candidate is watched before.
    """

    def __init__(self, loop: Loop, orders: Orders, settings: ControllerSettings) -> None:
        self._loop, self._orders, self._settings = loop, orders, settings
        self._book = loop.book
        self._turn = asyncio.Lock()

    async def propose(self, pool: str, wanted: str, who: Who) -> dict[str, Any]:
        """Let a policy be watched beside the one that decides a pool; gives the candidate.

        Args:
            pool: its name; those that are decided with it are watched with it.
            wanted: name, or name(parameter=value,…).
            who: says so.

        Raises:
            Missing: there is no such pool.
            ControllerError: it cannot be watched; the reason is kept with the candidate.
        """
        name, parameters = parsed(wanted)
        async with self._turn:
            self._orders.named([pool], None)
            proposed = Candidate(pool, name, parameters, None, who.name)
            at, writer = self._book.clock.now(), self._book.database.writer
            number = await asyncio.wrap_future(replays.propose(writer, at, proposed))
            await shadows_of(self._loop).look(self._loop.fleets, is_forced=True)
            row = await self._row(number)
            change = self._change("propose", row, who, {"policy": wanted})
            await self._book.keep([], [(at, change)])
        if row["state"] != SHADOW:
            raise ControllerError(
                f"candidate {number} is {row['state']}: {row['text']}",
                hint="see: servescope controller policies",
            )
        return row

    async def withdraw(
        self, candidate_id: int, who: Who, expected: int | None = None
    ) -> dict[str, Any]:
        """Do not watch a candidate any more; what it would have done is kept.

        Raises:
            Missing: there is none.
            Conflict: it is not watched, or somebody was faster.
        """
        async with self._turn:
            row = await self._row(candidate_id)
            if row["state"] == ADOPTED:
                raise NotAllowed(
                    f"candidate {candidate_id} decides {row['pool']}",
                    hint=f"servescope controller restore-policy {row['pool']}",
                )
            _open(row)
            if row["pool"] in self._book.states:
                self._orders.named([row["pool"]], expected)
            state = CandidateRow(
                candidate_id, self._book.now(), WITHDRAWN, who.comment or None, who.name
            )
            change = self._change("withdraw", row, who, {"state": WITHDRAWN})
            await self._book.keep([state], [(self._book.clock.now(), change)])
            shadows_of(self._loop).drop(candidate_id)
            return await self._row(candidate_id)

    async def adopt(
        self, candidate_id: int, who: Who, expected: int | None = None, override: str = ""
    ) -> dict[str, Any]:
        """Let a candidate decide its pools from the next step on, in the mode that they have.

        Args:
            candidate_id: which; it goes on with what it remembers.
            who: says so, and why.
            expected: newest version of the pools that was seen; None does not compare.
            override: the pool's name, typed: act without having been watched long enough.

        Raises:
            Missing: there is none.
            Conflict: it is not watched, or somebody was faster.
            NotAllowed: the pool is active, and the candidate was not watched long enough.
            ControllerError: without a comment, or a policy that may not decide live.
        """
        _commented(who, "adopting")
        async with self._turn:
            row = await self._row(candidate_id)
            _open(row)
            shadow = await self._shadow(row)
            fleet = self._loop.fleet(shadow.fleet)
            names = self._orders.named([pool.name for pool in fleet.pools], expected)
            await self._may_decide(shadow, fleet, override)
            adopted = self._adopted(shadow, row)
            value = codec.canonical(_kept(adopted)).decode()
            rows = [
                self._book.row(name, "adopt", who.name, value=value, comment=who.comment)
                for name in names
            ]
            took = f"candidate {candidate_id} took its place"
            now = self._book.now()
            more = [
                CandidateRow(candidate_id, now, ADOPTED, who.comment, who.name),
                *ended(self._loop, names, took, who.name),
            ]
            change = self._change(
                "adopt", row, who, {"policy": said(row["policy"], shadow.parameters)}
            )
            await self._book.change(rows, change, more)
            memory = shadow.memory
            shadows_of(self._loop).drop(candidate_id)
            await self._loop.decide_by(fleet.name, shadow.policy, shadow.parameters, memory)
            text = f"{fleet.name}: {row['policy']} decides, {adopted.text()}"
            text = f"{text}; {who.name}: {who.comment}"[:500]
            self._book.tell(f"adopt:{rows[0].version}", "policy", row["pool"], text)
            return await self._row(candidate_id)

    async def restore(
        self, pools: Sequence[str], who: Who, expected: int | None = None
    ) -> list[PoolState]:
        """Let the policy that the configuration names decide again.

        Args:
            pools: names; those that are decided together return together.
            who: says so, and why.
            expected: newest version of the named pools that was seen; None does not compare.

        Raises:
            NotAllowed: it does already.
            ControllerError: without a comment.
        """
        _commented(who, "returning to the configuration")
        async with self._turn:
            names = self._orders.named(pools, expected)
            fleets = {self._loop.fleet_of(name).name: None for name in names}
            mine = [
                self._loop.fleet(name)
                for name in fleets
                if any(self._book.states[p.name].adopted for p in self._loop.fleet(name).pools)
            ]
            if not mine:
                raise NotAllowed(
                    f"{', '.join(names)}: the policy of the configuration decides already"
                )
            for fleet in mine:
                await give_back(self._loop, fleet, who)
            return [self._book.states[pool.name] for fleet in mine for pool in fleet.pools]

    async def _row(self, candidate_id: int) -> dict[str, Any]:
        found = await asyncio.to_thread(queries.listed, self._book.database.reader, candidate_id)
        if found.is_empty():
            raise Missing(
                f"there is no candidate {candidate_id}",
                hint="`servescope controller candidates` has them",
            )
        return found.to_dicts()[0]

    async def _shadow(self, row: Mapping[str, Any]) -> Shadow:
        shadows = shadows_of(self._loop)
        await shadows.look(self._loop.fleets, is_forced=True)
        shadow = shadows.watched.get(row["candidate_id"])
        if shadow is None:
            now = await self._row(row["candidate_id"])
            why = now["text"] if now["state"] not in OPEN_STATES else "its pool is not there"
            raise NotAllowed(f"candidate {row['candidate_id']} is not watched: {why}")
        return shadow

    def refusal(self, candidate_id: int) -> tuple[ControllerError, str] | None:
        """Why a candidate that is watched may not decide now, and which name typed overrides that.

        "" where nothing does; None where it may decide, or is not watched.
        """
        shadow = shadows_of(self._loop).watched.get(candidate_id)
        return None if shadow is None else self._refusal(shadow, self._loop.fleet(shadow.fleet))

    async def _may_decide(self, shadow: Shadow, fleet: Fleet, override: str) -> None:
        found = await asyncio.to_thread(self._refusal, shadow, fleet)
        # Any of the pools that are active may be named.
        active = [pool.name for pool in fleet.pools if self._mode(pool.name) == ACTIVE]
        if found is not None and not (found[1] and override in active):
            raise found[0]

    def _mode(self, pool: str) -> str:
        return self._book.states[pool].mode

    def _refusal(self, shadow: Shadow, fleet: Fleet) -> tuple[ControllerError, str] | None:
        modes = {pool.name: self._mode(pool.name) for pool in fleet.pools}
        try:
            for mode in modes.values():
                check_mode(shadow.policy, mode)
        except ControllerError as error:
            return error, ""
        active = [name for name, mode in modes.items() if mode == ACTIVE]
        if not active:
            return None
        steps = queries.watched(self._book.database.reader, shadow.candidate_id)
        pace = max(shadow.policy.spec.period_seconds, fleet.policy.spec.period_seconds)
        hours = steps["steps"] * pace / 3600
        if hours >= self._settings.rehearse_hours:
            return None
        return NotAllowed(
            f"candidate {shadow.candidate_id} was watched for {hours:.1f} h and {active[0]} is"
            f" active; {self._settings.rehearse_hours:g} h are asked for",
            hint=f"let it be watched on, or override with the pool's name: {active[0]}",
        ), active[0]

    def _adopted(self, shadow: Shadow, row: Mapping[str, Any]) -> Adopted:
        configured = self._loop.configured[shadow.fleet]
        return Adopted(
            shadow.candidate_id, row["policy"], shadow.parameters, row["replay_id"],
            shadow.fleet, configured.policy.spec.name, configured.parameters,
        )  # fmt: skip

    def _change(
        self, action: str, row: Mapping[str, Any], who: Who, after: Mapping[str, Any]
    ) -> Change:
        subject = f"{row['pool']} candidate {row['candidate_id']}"
        before = {"state": row["state"]}
        if action == "adopt":
            fleet = self._loop.fleet_of(row["pool"])
            before = {"policy": said(fleet.policy.spec.name, fleet.parameters)}
        return Change(
            who.name, f"controller.{action}", subject, before,
            {**after, "replay_id": row["replay_id"]}, who.origin, who.comment or None,
        )  # fmt: skip


def _kept(adopted: Adopted) -> dict[str, Any]:
    """What is written down of it; who, when and why stand in the row."""
    return {name: value for name, value in asdict(adopted).items() if name not in _OF_THE_ROW}


_OF_THE_ROW = ("by", "at", "comment")


def _open(row: Mapping[str, Any]) -> None:
    if row["state"] not in OPEN_STATES:
        text = f": {row['text']}" if row["text"] else ""
        raise Conflict(f"candidate {row['candidate_id']} is {row['state']}{text}", dict(row))


def _commented(who: Who, what: str) -> None:
    if not who.comment.strip():
        raise ControllerError("say why", hint=f"{what} needs a comment")
