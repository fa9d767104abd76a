"""Leases that a table keeps for a while, renewed by a thread as long as this process goes on.

A process that stops, or is cut off, stops renewing; then its leases run out, and another has them.
Whoever cannot renew knows when that is, by its own clock, and stops sooner.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.leases.base import Lease, LeaseTable
from store.clock import Clock
from store.errors import ControllerError

log = logging.getLogger(__name__)

ROUNDS = 3
"""Renewals within the time of a lease: two may fail and nothing is lost."""
SURE_SHARE = 0.9
"""Of a lease's time that we count on: clocks of two machines do not run alike."""
CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Held:
    token: int
    until: float  # by our monotonic clock


class KeptLeases:
    """The leases of one process in a table.

    Args:
        table: where they are kept; used by one thread at a time.
        owner: who we are; never the same for two processes.
        clock: measures how long we may count on a lease.
        seconds: a lease lasts without renewal.
        pools: wanted from the start.
    """

    def __init__(
        self, table: LeaseTable, owner: str, clock: Clock, seconds: float,
        pools: Iterable[str] = (),
    ) -> None:  # fmt: skip
        self._table, self._owner, self._clock = table, owner, clock
        self._seconds = seconds
        self._turn = threading.Lock()
        self._soon = threading.Event()
        self._wanted = set(pools)
        self._left: set[str] = set()
        self._held: dict[str, _Held] = {}
        self._known: Mapping[str, Lease] = {}
        self._trouble: str | None = None
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to renew; the first round is over when this returns, whatever came of it."""
        self.round()
        self._thread = threading.Thread(target=self._go_on, name="leases", daemon=True)
        self._thread.start()

    def take(self, pool: str) -> bool:
        """Whether the lease is ours; if not, it is asked for from now on.

        Raises:
            ControllerError: the table does not answer.
        """
        if pool not in self._wanted:
            self._wanted.add(pool)
            self._left.discard(pool)
            self._soon.set()
        if self.holds(pool):
            return True
        if self._trouble is not None:
            raise ControllerError(self._trouble, hint="pools are left as they are until it does")
        return False

    def holds(self, pool: str) -> bool:
        """Whether the lease is ours, by our own clock and on the safe side."""
        held = self._held.get(pool)
        return held is not None and self._clock.monotonic() < held.until

    async def confirm(self, pool: str, decision_id: int, seconds: float) -> bool:
        """Whether a decision may be done now; asks the table, and keeps the lease meanwhile."""
        if not self.holds(pool):
            return False
        return await asyncio.to_thread(self._confirm, pool, decision_id, seconds)

    def _confirm(self, pool: str, decision_id: int, seconds: float) -> bool:
        held = self._held.get(pool)
        if held is None:
            return False
        try:
            with self._turn:
                return self._table.confirm(pool, self._owner, held.token, decision_id, seconds)
        except ControllerError as error:
            log.warning("lease_not_confirmed", extra={"pool": pool, "error": str(error)})
            return False

    def token(self, pool: str) -> int:
        """Of our lease; 0 without one."""
        return self._held[pool].token if self.holds(pool) else 0

    def owner(self, pool: str) -> str:
        """Who holds it, or held it last, as far as is known."""
        lease = self._known.get(pool)
        if lease is None:
            return self._trouble or "nobody yet"
        return lease.owner if lease.is_held else f"nobody (last {lease.owner})"

    def release(self, pool: str) -> None:
        """Let go of a pool at the next round, which is now."""
        self._held.pop(pool, None)
        if pool in self._wanted:
            self._wanted.discard(pool)
            self._left.add(pool)
            self._soon.set()

    def release_all(self, pools: Iterable[str] | None = None) -> None:
        """Let go of all, or of those given."""
        for pool in list(self._wanted if pools is None else pools):
            self.release(pool)

    def close(self) -> None:
        """Let go of all and end."""
        self._is_closed = True
        self._soon.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
        self.release_all()
        self.round()
        self._table.close()

    def round(self) -> None:
        """Renew once: let go of what was left, keep what is ours, take what is free."""
        began = self._clock.monotonic()
        wanted, left = sorted(self._wanted), sorted(self._left)
        try:
            with self._turn:
                if left:
                    self._table.release(left, self._owner)
                    self._left.difference_update(left)
                found = self._table.renew(wanted, self._owner, self._seconds) if wanted else {}
        except ControllerError as error:
            if self._trouble is None:
                log.warning("leases_not_renewed", extra={"error": str(error)})
            self._trouble = error.message
            return
        self._trouble, self._known = None, found
        # Counted from before the table was asked, so never longer than it counts.
        until = began + self._seconds * SURE_SHARE
        self._held = {
            pool: _Held(lease.token, until)
            for pool, lease in found.items()
            if lease.is_held and lease.owner == self._owner and pool in self._wanted
        }

    def _go_on(self) -> None:
        while not self._is_closed:
            self._soon.wait(self._seconds / ROUNDS)
            self._soon.clear()
            if not self._is_closed:
                self.round()
