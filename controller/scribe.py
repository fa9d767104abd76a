"""What a step leaves in the ledger: an observation, a decision of each pool, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from controller import codec
from controller.actuators.base import Scale
from controller.book import Book, clips_json, numbers_json
from controller.codec import Given
from controller.hands import Read
from controller.modes import ACTIVE, APPROVE
from controller.observation import Observation, PoolView
from controller.observe import Seen
from controller.outlook import outlook
from controller.pools import Fleet
from controller.settings import ControllerSettings
from controller.step import HOLD, Step, kind_of
from store.clock import Clock
from store.decisions import DecisionRow, ObservationRow, Row, VerdictRow

MOST_NOTES = 50


class Scribe:
    """Belongs to one event loop.

    Args:
        book: numbers, memories, what waits.
        settings: how long decisions wait, how often memories are kept whole.
        clock: the time.
    """

    def __init__(self, book: Book, settings: ControllerSettings, clock: Clock) -> None:
        self.book = book
        self._settings, self._clock = settings, clock

    def rows(
        self, fleet: Fleet, observation: Observation, step: Step, read: Read
    ) -> list[DecisionRow]:
        """The decisions of a step, not written down yet."""
        number = self.book.next_observation()
        return [
            self._row(fleet, view, observation, step, read.scales.get(view.name), number)
            for view in observation.pools
        ]

    def _row(
        self,
        fleet: Fleet,
        view: PoolView,
        observation: Observation,
        step: Step,
        scale: Scale | None,
        number: int,
    ) -> DecisionRow:
        pool, mode = view.name, self.book.states[view.name].mode
        final, reason = step.passed.targets[pool], step.reason(pool)
        kind = kind_of(view, final)
        clips = [clip for clip in step.passed.clips if clip.pool == pool]
        proposed = None if step.proposal is None else step.proposal.targets.get(pool, view.target)
        seconds = self._settings.settle_seconds
        expected, unchanged = (
            {} if kind == HOLD else outlook(view, observation.objective, replicas, seconds)
            for replicas in (final, view.target)
        )
        decided_at = self.book.now()
        return DecisionRow(
            self.book.next_decision(), number, decided_at, pool, fleet.policy.spec.name, mode,
            kind, view.target, proposed, final, view.ready, view.starting, view.draining,
            step.passed.binding(pool), reason.code,
            clips[-1].text if clips and kind == HOLD else reason.text,
            clips_json(clips), numbers_json(reason.numbers, expected, unchanged),
            scale.version if scale else "", self._repeated(pool, kind, view.target, final, mode),
            decided_at + timedelta(seconds=self._settings.approve_seconds)
            if mode == APPROVE and kind != HOLD else None,
        )  # fmt: skip

    def _repeated(self, pool: str, kind: str, before: int, final: int, mode: str) -> int | None:
        """The decision that this one only says again: it waits for a person, or failed before."""
        if kind == HOLD:
            return None
        waiting, tried = self.book.pending.get(pool), self.book.open.get(pool)
        if mode == APPROVE and waiting is not None and not self._is_over(waiting):
            is_same = (waiting.before_replicas, waiting.final_replicas) == (before, final)
            return waiting.decision_id if is_same else None
        if mode == ACTIVE and tried is not None and tried.replicas == final:
            return tried.decision_id
        return None

    def _is_over(self, waiting: DecisionRow) -> bool:
        return waiting.expires_at is not None and waiting.expires_at <= self.book.now()

    async def write(
        self,
        fleet: Fleet,
        given: Given,
        step: Step,
        seen: Seen,
        rows: Sequence[DecisionRow],
        began: float,
    ) -> None:
        """Durable, or nothing is done."""
        thread = self.book.threads[fleet.name]
        is_kept = thread.previous_id is None or (
            thread.since_snapshot >= self._settings.snapshot_steps
        )
        number = rows[0].observation_id
        assert number is not None  # noqa: S101 - rows of a step have one
        row = ObservationRow(
            number, self.book.now(), fleet.name, fleet.policy.spec.name, fleet.parameters,
            codec.code_version(), thread.previous_id, thread.memory if is_kept else None,
            codec.given_bytes(given).decode(), step.result().decode(),
            list(seen.notes[:MOST_NOTES]), self._clock.monotonic() - began,
        )  # fmt: skip
        verdicts = self._verdicts(rows)
        kept: list[Row] = [row, *rows, *verdicts]
        await self.book.keep(kept)
        thread.memory, thread.previous_id = step.memory, number
        thread.since_snapshot = 1 if is_kept else thread.since_snapshot + 1
        for verdict in verdicts:
            self._forget_pending(verdict.decision_id)
        for one in rows:
            if one.mode == APPROVE and one.kind != HOLD and one.repeats is None:
                self.book.pending[one.pool] = one

    def _verdicts(self, rows: Sequence[DecisionRow]) -> list[VerdictRow]:
        """What becomes of decisions that waited: too late, or something else is wanted now."""
        found = []
        for row in rows:
            waiting = self.book.pending.get(row.pool)
            if waiting is None or row.repeats == waiting.decision_id:
                continue
            is_late = self._is_over(waiting)
            text = None if is_late else f"decision {row.decision_id} took its place"
            verdict = "expired" if is_late else "replaced"
            found.append(
                VerdictRow(waiting.decision_id, self.book.now(), verdict, "controller", text)
            )
        return found

    def _forget_pending(self, decision_id: int) -> None:
        for pool, waiting in list(self.book.pending.items()):
            if waiting.decision_id == decision_id:
                del self.book.pending[pool]
