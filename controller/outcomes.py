"""What came true of decisions, after the settling time: attainment, load, replicas and cost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from controller.book import Book, numbers_of
from controller.pools import Fleet, Pool
from store.decisions import OutcomeRow
from store.queries import decisions as queries

EVERY_SECONDS = 30.0
# Decisions from longer ago than this are not judged any more: the server was away.
LATE = timedelta(hours=6)


class Realised(Protocol):
    """What happened to the requests of a pool."""

    def realised(
        self, pool: Pool, start: datetime, end: datetime
    ) -> tuple[int, float | None, float | None]:
        """Requests that arrived, share of good ones, highest minute's rate; times naive UTC."""
        ...


class Outcomes:
    """Belongs to one event loop.

    Args:
        book: the ledger.
        realised: what happened.
        settle_seconds: after which a decision is judged.
    """

    def __init__(self, book: Book, realised: Realised, settle_seconds: float) -> None:
        self._book, self._realised = book, realised
        self._settle = timedelta(seconds=settle_seconds)
        self._next_at: dict[str, datetime] = {}

    async def settle(self, fleet: Fleet) -> int:
        """Judge what is due; gives how many decisions."""
        now = self._book.now()
        due_at = self._next_at.get(fleet.name)
        if due_at is not None and now < due_at:
            return 0
        self._next_at[fleet.name] = now + timedelta(seconds=EVERY_SECONDS)
        rows, judged = await asyncio.to_thread(self._rows, fleet, now)
        if rows:
            await self._book.keep(rows)
        return judged

    def _rows(self, fleet: Fleet, now: datetime) -> tuple[list[OutcomeRow], int]:
        pools = {pool.name: pool for pool in fleet.pools}
        reader = self._book.database.reader
        due = queries.due(reader, now - self._settle - LATE, now - self._settle)
        rows: list[OutcomeRow] = []
        judged = 0
        for row in due.iter_rows(named=True):
            if row["pool"] in pools:
                judged += 1
                rows += self._of(pools[row["pool"]], row, now)
        return rows, judged

    def _of(self, pool: Pool, row: Mapping[str, Any], now: datetime) -> list[OutcomeRow]:
        start, end = row["decided_at"], row["decided_at"] + self._settle
        _, attainment, peak = self._realised.realised(pool, start, end)
        replicas = queries.mean_replicas(self._book.database.reader, pool.name, start, end)
        hours = None if replicas is None else replicas * self._settle.total_seconds() / 3600
        price = pool.price_per_hour
        observed = {
            "attainment_ratio": attainment,
            "peak_requests_per_second": peak,
            "replica_hours": hours,
            "cost": None if hours is None or price is None else hours * price,
        }
        expected = numbers_of(row["numbers"]).get("expected", {})
        return [
            OutcomeRow(row["decision_id"], now, name, expected.get(name), value)
            for name, value in observed.items()
        ]
