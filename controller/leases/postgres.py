"""Leases in a table of PostgreSQL: each change is one statement, by the database's clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from controller.leases.base import Lease
from store.errors import ConfigError, ControllerError

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")
ANSWER_SECONDS = 3
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
    """A table of leases in a PostgreSQL database, made when it is missing.

    Args:
        url: of the database, as libpq takes it; may hold a password, and is never shown.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                "leases in PostgreSQL need psycopg", hint="pip install 'servescope[lake]'"
            ) from error
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None

    def renew(self, pools: Sequence[str], owner: str, seconds: float) -> Mapping[str, Lease]:
        """Keep what is ours and take what is free."""

        def work(cursor: psycopg.Cursor[Any]) -> Mapping[str, Lease]:
            given = {"pools": list(pools), "owner": owner, "seconds": seconds}
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
        self._done(lambda cursor: cursor.execute(_RELEASED, {"pools": list(pools), "owner": owner}))

    def close(self) -> None:
        """Leave the database."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _done(self, work: Callable[[psycopg.Cursor[Any]], T]) -> T:
        import psycopg

        try:
            connection = self._connected()
            with connection.transaction(), connection.cursor() as cursor:
                return work(cursor)
        except psycopg.Error as error:
            self.close()
            first = str(error).strip().splitlines() or [type(error).__name__]
            raise ControllerError(
                f"the database of leases does not answer ({first[0][:200]})",
                hint="pools are left as they are until it does",
            ) from error

    def _connected(self) -> psycopg.Connection[Any]:
        import psycopg

        if self._connection is None:
            waits = f"-c statement_timeout={ANSWER_SECONDS}s -c lock_timeout={ANSWER_SECONDS}s"
            made = psycopg.connect(
                self._url, connect_timeout=ANSWER_SECONDS, autocommit=True, options=waits,
                tcp_user_timeout=ANSWER_SECONDS * 1_000,
            )  # fmt: skip
            made.execute(_MADE)
            self._connection = made
        return self._connection
