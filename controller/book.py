"""What the loop knows and has written down: states of pools, memories, numbers, open ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from controller import codec, ledger
from controller.modes import PoolState, changed, folded
from controller.policy import Policy
from store import decisions
from store.append import EVENT_FRAME
from store.audit import Change
from store.clock import Clock
from store.database import Database
from store.decisions import ChangeRow, DecisionRow, Row, VerdictRow
from store.errors import ServescopeError
from store.queries import decisions as queries
from store.queries.scope import LIVE_SOURCE_ID

EMPTY_MEMORY = "{}"
SUPERSEDED = "superseded"
MOST_WAIT_SECONDS = 600.0


@dataclass(slots=True)
class Open:
    """A decision that was to be done and is not known to be.

    Attributes:
        decision_id: of it.
        replicas: wanted by it.
        before: replicas before it.
        attempts: made so far.
        next_at: naive UTC; not tried again before.
        is_from_before: of another run of this program.
        text: what went wrong last.
    """

    decision_id: int
    replicas: int
    before: int | None
    attempts: int
    next_at: datetime
    is_from_before: bool = False
    text: str = ""


@dataclass(slots=True)
class Thread:
    """One fleet's chain of steps."""

    memory: str = EMPTY_MEMORY
    previous_id: int | None = None
    since_snapshot: int = 0


