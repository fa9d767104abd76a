"""Leases in a table of PostgreSQL: each change is one statement, by the database's clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from controller.leases.base import Lease
from store.errors import ControllerError, StoreError
from store.lake_tables import LakeTables

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")
_MADE = """
CREATE TABLE IF NOT EXISTS servescope_lease (
    pool TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    token BIGINT NOT NULL,
    decision_id BIGINT NOT NULL DEFAULT 0,
    expires_at TIMESTAMPTZ NOT NULL)
"""
# What is ours is kept, what has run out is taken over with a higher number, the rest stays.
_RENEWED = """
INSERT INTO servescope_lease AS lease (pool, owner, token, expires_at)
SELECT pool, %(owner)s, 1, clock_timestamp() + make_interval(secs => %(seconds)s)
FROM unnest(%(pools)s::text[]) AS wanted (pool)
ORDER BY pool
ON CONFLICT (pool) DO UPDATE SET
    owner = excluded.owner,
    token = lease.token + (lease.owner <> excluded.owner)::int,
    expires_at = greatest(lease.expires_at, excluded.expires_at)
WHERE lease.owner = excluded.owner OR lease.expires_at <= clock_timestamp()
"""
_STANDS = """
SELECT pool, owner, token, expires_at > clock_timestamp()
FROM servescope_lease WHERE pool = ANY(%(pools)s)
"""
_CONFIRMED = """
UPDATE servescope_lease
SET decision_id = %(decision_id)s,
    expires_at = greatest(expires_at, clock_timestamp() + make_interval(secs => %(seconds)s))
WHERE pool = %(pool)s AND owner = %(owner)s AND token = %(token)s
  AND expires_at > clock_timestamp() AND decision_id <= %(decision_id)s
"""
_RELEASED = """
UPDATE servescope_lease SET expires_at = clock_timestamp()
WHERE owner = %(owner)s AND pool = ANY(%(pools)s)
"""


class PostgresLeases:
    """A table of leases among those that the servers of a lake share; made when it is missing.

    Args:
        tables: the way there.
    """

    def __init__(self, tables: LakeTables) -> None:
        self._tables = tables
        self._is_made = False

    def renew(self, pools: Sequence[str], owner: str, seconds: float) -> Mapping[str, Lease]:
        """Keep what is ours and take what is free."""
        given = {"pools": list(pools), "owner": owner, "seconds": seconds}

        def work(cursor: psycopg.Cursor[Any]) -> Mapping[str, Lease]:
            cursor.execute(_RENEWED, given)
            cursor.execute(_STANDS, given)
            return {pool: Lease(*stands) for pool, *stands in cursor.fetchall()}

        return self._done(work)

    def confirm(self, pool: str, owner: str, token: int, decision_id: int, seconds: float) -> bool:
        """Note a decision and keep the lease, if it is still ours."""
        given = {
            "pool": pool, "owner": owner, "token": token, "decision_id": decision_id,
            "seconds": seconds,
        }  # fmt: skip
        return self._done(lambda cursor: cursor.execute(_CONFIRMED, given).rowcount == 1)

    def release(self, pools: Sequence[str], owner: str) -> None:
        """Let go of what is ours."""
        given = {"pools": list(pools), "owner": owner}
        self._done(lambda cursor: cursor.execute(_RELEASED, given))

    def close(self) -> None:
        """Leave the database."""
        self._tables.close()

    def _done(self, work: Callable[[psycopg.Cursor[Any]], T]) -> T:
        try:
            if not self._is_made:
                self._tables.write([(_MADE, ())])
                self._is_made = True
            return self._tables.done(work)
        except StoreError as error:
            raise ControllerError(
                f"no lease can be kept: {error.message}",
                hint="pools are left as they are until it answers",
            ) from error
