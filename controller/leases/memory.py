"""A test double of a place that keeps leases: in memory, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller.leases.base import Lease
from store.clock import Clock
from store.errors import ControllerError


@dataclass(slots=True)
class _Row:
    owner: str
    token: int
    expires_at: float
    decision_id: int = 0


@dataclass(slots=True)
class MemoryLeaseTable:
    """Shared by those who are handed the same one.

    Args:
        clock: of the place.
        is_away: set by a test; then nothing answers.
    """

    clock: Clock
    is_away: bool = False
    _rows: dict[str, _Row] = field(default_factory=dict)

    def renew(self, pools: Sequence[str], owner: str, seconds: float) -> Mapping[str, Lease]:
        """Keep what is ours and take what is free."""
        now = self._now()
        for pool in pools:
            row = self._rows.setdefault(pool, _Row(owner, 1, now))
            if row.owner == owner or row.expires_at <= now:
                row.token += row.owner != owner
                row.owner, row.expires_at = owner, max(row.expires_at, now + seconds)
        return {
            pool: Lease(row.owner, row.token, row.expires_at > now)
            for pool in pools
            for row in (self._rows[pool],)
        }

    def confirm(self, pool: str, owner: str, token: int, decision_id: int, seconds: float) -> bool:
        """Note a decision and keep the lease, if it is still ours."""
        now, row = self._now(), self._rows.get(pool)
        if row is None or (row.owner, row.token) != (owner, token) or row.expires_at <= now:
            return False
        if decision_id < row.decision_id:
            return False
        row.decision_id, row.expires_at = decision_id, max(row.expires_at, now + seconds)
        return True

    def release(self, pools: Sequence[str], owner: str) -> None:
        """Let go of what is ours."""
        now = self._now()
        for pool in pools:
            row = self._rows.get(pool)
            if row is not None and row.owner == owner:
                row.expires_at = now

    def close(self) -> None:
        """Nothing to leave."""

    def _now(self) -> float:
        if self.is_away:
            raise ControllerError("the place of leases does not answer")
        return self.clock.monotonic()