@dataclass(slots=True)
class Book:
    """Belongs to one event loop; `load` may run in another thread before it.

    Args:
        database: the store.
        clock: stamps.
        pools: names.
        default_mode: of pools that nobody set.
    """

    database: Database
    clock: Clock
    pools: tuple[str, ...]
    default_mode: str
    states: dict[str, PoolState] = field(default_factory=dict)
    threads: dict[str, Thread] = field(default_factory=dict)
    changed_at: dict[str, float] = field(default_factory=dict)
    pending: dict[str, DecisionRow] = field(default_factory=dict)
    open: dict[str, Open] = field(default_factory=dict)
    version: int = 0
    _observation_id: int = 0
    _decision_id: int = 0

    def load(self) -> None:
        """Read how things stood."""
        reader = self.database.reader
        rows = queries.changes(reader).to_dicts()
        self.states = folded(self.pools, rows, self.default_mode)
        self._observation_id, self._decision_id, self.version = queries.numbers(reader)
        for row in queries.last_done(reader).iter_rows(named=True):
            self._done_before(row)
        now = self.now()
        for row in queries.unfinished(reader).iter_rows(named=True):
            if row["pool"] in self.states:
                self.open[row["pool"]] = Open(
                    row["decision_id"], row["final_replicas"], row["before_replicas"],
                    row["attempts"], now, is_from_before=True,
                )  # fmt: skip
        names = DecisionRow.__dataclass_fields__
        for row in queries.pending(reader, now).iter_rows(named=True):
            if row["pool"] in self.states:
                self.pending[row["pool"]] = DecisionRow(
                    **{name: row[name] for name in names if name in row}
                )
        self._supersede(now)

    def _supersede(self, now: datetime) -> None:
        """What waited for a person and does not any more, since a restart came in between."""
        waiting = {row.decision_id for row in self.pending.values()}
        rows: list[Row] = []
        for row in queries.unanswered(self.database.reader):
            if row["decision_id"] not in waiting:
                is_late = row["expires_at"] is not None and row["expires_at"] <= now
                why = "its time had run out" if is_late else "nothing waits for it any more"
                text = f"the controller was started again, and {why}"
                rows.append(VerdictRow(row["decision_id"], now, SUPERSEDED, "controller", text))
        if rows:
            decisions.keep(self.database.writer, rows).result()

    def _done_before(self, row: Mapping[str, Any]) -> None:
        state = self.states.get(row["pool"])
        if state is None:
            return
        if row["changed_at"] is not None:
            self.changed_at[row["pool"]] = row["changed_at"].replace(tzinfo=UTC).timestamp()
        if state.baseline_at is None or row["acted_at"] >= state.baseline_at:
            self.states[row["pool"]] = replace(
                state, baseline=row["replicas"], baseline_at=row["acted_at"]
            )

    def resume_memory(self, fleet: str, policy: Policy, parameters: str) -> bool:
        """Go on with what the policy of a fleet remembered; False if another decided last."""
        thread = self.threads.setdefault(fleet, Thread())
        steps = queries.newest_steps(self.database.reader, 1, [fleet])
        if not steps:
            return False
        chain = queries.chain(self.database.reader, steps[0][0])
        last = chain[-1]
        if (last["policy"], last["parameters"]) != (policy.spec.name, parameters):
            return False
        thread.memory = ledger.memory_after(chain, policy)
        return True

    def now(self) -> datetime:
        """Naive UTC."""
        return self.clock.now().replace(tzinfo=None)

    def next_observation(self) -> int:
        """A number that was never given before."""
        self._observation_id += 1
        return self._observation_id

    def next_decision(self) -> int:
        """A number that was never given before."""
        self._decision_id += 1
        return self._decision_id

    async def keep(
        self, rows: Sequence[Row], audits: Sequence[tuple[datetime, Change]] = ()
    ) -> None:
        """Write rows; they are durable when this returns.

        Raises:
            StoreError: they are not.
        """
        # Whoever stops waiting must not take the writer's answer away from it.
        await asyncio.shield(
            asyncio.wrap_future(decisions.keep(self.database.writer, rows, audits))
        )

    def tell(self, event_id: str, kind: str, subject: str, text: str) -> None:
        """Show it on all charts; one that cannot be written is not worth stopping for."""
        at = self.now()
        row = {
            "event_id": f"controller:{event_id}", "source_id": LIVE_SOURCE_ID, "started_at": at,
            "ended_at": at, "kind": kind, "subject": subject, "text": text, "details": None,
        }  # fmt: skip
        with suppress(ServescopeError):
            frame = pl.DataFrame([row], schema=dict(EVENT_FRAME))
            self.database.writer.append("event", frame)

    async def change(
        self, rows: Sequence[ChangeRow], audit: Change | None = None, more: Sequence[Row] = ()
    ) -> None:
        """Write changes of pools (and what belongs to them), then let them hold."""
        audits = [(self.clock.now(), audit)] if audit else []
        await self.keep([*rows, *more], audits)
        for row in rows:
            values = {name: getattr(row, name) for name in row.__slots__}
            self.states[row.pool] = changed(self.states[row.pool], values)

    def row(self, pool: str, kind: str, by: str, **more: Any) -> ChangeRow:
        """A change of a pool with the next version."""
        self.version += 1
        values: dict[str, Any] = {
            "value": None, "until_at": None, "replicas": None, "comment": None, **more,
        }  # fmt: skip
        return ChangeRow(
            version=self.version, changed_at=self.now(), pool=pool, kind=kind, changed_by=by,
            **values,
        )  # fmt: skip

    def done(self, pool: str, replicas: int, *, has_changed: bool) -> None:
        """A decision came through."""
        self.open.pop(pool, None)
        at = self.now()
        if has_changed:
            self.changed_at[pool] = self.clock.now().timestamp()
        self.states[pool] = replace(self.states[pool], baseline=replicas, baseline_at=at)

    def failed(self, pool: str, tried: Open, text: str) -> None:
        """A decision did not come through; it waits longer every time."""
        tried.attempts += 1
        tried.text = text
        wait = min(2.0 ** min(tried.attempts, 10) * 5.0, MOST_WAIT_SECONDS)
        tried.next_at = self.now() + timedelta(seconds=wait)
        self.open[pool] = tried


def numbers_json(
    policy: Mapping[str, float], expected: Mapping[str, float], unchanged: Mapping[str, float]
) -> str:
    """What a decision went by, what is expected of it, and what if nothing changed."""
    told = {"policy": dict(policy), "expected": dict(expected), "unchanged": dict(unchanged)}
    return codec.canonical(told).decode()


def clips_json(clips: Sequence[Any]) -> str:
    """What changed a pool's target."""
    return codec.canonical(list(clips)).decode()


def numbers_of(text: str) -> dict[str, dict[str, float]]:
    """What `numbers_json` wrote."""
    found: dict[str, dict[str, float]] = json.loads(text)
    return found
