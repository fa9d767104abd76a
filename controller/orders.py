"""What people tell the controller: modes, freezes, approvals, rollbacks; each with who and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from controller.actuators.base import Scale
from controller.loop import Loop
from controller.modes import ACTING, ACTIVE, APPROVE, DRY_RUN, PoolState, known_mode
from controller.policies.registry import check_mode
from controller.refusals import Conflict, Missing, NotAllowed, Who
from controller.settings import ControllerSettings
from store.audit import Change
from store.decisions import ChangeRow, DecisionRow, VerdictRow
from store.errors import ControllerError
from store.queries import decisions as queries

ROLLBACK = "rollback"
ROLLBACK_FREEZE_SECONDS = 900.0
REHEARSED_OVER = timedelta(days=30)
LONGEST_FREEZE_SECONDS = 30 * 86400.0


class Orders:
    """Belongs to one event loop.

    Args:
        loop: what is told.
        settings: what is allowed.
    """

    def __init__(self, loop: Loop, settings: ControllerSettings) -> None:
        self._loop, self._settings = loop, settings
        self._book = loop.book

    async def mode(
        self,
        pools: Sequence[str],
        mode: str,
        who: Who,
        expected: int | None = None,
        override: str = "",
    ) -> list[PoolState]:
        """Set the mode of pools; () is all.

        Args:
            pools: names.
            mode: off, dry-run, approve or active.
            who: says so.
            expected: version that was seen; None does not compare.
            override: the name of the pool, typed, to act without rehearsal or healthy telemetry.

        Raises:
            NotAllowed: acting was not rehearsed, or telemetry is not healthy.
            ControllerError: no such mode, or the policy may not act.
            Conflict: somebody was faster.
        """
        known_mode(mode)
        names = self.named(pools, expected)
        rows = []
        for name in names:
            if mode in ACTING:
                self._may_act(name, mode, override)
            replicas = None
            if mode in ACTING:
                scale = (await self._loop.hands.read([name])).scales.get(name)
                replicas = scale.wanted if scale else None
            rows.append(
                self._book.row(
                    name, "mode", who.name, value=mode, replicas=replicas, comment=who.comment
                )
            )
        return await self._changed(rows, f"mode {mode}", who)

    def refusals(self) -> dict[str, dict[str, ControllerError]]:
        """Modes that each pool may not be set to now, with why and what to do; most have none."""
        counts = self._rehearsed()
        found = {
            pool: {mode: self._refusal(pool, mode, counts) for mode in sorted(ACTING)}
            for pool in self._book.pools
        }
        return {
            pool: {mode: error for mode, error in modes.items() if error is not None}
            for pool, modes in found.items()
        }

    def _may_act(self, pool: str, mode: str, override: str) -> None:
        refusal = self._refusal(pool, mode, self._rehearsed())
        if refusal is None or (isinstance(refusal, NotAllowed) and override == pool):
            return
        raise refusal

    def _refusal(self, pool: str, mode: str, counts: Mapping[str, int]) -> ControllerError | None:
        """Why a pool may not act; one that is `NotAllowed` can be overridden."""
        fleet = self._loop.fleet_of(pool)
        try:
            check_mode(fleet.policy, mode)
        except ControllerError as error:
            return error
        if mode != ACTIVE:
            return None
        hint = f"let it run in {DRY_RUN} first, or override with the pool's name: {pool}"
        hours = counts.get(pool, 0) * fleet.policy.spec.period_seconds / 3600
        if hours < self._settings.rehearse_hours:
            return NotAllowed(
                f"{pool} has decided for {hours:.1f} h in {DRY_RUN};"
                f" {self._settings.rehearse_hours:g} h are asked for",
                hint=hint,
            )
        doubt = self._loop.doubt(pool)
        if doubt:
            return NotAllowed(f"what is seen of {pool} cannot be trusted: {doubt}", hint=hint)
        return None

    def _rehearsed(self) -> dict[str, int]:
        """Decisions of each pool in dry-run lately."""
        found = queries.rehearsed(self._book.database.reader, self._book.now() - REHEARSED_OVER)
        return {row["pool"]: int(row["decisions"]) for row in found.iter_rows(named=True)}

    async def freeze(
        self,
        pools: Sequence[str],
        seconds: float | None,
        who: Who,
        expected: int | None = None,
    ) -> list[PoolState]:
        """Hold pools as they are; they are decided upon and recorded as before.

        Args:
            pools: names; () is all.
            seconds: for how long; None until resumed.
            who: says so.
            expected: version that was seen; None does not compare.
        """
        if seconds is not None and not 0 < seconds <= LONGEST_FREEZE_SECONDS:
            raise ControllerError(
                f"a freeze of {seconds:g} s cannot be",
                hint="above 0, at most 30 days; or until resumed",
            )
        until = None if seconds is None else self._book.now() + timedelta(seconds=seconds)
        rows = [
            self._book.row(name, "freeze", who.name, until_at=until, comment=who.comment)
            for name in self.named(pools, expected)
        ]
        found = await self._changed(rows, "freeze", who)
        end = "resumed" if until is None else f"{until:%Y-%m-%d %H:%M:%S} UTC"
        for row in rows:
            text = f"{row.pool}: frozen by {who.name} until {end}"
            self._book.tell(f"freeze:{row.version}", "freeze", row.pool, text)
        return found

    async def resume(
        self, pools: Sequence[str], who: Who, expected: int | None = None
    ) -> list[PoolState]:
        """End freezes, and accept what others set.

        Raises:
            ControllerError: without a comment.
        """
        if not who.comment.strip():
            raise ControllerError("say why", hint="resuming needs a comment")
        names = self.named(pools, expected)
        read = await self._loop.hands.read(names)
        rows = []
        for name in names:
            scale = read.scales.get(name)
            wanted = scale.wanted if scale else None
            rows.append(
                self._book.row(name, "resume", who.name, replicas=wanted, comment=who.comment)
            )
        return await self._changed(rows, "resume", who)

    async def approve(self, decision_id: int, who: Who) -> dict[str, Any]:
        """Do a decision that waits.

        Raises:
            Conflict: it does not wait any more, or the platform has changed since.
            NotAllowed: the pool is frozen.
        """
        waiting = self._waiting(decision_id)
        pool, state = waiting.pool, self._book.states[waiting.pool]
        if state.mode != APPROVE:
            raise NotAllowed(f"{pool} is in {state.mode}: nothing waits for approval there")
        if state.frozen(self._book.now()):
            raise NotAllowed(f"{pool} is frozen", hint="resume it first")
        read = await self._loop.hands.read([pool])
        scale = read.scales.get(pool)
        if scale is None:
            raise NotAllowed(f"{pool} cannot be read: {read.problems[pool]}")
        if scale.wanted is not None and scale.wanted != waiting.before_replicas:
            raise Conflict(
                f"decision {decision_id} starts at {waiting.before_replicas} replicas, but"
                f" {scale.wanted} are wanted now",
                asdict(state),
            )
        self._waiting(decision_id)
        await self._verdict(waiting, "approved", who)
        assert waiting.final_replicas is not None  # noqa: S101 - what waits has a target
        outcome = await self._loop.do(pool, decision_id, waiting.final_replicas, scale)
        return {"decision_id": decision_id, "pool": pool, "outcome": outcome}

    async def reject(self, decision_id: int, who: Who) -> dict[str, Any]:
        """Do not do a decision that waits.

        Raises:
            Conflict: it does not wait any more.
        """
        waiting = self._waiting(decision_id)
        await self._verdict(waiting, "rejected", who)
        return {"decision_id": decision_id, "pool": waiting.pool, "outcome": "rejected"}

    def _waiting(self, decision_id: int) -> DecisionRow:
        for waiting in self._book.pending.values():
            is_late = waiting.expires_at is not None and waiting.expires_at <= self._book.now()
            if waiting.decision_id == decision_id and not is_late:
                return waiting
        found = queries.decision(self._book.database.reader, decision_id)
        if found is None:
            raise Missing(f"there is no decision {decision_id}")
        newer = self._book.pending.get(found["pool"])
        newer = None if newer is not None and newer.decision_id == decision_id else newer
        why, hint = _gone(found, newer, self._book.now())
        raise Conflict(f"decision {decision_id} {why}", asdict(newer) if newer else {}, hint)

    async def _verdict(self, waiting: DecisionRow, verdict: str, who: Who) -> None:
        row = VerdictRow(
            waiting.decision_id, self._book.now(), verdict, who.name, who.comment or None
        )
        change = Change(
            who.name, f"controller.{verdict}", f"{waiting.pool} #{waiting.decision_id}",
            {"replicas": waiting.before_replicas}, {"replicas": waiting.final_replicas},
            who.origin, who.comment or None,
        )  # fmt: skip
        self._book.pending.pop(waiting.pool, None)
        await self._book.keep([row], [(self._book.clock.now(), change)])

    def rollback_of(self, decision_id: int) -> dict[str, Any]:
        """What a rollback would do: pool, what is wanted now, what would be.

        Raises:
            Missing: there is no such decision.
        """
        found = queries.decision(self._book.database.reader, decision_id)
        if found is None or found["pool"] not in self._book.states:
            raise Missing(f"there is no decision {decision_id} of a pool that is controlled")
        pool = found["pool"]
        view = self._loop.views.get(pool)
        fleet = self._loop.fleet_of(pool)
        rules = fleet.rules.of(pool)
        to = min(max(found["before_replicas"] or 0, rules.least), rules.most)
        return {
            "decision_id": decision_id,
            "pool": pool,
            "from_replicas": view.target if view else None,
            "to_replicas": to,
            "freeze_seconds": ROLLBACK_FREEZE_SECONDS,
        }

    async def rollback(
        self, decision_id: int, who: Who, expected: int | None = None
    ) -> dict[str, Any]:
        """Return a pool to what it was before a decision, and freeze it for a quarter of an hour.

        Raises:
            NotAllowed: the pool is not acted upon, or cannot be read.
            Conflict: somebody was faster.
        """
        plan = self.rollback_of(decision_id)
        pool = plan["pool"]
        self.named([pool], expected)
        state = self._book.states[pool]
        if state.mode not in ACTING:
            raise NotAllowed(
                f"{pool} is in {state.mode}: nothing is done to it", hint="change it by hand"
            )
        if not self._loop.leases.take(pool):
            raise NotAllowed(f"the lease of {pool} is held by {self._loop.leases.owner(pool)}")
        read = await self._loop.hands.read([pool])
        scale = read.scales.get(pool)
        if scale is None:
            raise NotAllowed(f"{pool} cannot be read: {read.problems[pool]}")
        await self.freeze(
            [pool], ROLLBACK_FREEZE_SECONDS, replace(who, comment=f"rollback of {decision_id}")
        )
        row = self._by_hand(pool, decision_id, scale, plan["to_replicas"], who)
        change = Change(
            who.name, "controller.rollback", f"{pool} #{decision_id}",
            {"replicas": scale.wanted}, {"replicas": plan["to_replicas"]}, who.origin, who.comment,
        )  # fmt: skip
        await self._book.keep([row], [(self._book.clock.now(), change)])
        outcome = "unchanged"
        if row.kind != "hold":
            outcome = await self._loop.do(pool, row.decision_id, plan["to_replicas"], scale)
        return {**plan, "outcome": outcome, "by_decision": row.decision_id}

    def _by_hand(
        self, pool: str, decision_id: int, scale: Scale, replicas: int, who: Who
    ) -> DecisionRow:
        before = scale.wanted
        kind = (
            "hold"
            if before == replicas
            else "up"
            if before is None or replicas > before
            else "down"
        )
        return DecisionRow(
            self._book.next_decision(), None, self._book.now(), pool, ROLLBACK,
            self._book.states[pool].mode, kind, before, replicas, replicas, scale.ready,
            scale.starting, scale.draining, "", ROLLBACK,
            f"{who.name} returned it to what it was before decision {decision_id}",
            platform_version=scale.version,
        )  # fmt: skip

    def named(self, pools: Sequence[str], expected: int | None) -> list[str]:
        """Pools by name, () being all.

        Raises:
            Missing: there is no such pool.
            Conflict: somebody changed one since the version that was seen.
        """
        states = self._book.states
        for pool in pools:
            if pool not in states:
                raise Missing(f"there is no pool '{pool}'", hint=f"there are: {', '.join(states)}")
        names = list(dict.fromkeys(pools)) or list(states)
        newest = max((states[name].version for name in names), default=0)
        if expected is not None and expected != newest:
            raise Conflict(
                f"somebody changed {', '.join(names)} meanwhile",
                {name: asdict(states[name]) for name in names},
            )
        return names

    async def _changed(self, rows: Sequence[ChangeRow], action: str, who: Who) -> list[PoolState]:
        names = [row.pool for row in rows]
        before = {name: _brief(self._book.states[name]) for name in names}
        change = Change(
            who.name, f"controller.{action.split()[0]}", ", ".join(names), before,
            {"kind": action, "until": rows[0].until_at}, who.origin, who.comment or None,
        )  # fmt: skip
        await self._book.change(rows, change)
        for name in names:
            if self._book.states[name].mode not in ACTING:
                self._loop.leases.release(name)
        return [self._book.states[name] for name in names]


def _brief(state: PoolState) -> dict[str, Any]:
    return {"mode": state.mode, "frozen": state.is_frozen, "foreign": state.foreign}


def _gone(
    found: Mapping[str, Any], newer: DecisionRow | None, now: datetime
) -> tuple[str, str | None]:
    """Why a decision does not wait for a person any more."""
    age = f"is {(now - found['decided_at']).total_seconds() / 60:.0f} min old and "
    if found["verdict"] in ("approved", "rejected"):
        return f"was {found['verdict']} by {found['verdict_by']}", None
    if newer is not None:
        diff = f"{newer.before_replicas} -> {newer.final_replicas}"
        return (
            f"{age}decision {newer.decision_id} ({diff}) replaced it",
            f"see: servescope controller explain {newer.decision_id}",
        )
    if found["verdict"] == "replaced":
        return f"{age}is not wanted any more", None
    if found["verdict"] == "superseded":
        return f"{age}was superseded: {found['verdict_comment']}", None
    if found["expires_at"] is not None:
        return f"{age}expired", None
    return "does not wait for anybody", "only changes in the mode approve do"
